"""Lists by metadata: the index that finds a page, and that every index finds the same tasks in the same order."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from front import Commands, Front
from owners import ALICE, BOB, HEAD, RED
from pymongo.collection import Collection

from gql_api.access.principal import Principal
from gql_api.api.store.pages import choice
from gql_api.query import anchors
from gql_api.query.lists import Order, OrderField
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document

_START = datetime(2026, 1, 1, tzinfo=UTC)
_COUNT = 400
_ORDERS = [Order(), Order(OrderField.UPDATED_AT, descending=False), Order(OrderField.FINISHED_AT)]
_LIST = """
query ($filter: TaskFilter, $orderBy: TaskOrder, $first: Int, $after: String, $last: Int, $before: String) {
  tasks(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    nodes { id } pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
  }
}
"""
_FIGURES = """
query ($filter: TaskFilter, $orderBy: TaskOrder) {
  tasks(filter: $filter, orderBy: $orderBy, first: 1) {
    totalCount facet(by: METADATA, metadataPath: "kind", first: 5) { value count }
  }
}
"""
_BY_METADATA = dict(anchors.INDEX)
_BY_STATUS = {f.STATUS: 1, f.CREATED_AT: -1, f.ID: -1}
_BY_OWNER = {f.TENANT: 1, f.OWNER: 1, f.CREATED_AT: -1, f.ID: -1}
_BY_TENANT = {f.TENANT: 1, f.CREATED_AT: -1, f.ID: -1}


def _has(path: str, value: Any) -> dict[str, Any]:
    return {"metadata": [{"path": path, "eq": value}]}


def _kind(number: int) -> str:
    # Four are rare, 36 are some.
    return "rare" if number % 100 == 3 else "some" if number % 10 == 3 else "common"


def _document(number: int) -> Document:
    task_id = f"t{number:04}"
    status = sorted(Status)[number % len(Status)]
    document: Document = {
        f.ID: task_id,
        f.REVISION: 1,
        f.STATUS: status,
        f.NAME: "add",
        f.QUEUE: "celery",
        f.PRIORITY: 0,
        f.ATTEMPTS: 0,
        f.HISTORY: [],
        f.ROOT_ID: task_id,
        f.METADATA: {
            "kind": _kind(number),
            "tags": ["x", "y"] if number % 50 == 0 else ["y"],
            "team": "red" if number % 3 else "blue",
        },
        f.OWNER: ("alice", "bob")[number // 2 % 2],
        **({f.TENANT: "acme"} if number % 5 else {}),
        # Several tasks are of the same time.
        f.CREATED_AT: _START + timedelta(seconds=number // 3),
        f.UPDATED_AT: _START + timedelta(seconds=number * 7 % _COUNT // 3),
    }
    if status.is_final:
        document[f.FINISHED_AT] = _START + timedelta(seconds=number * 11 % _COUNT // 4)
    return document


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk may take long on a loaded machine, which is no reason to try another index."""
    monkeypatch.setattr(choice, "_WALK_SECONDS", 60.0)


@pytest.fixture
def documents(front: Front, tasks: Collection[Document]) -> list[Document]:
    """Tasks of two owners, in a tenant and in none, with values that few, some and most of them have."""
    assert front  # it has made the indexes
    made = [_document(number) for number in range(_COUNT)]
    tasks.insert_many(made)
    return made


