from __future__ import annotations

import asyncio
import itertools
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from front import Commands, Front
from ports import free_port
from pymongo.collection import Collection
from support import process, wait_until

from gql_api.access.visibility import EVERYTHING
from gql_api.api.errors import QUERY_TIMEOUT, ClientError
from gql_api.api.store.tasks import TaskStore
from gql_api.app import create_app, open_services
from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.outage import is_outage
from gql_api.query.lists import Order, OrderField, PageRequest, Position
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.settings import Settings

_START = datetime(2026, 1, 1, tzinfo=UTC)
_ORDERS = [Order(field, descending=descending) for field in OrderField for descending in (True, False)]
_NAMES = [f"{order.field.name}-{'DESC' if order.descending else 'ASC'}" for order in _ORDERS]
_every_order = pytest.mark.parametrize("order", _ORDERS, ids=_NAMES)

PAGE = """
query ($first: Int, $after: String, $last: Int, $before: String, $orderBy: TaskOrder, $filter: TaskFilter) {
  tasks(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy, filter: $filter) {
    edges { cursor node { id } } nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


# So many tasks of one time at most.
_EQUAL = 5


def _documents(count: int, **others: Any) -> list[Document]:
    """Tasks in every state. Their times differ in their orders, and many are equal."""
    statuses = sorted(Status)
    documents: list[Document] = []
    for number in range(count):
        status = statuses[number % len(statuses)]
        document: Document = {
            f.ID: f"t{number:04}",
            f.REVISION: 1,
            f.STATUS: status,
            f.NAME: "add",
            f.QUEUE: "celery",
            f.PRIORITY: 0,
            f.ATTEMPTS: 0,
            f.ARGS: [],
            f.KWARGS: {},
            f.METADATA: {"number": number},
            f.HISTORY: [],
            f.ROOT_ID: f"t{number:04}",
            f.PARENT_ID: None,
            f.CREATED_AT: _START + timedelta(seconds=number // _EQUAL),
            f.UPDATED_AT: _START + timedelta(seconds=number * 7 % count // 3),
            **others,
        }
        if status.is_final:
            document[f.FINISHED_AT] = _START + timedelta(seconds=number * 11 % count // 4)
        documents.append(document)
    return documents


def _in_order(documents: list[Document], order: Order) -> list[Document]:
    listed = [document for document in documents if order.field in document]
    return sorted(listed, key=lambda document: (document[order.field], document[f.ID]), reverse=order.descending)


def _order_by(order: Order) -> dict[str, str]:
    return {"field": order.field.name, "direction": "DESC" if order.descending else "ASC"}


def _ids(page: dict[str, Any]) -> list[str]:
    assert [edge["node"] for edge in page["edges"]] == page["nodes"]
    info, cursors = page["pageInfo"], [edge["cursor"] for edge in page["edges"]]
    assert (info["startCursor"], info["endCursor"]) == ((cursors[0], cursors[-1]) if cursors else (None, None))
    return [node["id"] for node in page["nodes"]]


@_every_order
async def test_pages_go_through_a_list_both_ways(front: Front, tasks: Collection[Document], order: Order) -> None:
    """Forward by after and backward by before give the whole list, equal times included, and report where it ends."""
    documents = _documents(60)
    tasks.insert_many(documents)
    expected = [document[f.ID] for document in _in_order(documents, order)]
    assert len(expected) == (60 if order.field is not OrderField.FINISHED_AT else 26)
    for size, onward, back in ((7, "first", "after"), (12, "first", "after"), (7, "last", "before")):
        forward = onward == "first"
        seen: list[str] = []
        cursor, more = None, True
        while more:
            arguments = {onward: size, back: cursor, "orderBy": _order_by(order)}
            page = (await front.data(PAGE, **arguments))["tasks"]
            ids, info = _ids(page), page["pageInfo"]
            assert info["hasPreviousPage" if forward else "hasNextPage"] is (cursor is not None)
            seen = [*seen, *ids] if forward else [*ids, *seen]
            cursor, more = (
                (info["endCursor"], info["hasNextPage"]) if forward else (info["startCursor"], info["hasPreviousPage"])
            )
            assert len(ids) == size or not more
        assert seen == expected


@_every_order
async def test_a_window_lies_between_two_places(store: TaskStore, tasks: Collection[Document], order: Order) -> None:
    """After and before together give exactly what is between them, from whichever end it is read."""
    documents = _documents(60)
    tasks.insert_many(documents)
    expected = _in_order(documents, order)
    places = [Position(document[order.field], document[f.ID]) for document in expected]
    for start, end in itertools.combinations(range(0, len(expected), 5), 2):
        between = [document[f.ID] for document in expected[start + 1 : end]]
        for backwards in (False, True):
            request = PageRequest(order, 500, places[start], places[end], backwards)
            found = [record.id for record in await store.lists.page({}, request, EVERYTHING)]
            assert (found[::-1] if backwards else found) == between


async def test_pages_reach_every_task_once_while_tasks_are_created(front: Front) -> None:
    """Following the cursors of a list that grows at its head neither repeats nor leaves out what was there."""
    create = front.services.store.create
    ids = [f"t{number:03}" for number in range(25)]
    for task_id in ids:
        await create(NewTask(id=task_id, name="add"))
    seen: list[str] = []
    cursor, more = None, True
    while more:
        page = (await front.data(PAGE, first=6, after=cursor))["tasks"]
        seen += _ids(page)
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        for number in range(3):
            await create(NewTask(id=f"late{len(seen)}-{number}", name="add"))
    assert seen == ids[::-1]


async def test_only_before_means_the_last_ones(front: Front, tasks: Collection[Document]) -> None:
    """With before alone the page is the one right before the cursor; with after and before it begins at after."""
    tasks.insert_many(_documents(60))
    first = (await front.data(PAGE, first=50))["tasks"]
    ids, cursors = _ids(first), [edge["cursor"] for edge in first["edges"]]
    assert _ids((await front.data(PAGE, before=cursors[40]))["tasks"]) == ids[20:40]
    window = (await front.data(PAGE, after=cursors[5], before=cursors[40]))["tasks"]
    assert _ids(window) == ids[6:26]
    assert (window["pageInfo"]["hasNextPage"], window["pageInfo"]["hasPreviousPage"]) == (True, True)
    nothing = (await front.data(PAGE, after=cursors[5], before=cursors[6]))["tasks"]
    assert _ids(nothing) == []


def _stages(plan: Any) -> set[str]:
    if isinstance(plan, list):
        return set().union(*map(_stages, plan))
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
    return own.union(*map(_stages, plan.values()))


def _explained(tasks: Collection[Document], command: dict[str, Any]) -> dict[str, Any]:
    """Let MongoDB explain a command that was sent."""
    asked = {name: value for name, value in command.items() if not name.startswith(("$", "lsid", "maxTimeMS"))}
    explained: dict[str, Any] = tasks.database.command({"explain": asked, "verbosity": "executionStats"})
    return explained


_STATUSES: list[dict[str, Any] | None] = [
    None,
    {"statuses": ["SUCCESS"]},
    {"statuses": ["FAILURE", "QUEUED", "REVOKED"]},
    {"OR": [{"statuses": ["SUCCESS"]}, {"statuses": ["STARTED"]}]},
    {"NOT": {"statuses": ["SUCCESS"]}},
]


@_every_order
async def test_every_order_is_read_from_an_index(
    commands: Commands, front: Front, tasks: Collection[Document], order: Order
) -> None:
    """With a status and without, at the head and far down, a page costs about as many index entries as it has tasks."""
    documents = _documents(700)
    tasks.insert_many(documents)
    middle = (await front.data(PAGE, first=100, orderBy=_order_by(order)))["tasks"]["pageInfo"]["endCursor"]
    ends: list[dict[str, Any]] = [{"first": 10}, {"first": 10, "after": middle}, {"last": 10, "before": middle}]
    for filter_, end in itertools.product(_STATUSES, ends):
        commands.sent.clear()
        page = (await front.data(PAGE, filter=filter_, orderBy=_order_by(order), **end))["tasks"]
        assert len(_ids(page)) == 10
        (command,) = commands.sent
        explained = _explained(tasks, command)
        assert not _stages(explained["queryPlanner"]["winningPlan"]) & {"COLLSCAN", "SORT"}, (filter_, end)
        stats = explained["executionStats"]
        # One entry more of each status, and once more those at the time of the cursor that are before it.
        assert stats["totalKeysExamined"] <= stats["nReturned"] + len(Status) + _EQUAL, (filter_, end)
        assert stats["totalDocsExamined"] <= stats["nReturned"] + _EQUAL + 1, (filter_, end)


async def test_children_are_read_from_their_index(front: Front, tasks: Collection[Document]) -> None:
    """A page of children costs as many index entries as it has tasks, wherever it is, however many tasks there are."""
    tasks.insert_many([*_documents(300, parent_id="parent"), {**_documents(1)[0], f.ID: "parent"}])
    query = """query ($after: String) {
      task(id: "parent") { children(first: 10, after: $after) { nodes { id } pageInfo { endCursor } } }
    }"""
    cursor = None
    expected = [document[f.ID] for document in _in_order(_documents(300), Order())]
    tasks.database.command("profile", 2)
    for start in range(0, 60, 10):
        page = (await front.data(query, after=cursor))["task"]["children"]
        assert [node["id"] for node in page["nodes"]] == expected[start : start + 10]
        cursor = page["pageInfo"]["endCursor"]
    tasks.database.command("profile", 0)
    profiles = [*tasks.database["system.profile"].find({"command.aggregate": f.TASKS})]
    assert len(profiles) == 6
    for profile in profiles:
        # The parent, the children, and once more those at the time of the cursor that are before it.
        assert profile["keysExamined"] <= 1 + 11 + _EQUAL, profile
        assert profile["docsExamined"] <= 1 + 11 + _EQUAL, profile
        assert "hasSortStage" not in profile


async def test_children_may_be_large_together(front: Front) -> None:
    """A page of children is read though all of it is more than one document of MongoDB can hold."""
    store = front.services.store
    await store.create(NewTask(id="parent", name="add"))
    for number in range(17):
        await store.create(NewTask(id=f"c{number:02}", name="add", parent_id="parent", args=["x" * 2**20]))
    children = (await front.data('{ task(id: "parent") { children { nodes { id } totalCount } } }'))["task"]["children"]
    assert [child["id"] for child in children["nodes"]] == [f"c{number:02}" for number in reversed(range(17))]
    assert children["totalCount"] == 17


@pytest.mark.parametrize("milliseconds", [5, 1000])
async def test_what_takes_too_long_is_ended(settings: Settings, tasks: Collection[Document], milliseconds: int) -> None:
    """A filter that finds too slowly ends with an error that says so, also when the client notices before MongoDB."""
    tasks.insert_many(_documents(500))
    impatient = TaskStore(settings.model_copy(update={"query_timeout_seconds": 0.2}))
    await impatient.ping()  # so that the time is that of the list, not that of a first connection
    slow: Document = {"$where": f"sleep({milliseconds}) || true", f.NAME: {"$exists": True}}
    try:
        with pytest.raises(ClientError, match=r"takes longer than 0\.2 s") as raised:
            await impatient.lists.page(slow, PageRequest(Order(), 500), EVERYTHING)
    finally:
        await impatient.close()
    assert raised.value.extensions == {"code": QUERY_TIMEOUT}
    assert not is_outage(raised.value)


async def test_a_mongodb_that_does_not_answer_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server does not even report the timeout; the error asks the caller to try again later."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    with process(server.command(tmp_path / "mongod.log"), tmp_path / "log") as running:
        wait_until(lambda: is_listening(server.port))
        server.initiate()
        settings = Settings(mongodb_url=server.url, celery_broker_url="redis://127.0.0.1:1/0")
        front = Front(create_app(settings))
        async with open_services(settings) as services:
            front.app.state.services = services
            await services.store.indexes.wait()
            await front.data("{ tasks { totalCount nodes { id } } }")
            # A server that is not frozen may take its time on a loaded machine.
            lists = services.store.lists
            monkeypatch.setattr(lists._bounded, "_seconds", 0.2)  # noqa: SLF001 - as above
            monkeypatch.setattr(lists.limiter, "_seconds", 0.7)
            os.kill(running.pid, signal.SIGSTOP)
            await asyncio.to_thread(os.waitid, os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
            try:
                result = await front.ask('{ tasks(filter: {names: ["x"]}) { totalCount } }')
            finally:
                os.kill(running.pid, signal.SIGCONT)
    (error,) = result.errors or []
    assert (error.extensions or {})["code"] == "SERVICE_UNAVAILABLE"