_Matches = Callable[[Document], bool]
# Each filter with what it means.
_FILTERS: dict[str, tuple[dict[str, Any], _Matches]] = {
    "absent": (_has("kind", "absent"), lambda _: False),
    "rare": (_has("kind", "rare"), lambda task: task[f.METADATA]["kind"] == "rare"),
    "some": (_has("kind", "some"), lambda task: task[f.METADATA]["kind"] == "some"),
    "common": (_has("kind", "common"), lambda task: task[f.METADATA]["kind"] == "common"),
    "element": (_has("tags", "x"), lambda task: "x" in task[f.METADATA]["tags"]),
    "one of two": (
        {"OR": [_has("kind", "rare"), _has("tags", "x")]},
        lambda task: task[f.METADATA]["kind"] == "rare" or "x" in task[f.METADATA]["tags"],
    ),
    "both": (
        {"AND": [_has("kind", "some"), _has("team", "red")], "statuses": ["SUCCESS", "QUEUED"]},
        lambda task: (task[f.METADATA]["kind"], task[f.METADATA]["team"]) == ("some", "red")
        and task[f.STATUS] in {"SUCCESS", "QUEUED"},
    ),
}  # fmt: skip
# Each caller with the tasks that it may see.
_CALLERS: dict[str, tuple[Principal | None, _Matches]] = {
    "everybody": (None, lambda _: True),
    "alice": (ALICE, lambda task: (task.get(f.TENANT), task[f.OWNER]) == ("acme", "alice")),
    "bob": (BOB, lambda task: (task.get(f.TENANT), task[f.OWNER]) == ("acme", "bob")),
    "red": (
        RED,
        lambda task: (task.get(f.TENANT), task[f.OWNER], task[f.METADATA]["team"]) == ("acme", "alice", "red"),
    ),
    "head": (HEAD, lambda task: task.get(f.TENANT) == "acme"),
    "alice without a tenant": (
        dataclasses.replace(ALICE, tenant=None),
        lambda task: f.TENANT not in task and task[f.OWNER] == "alice",
    ),
    "dave": (dataclasses.replace(ALICE, subject="dave"), lambda _: False),
}


def _as(front: Front, caller: str) -> Front:
    principal = _CALLERS[caller][0]
    return front if principal is None else front.acting_as(principal)


def _expected(documents: list[Document], filter_: str, caller: str, order: Order = _ORDERS[0]) -> list[str]:
    matches, is_visible = _FILTERS[filter_][1], _CALLERS[caller][1]
    found = [task for task in documents if matches(task) and is_visible(task) and order.field in task]
    return [t[f.ID] for t in sorted(found, key=lambda t: (t[order.field], t[f.ID]), reverse=order.descending)]


def _hints(commands: Commands) -> list[Any]:
    return [command.get("hint") for command in commands.sent if "find" in command]


async def _walk(front: Front, *, forward: bool, **variables: Any) -> list[str]:
    """Return the ids of a list, read page by page."""
    size, cursor = ("first", "after") if forward else ("last", "before")
    end, more = ("endCursor", "hasNextPage") if forward else ("startCursor", "hasPreviousPage")
    seen: list[str] = []
    position = None
    while True:
        page = (await front.data(_LIST, **variables, **{size: 60, cursor: position}))["tasks"]
        ids = [node["id"] for node in page["nodes"]]
        seen = [*seen, *ids] if forward else [*ids, *seen]
        position = page["pageInfo"][end]
        if not page["pageInfo"][more]:
            return seen


@pytest.mark.parametrize("order", _ORDERS, ids=[order.field.name for order in _ORDERS])
async def test_lists_by_metadata_are_right(front: Front, documents: list[Document], order: Order) -> None:
    """Whatever index finds them: pages in both directions, the number of tasks and their facets, for each caller."""
    by_id = {document[f.ID]: document for document in documents}
    order_by = {"field": order.field.name, "direction": "DESC" if order.descending else "ASC"}
    for caller, (name, (filter_, _)) in itertools.product(_CALLERS, _FILTERS.items()):
        expected = _expected(documents, name, caller, order)
        for forward in (True, False):
            seen = await _walk(_as(front, caller), forward=forward, filter=filter_, orderBy=order_by)
            assert seen == expected, (caller, name, forward)
        page = (await _as(front, caller).data(_FIGURES, filter=filter_, orderBy=order_by))["tasks"]
        kinds = Counter(by_id[task_id][f.METADATA]["kind"] for task_id in expected)
        assert page["totalCount"] == len(expected)
        assert {each["value"]: each["count"] for each in page["facet"]} == kinds


async def test_the_index_depends_on_the_number_of_tasks(
    commands: Commands, front: Front, documents: list[Document]
) -> None:
    """Rare and absent values are found by the index of metadata, frequent ones in the order of the caller's list.

    A caller with no tasks, or with a few, makes MongoDB read no more tasks of others than that.
    """
    walks = {"everybody": _BY_STATUS, "head": _BY_TENANT}
    for caller, name in itertools.product(_CALLERS, _FILTERS):
        commands.sent.clear()
        data = await _as(front, caller).data(_LIST, filter=_FILTERS[name][0], first=50)
        is_frequent = name in {"dave": _FILTERS.keys() - {"absent"}}.get(caller, {"common"})
        # No index has the tasks of an owner with some statuses.
        walk = None if name == "both" else walks.get(caller, _BY_OWNER)
        assert _hints(commands) == [walk if is_frequent else _BY_METADATA], (caller, name)
        assert [node["id"] for node in data["tasks"]["nodes"]] == _expected(documents, name, caller)[:50]


async def test_a_frequent_value_is_counted_once(commands: Commands, front: Front, documents: list[Document]) -> None:
    """A rare one is counted for each list, for it may become frequent."""
    document = "query ($filter: TaskFilter) { tasks(filter: $filter, first: 50) { nodes { id } } }"
    for name, counts in (("common", [1, 0, 0]), ("rare", [1, 1, 1])):
        for count in counts:
            commands.sent.clear()
            data = await front.data(document, filter=_FILTERS[name][0])
            assert (commands.counts()["aggregate"], commands.counts()["find"]) == (count, 1)
            assert [node["id"] for node in data["tasks"]["nodes"]] == _expected(documents, name, "everybody")[:50]


async def test_other_conditions_may_find_fewer_tasks(
    commands: Commands, front: Front, documents: list[Document]
) -> None:
    """The index of metadata has no use for a list of a short time, in which there are fewer tasks."""
    for seconds, hint in ((100, _BY_METADATA), (5, _BY_STATUS)):
        end = _START + timedelta(seconds=seconds)
        created = {document[f.ID] for document in documents if document[f.CREATED_AT] < end}
        expected = [task_id for task_id in _expected(documents, "some", "everybody") if task_id in created]
        commands.sent.clear()
        filter_ = {**_FILTERS["some"][0], "createdAt": {"lt": end.isoformat()}}
        data = await front.data(_LIST, filter=filter_, first=50)
        assert _hints(commands) == [hint]
        assert [node["id"] for node in data["tasks"]["nodes"]] == expected


async def test_a_slow_walk_leaves_the_choice_to_mongodb(
    commands: Commands, front: Front, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is right all the same, and the walk is not tried again soon; those of others are."""
    monkeypatch.setattr(choice, "_WALK_SECONDS", 1e-6)
    for _ in range(2):
        commands.sent.clear()
        data = await front.data(_LIST, filter=_FILTERS["common"][0], first=50)
        assert _hints(commands) == [None]
        assert [node["id"] for node in data["tasks"]["nodes"]] == _expected(documents, "common", "everybody")[:50]
        monkeypatch.setattr(choice, "_WALK_SECONDS", 60.0)
    commands.sent.clear()
    await _as(front, "alice").data(_LIST, filter=_FILTERS["common"][0], first=50)
    assert _hints(commands) == [_BY_OWNER]


async def test_lists_need_no_index_of_metadata(
    front: Front, documents: list[Document], tasks: Collection[Document]
) -> None:
    """While it is missing, as before it is built, MongoDB finds the tasks by another one."""
    tasks.drop_index([*anchors.INDEX])
    for name in _FILTERS:
        data = await front.data(_LIST, filter=_FILTERS[name][0], first=500)
        assert [node["id"] for node in data["tasks"]["nodes"]] == _expected(documents, name, "everybody")


async def test_equal_lists_by_metadata_are_shared_by_those_who_see_the_same(
    front: Front, documents: list[Document]
) -> None:
    """Lists of a moment with the same filter: each caller has the tasks that are visible to it."""
    for name in ("rare", "some", "common"):
        callers = [*_CALLERS] * 4
        lists = [_as(front, caller).data(_LIST, filter=_FILTERS[name][0], first=500) for caller in callers]
        for caller, data in zip(callers, await asyncio.gather(*lists), strict=True):
            assert [node["id"] for node in data["tasks"]["nodes"]] == _expected(documents, name, caller), caller
