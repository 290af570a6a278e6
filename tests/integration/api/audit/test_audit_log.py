"""The audit log: an entry for each call of a mutation by a principal, which administrators read."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from callers import ask_as, caller
from front import Front
from pymongo import MongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, OperationFailure
from root_fields import root_fields
from support import wait_until_async

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal, Scope
from gql_api.api.audit.log import AuditLog
from gql_api.query.filter import TaskFilter
from gql_api.record import writes
from gql_api.record.audit import entries
from gql_api.record.audit.entries import AUDIT_LOG, AuditEntry, AuditOutcome
from gql_api.record.model import NewTask
from gql_api.record.reads import CODEC, Document
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.telemetry.counters import AUDIT_FAILURES
from gql_api.worker.store.tasks import Store

_ID = "token-1"
_ANN = caller(*(ALL_SCOPES - {Scope.ADMIN}), subject="ann", token_id=_ID)
_ADMIN = caller(Scope.ADMIN, subject="root")
_FIELDS = (
    "id at callId operation outcome codes subject tenant tokenId address taskIds target filter dryRun matched changed "
    "created"
)
_LOG = f"""query ($first: Int, $after: String, $filter: AuditLogFilter) {{
  auditLog(first: $first, after: $after, filter: $filter) {{
    edges {{ cursor }} nodes {{ {_FIELDS} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
  }}
}}"""
_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } userErrors { code } } }"
_NOTHING: dict[str, Any] = {
    "codes": [], "tenant": None, "taskIds": [], "target": None, "filter": None, "dryRun": None, "matched": None,
    "changed": None, "created": None,
}  # fmt: skip


@pytest.fixture
def collection(settings: Settings) -> Iterator[Collection[Document]]:
    """The collection of the audit log."""
    with MongoClient[Document](settings.mongodb_url) as client:
        yield client[settings.mongodb_database][AUDIT_LOG]


async def _log(front: Front, principal: Principal = _ADMIN, **variables: Any) -> dict[str, Any]:
    result = await ask_as(front, principal, _LOG, **variables)
    assert result.errors is None, result.errors
    assert result.data is not None
    page: dict[str, Any] = result.data["auditLog"]
    return page


async def _newest(front: Front) -> dict[str, Any]:
    """Return the newest entry, without what no test can know."""
    entry: dict[str, Any] = (await _log(front, first=1))["nodes"][0]
    return {name: value for name, value in entry.items() if name not in {"id", "at", "callId"}}


def _by_ann(operation: str, outcome: str = "SUCCEEDED", **rest: Any) -> dict[str, Any]:
    who = {"subject": "ann", "tokenId": _ID, "address": "192.0.2.7"}
    return {**_NOTHING, **who, "operation": operation, "outcome": outcome, **rest}


def _store(worker: Store, *ids: str) -> None:
    for task_id in ids:
        worker.change(writes.create(NewTask(id=task_id, name="add", owner="ann")), upsert=True)


async def test_every_mutation_has_an_entry(front: Front) -> None:
    """A mutation that somebody adds to the schema is recorded too, whatever it returns."""
    for field in root_fields("mutation"):
        await ask_as(front, _ADMIN if field.scope is Scope.ADMIN else _ANN, field.document)
        assert (await _newest(front))["operation"] == field.name


async def test_a_created_task_is_named(front: Front, announced: TaskDefinition) -> None:
    """The entry of a creation has the new task; that of a refused one the codes of userErrors."""
    created = await ask_as(front, _ANN, _CREATE, input={"name": announced.name, "kwargs": {"x": 1}})
    assert created.data is not None
    ids = [created.data["createTask"]["task"]["id"]]
    assert await _newest(front) == _by_ann("createTask", taskIds=ids, created=1)
    await ask_as(front, _ANN, _CREATE, input={"name": "unknown"})
    assert await _newest(front) == _by_ann("createTask", "REFUSED", codes=["UNKNOWN_TASK_NAME"], created=0)


async def test_many_created_tasks_are_counted(front: Front, announced: TaskDefinition) -> None:
    """The entry has the number of all, the ids of 100, and the code of a single refusal, which is not the call's."""
    good = {"name": announced.name, "kwargs": {"x": 1}}
    query = "mutation ($inputs: [CreateTaskInput!]!) { createTasks(inputs: $inputs) { userErrors { code } } }"
    await ask_as(front, _ANN, query, inputs=[good] * 101 + [{"name": "unknown"}])
    entry = await _newest(front)
    assert len(set(entry.pop("taskIds"))) == 100
    expected = _by_ann("createTasks", codes=["UNKNOWN_TASK_NAME"], created=101)
    assert entry == {name: value for name, value in expected.items() if name != "taskIds"}


async def test_a_changed_task_is_named(front: Front, worker: Store) -> None:
    """The entries of changes name the task, and a refusal has its code."""
    _store(worker, "t")
    await ask_as(front, _ANN, 'mutation { cancelTask(id: "t") { task { id } } }')
    assert await _newest(front) == _by_ann("cancelTask", taskIds=["t"], changed=1)
    await ask_as(front, _ANN, 'mutation { cancelTask(id: "t") { task { id } } }')
    assert await _newest(front) == _by_ann("cancelTask", "REFUSED", taskIds=["t"], changed=0, codes=["ALREADY_FINAL"])
    await ask_as(front, _ANN, 'mutation { deleteTask(id: "t") { deletedTaskId } }')
    assert await _newest(front) == _by_ann("deleteTask", taskIds=["t"], changed=1)


async def test_a_bulk_call_has_two_entries(front: Front, worker: Store) -> None:
    """One stands there before the first change; the other has the counts, and both have the filter as it was sent."""
    _store(worker, "a", "b", "c")
    query = """mutation ($filter: TaskFilter!, $dry: Boolean) {
      cancelTasks(filter: $filter, dryRun: $dry) { matched changed }
    }"""
    filter_ = {"ids": ["a", "b", "x"], "createdAt": {"lt": "2100-01-01T00:00:00Z"}, "NOT": {"statuses": ["FAILURE"]}}
    await ask_as(front, _ANN, query, filter=filter_)
    text = '{"ids":["a","b","x"],"createdAt":{"lt":"2100-01-01T00:00:00+00:00"},"NOT":{"statuses":["FAILURE"]}}'
    assert await _newest(front) == _by_ann("cancelTasks", filter=text, dryRun=True, matched=2, changed=0)
    await ask_as(front, _ANN, query, filter=filter_, dry=False)
    ended, started, dry = (await _log(front))["nodes"]
    assert (started["outcome"], started["matched"]) == ("STARTED", None)
    assert (ended["outcome"], ended["matched"], ended["changed"]) == ("SUCCEEDED", 2, 2)
    assert started["callId"] == ended["callId"] != dry["callId"]
    assert started["filter"] == ended["filter"] == text


async def test_a_failed_call_is_recorded(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of a call that MongoDB did not answer, or whose client left, says that tasks may have changed."""

    async def hang(*_args: object) -> None:
        await asyncio.Event().wait()

    async def fail(*_args: object) -> None:
        raise AutoReconnect("away")

    query = 'mutation { deleteTask(id: "t") { deletedTaskId } }'
    monkeypatch.setattr(type(front.services.controller), "delete", fail)
    await ask_as(front, _ANN, query)
    assert await _newest(front) == _by_ann("deleteTask", "FAILED", taskIds=["t"], codes=["SERVICE_UNAVAILABLE"])
    monkeypatch.setattr(type(front.services.controller), "delete", hang)
    asking = asyncio.create_task(ask_as(front, _ANN, query))
    done, _ = await asyncio.wait({asking}, timeout=0.1)
    assert not done
    asking.cancel()
    await asyncio.wait({asking})
    assert await _newest(front) == _by_ann("deleteTask", "FAILED", taskIds=["t"], codes=["INTERRUPTED"])


async def test_an_entry_is_stored_although_its_caller_left(
    front: Front, collection: Collection[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that is cancelled while its entry waits for the insert before takes no entry with it."""
    begun, gate = asyncio.Event(), asyncio.Event()
    insert = AuditLog._insert_at  # noqa: SLF001 - the insert is delayed

    async def slow(self: AuditLog, documents: list[Document], at: datetime) -> None:
        begun.set()
        await gate.wait()
        await insert(self, documents, at)

    monkeypatch.setattr(AuditLog, "_insert_at", slow)
    audit = front.services.audit
    first = asyncio.create_task(audit.record(AuditEntry("x", AuditOutcome.SUCCEEDED, "1")))
    await begun.wait()
    second = asyncio.create_task(audit.record(AuditEntry("x", AuditOutcome.SUCCEEDED, "2")))
    for _ in range(5):
        await asyncio.sleep(0)
    second.cancel()
    gate.set()
    await asyncio.wait({first, second})

    async def are_stored() -> bool:
        return collection.count_documents({}) == 2

    await wait_until_async(are_stored)


async def test_refused_and_anonymous_calls_have_no_entries(front: Front, collection: Collection[Document]) -> None:
    """An API without authentication writes nothing, and so does a call that its scopes refuse."""
    query = 'mutation { cancelTask(id: "t") { task { id } } }'
    await ask_as(front, ANONYMOUS, query)
    await ask_as(front, caller(Scope.TASKS_READ), query)
    assert collection.count_documents({}) == 0


async def test_texts_are_cut(front: Front, collection: Collection[Document]) -> None:
    """An entry is small whatever a client sends."""
    query = "mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }"
    await ask_as(front, _ANN, query, id="x" * 100_000 + "\ud800")
    bulk = "mutation ($names: [String!]) { deleteTasks(filter: {names: $names}) { matched } }"
    await ask_as(front, _ANN, bulk, names=["n" * 1_000] * 50)
    lengths = [len(str(each)) for each in collection.find()]
    assert len(lengths) == 2
    assert max(lengths) < 5_000


async def test_calls_at_the_same_time_share_an_insert(front: Front, collection: Collection[Document]) -> None:
    """Each entry is stored once, with a time of MongoDB that is not before the call."""
    before = await front.services.store.now()
    calls = [
        ask_as(front, _ANN, f'mutation {{ deleteTask(id: "{number}") {{ deletedTaskId }} }}') for number in range(50)
    ]
    await asyncio.gather(*calls)
    pages = (await _log(front, first=100))["nodes"]
    assert sorted(entry["taskIds"][0] for entry in pages) == sorted(map(str, range(50)))
    times = {entry["at"] for entry in pages}
    assert len(times) < 50
    times_stored = [each["at"] for each in collection.with_options(CODEC).find()]
    assert min(times_stored) >= before - timedelta(milliseconds=1)
    assert max(times_stored) <= await front.services.store.now() + timedelta(seconds=1)


async def test_an_entry_that_is_not_stored_is_logged_and_undoes_nothing(
    front: Front, worker: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change stands, its caller gets the answer, and the log has the entry."""

    async def fail(*_args: object) -> None:
        raise AutoReconnect("away")

    _store(worker, "t")
    monkeypatch.setattr(AuditLog, "_insert_at", fail)
    before = AUDIT_FAILURES._value.get()  # noqa: SLF001 - a counter shows its value nowhere else
    with caplog.at_level(logging.ERROR):
        result = await ask_as(front, _ANN, 'mutation { cancelTask(id: "t") { task { status } } }')
    assert result.data == {"cancelTask": {"task": {"status": "REVOKED"}}}
    assert AUDIT_FAILURES._value.get() == before + 1  # noqa: SLF001 - the same
    assert '"subject": "ann"' in caplog.text
    assert '"task_ids": ["t"]' in caplog.text


async def test_pages_end_where_the_next_begins(front: Front) -> None:
    """All entries are on one page or another, the newest first, although many have the same time."""
    audit = front.services.audit
    sent = [AuditEntry("test", AuditOutcome.SUCCEEDED, str(number)) for number in range(25)]
    await asyncio.gather(*(audit.record(entry) for entry in sent))
    seen, after = list[str](), None
    for has_next_page in (True, True, False):
        page = await _log(front, first=10, after=after)
        seen += [node["callId"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        assert after == page["edges"][-1]["cursor"]
        assert page["pageInfo"]["hasNextPage"] is has_next_page
    assert seen == [str(number) for number in reversed(range(25))]


_FILTERED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["3", "2", "1"]),
    ({"subjects": ["ann"]}, ["2", "1"]),
    ({"subjects": []}, []),
    ({"operations": ["cancelTask"]}, ["3", "1"]),
    ({"tokenIds": [_ID]}, ["2"]),
    ({"outcomes": ["REFUSED"]}, ["3"]),
    ({"taskId": "t"}, ["3", "1"]),
    ({"taskId": "t", "subjects": ["bob"]}, ["3"]),
    ({"at": {"lt": "2020-01-01T00:00:00Z"}}, []),
    ({"at": {"gte": "2020-01-01T00:00:00Z"}}, ["3", "2", "1"]),
]


async def test_a_filter_finds_its_entries(front: Front) -> None:
    """All conditions hold, and an empty list finds nothing."""
    for entry in [
        AuditEntry("cancelTask", AuditOutcome.SUCCEEDED, "1", "ann", task_ids=["t", "u"]),
        AuditEntry("deleteTask", AuditOutcome.SUCCEEDED, "2", "ann", token_id=_ID, task_ids=["u"]),
        AuditEntry("cancelTask", AuditOutcome.REFUSED, "3", "bob", task_ids=["t"]),
    ]:
        await front.services.audit.record(entry)
    for filter_, expected in _FILTERED:
        found = [node["callId"] for node in (await _log(front, filter=filter_))["nodes"]]
        assert found == expected, filter_


@pytest.mark.parametrize("text", ["\ud800", "x" * 300])
async def test_what_was_stored_in_another_form_is_found(front: Front, text: str) -> None:
    """A filter finds an id as the client sent it, whatever of it could be stored; and it never fails for a text."""
    await ask_as(front, _ANN, "mutation ($id: ID!) { cancelTask(id: $id) { userErrors { code } } }", id=text)
    assert len((await _log(front, filter={"taskId": text}))["nodes"]) == 1
    assert (await _log(front, filter={"subjects": [text], "operations": [text], "tokenIds": [text]}))["nodes"] == []


async def test_an_administrator_of_a_tenant_sees_that_tenant(front: Front) -> None:
    """The entries of other tenants, and of none, do not exist for it."""
    for call_id, tenant in [("1", "red"), ("2", "blue"), ("3", None)]:
        await front.services.audit.record(AuditEntry("x", AuditOutcome.SUCCEEDED, call_id, "ann", tenant))
    red = replace(_ADMIN, tenant="red")
    assert [node["callId"] for node in (await _log(front, red))["nodes"]] == ["1"]
    assert [node["callId"] for node in (await _log(front, red, filter={"subjects": ["ann"]}))["nodes"]] == ["1"]
    assert len((await _log(front))["nodes"]) == 3


async def test_a_token_with_a_filter_reads_no_audit_log(front: Front) -> None:
    """Entries are not tasks, so that its filter could not narrow them."""
    result = await ask_as(front, replace(_ADMIN, filter=TaskFilter(names=["add"])), _LOG)
    assert result.errors is not None
    assert result.errors[0].extensions == {"code": "FORBIDDEN"}


async def test_a_cursor_of_another_list_is_refused(front: Front) -> None:
    """It is an error of the client, as any other text is that no page returned."""
    for parts in ["x", ["log", 1, "x"], ["audit", 1, "x"], ["audit", "x", "0" * 24], ["audit", 10**30, "0" * 24]]:
        after = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
        result = await ask_as(front, _ADMIN, _LOG, after=after)
        assert result.errors is not None
        assert (result.errors[0].extensions or {})["code"] == "BAD_USER_INPUT", parts


async def test_the_retention_is_that_of_the_setting(front: Front, collection: Collection[Document]) -> None:
    """MongoDB removes entries after that time; another setting changes the index that is there."""

    def seconds() -> list[int]:
        indexes = collection.index_information().values()
        return [index["expireAfterSeconds"] for index in indexes if "expireAfterSeconds" in index]

    for days, expected in [(365, 365 * 86_400), (30, 30 * 86_400), (0, 2**31 - 1), (0.5, 43_200)]:
        await AuditLog(front.services.store, days).prepare()
        assert seconds() == [expected]
    assert len(collection.index_information()) == len(entries.INDEXES) + 2


async def test_the_log_of_a_parent_application_has_its_indexes(front: Front, collection: Collection[Document]) -> None:
    """Callers that the parent has authenticated have entries too, which must not stay for ever."""
    assert not front.services.authenticator.is_required
    assert collection.name not in collection.database.list_collection_names()
    await ask_as(front, _ANN, 'mutation { cancelTask(id: "t") { task { id } } }')

    async def is_prepared() -> bool:
        return any("expireAfterSeconds" in index for index in collection.index_information().values())

    await wait_until_async(is_prepared)


async def test_a_user_without_the_right_to_create_indexes_goes_on(
    front: Front, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning names the collection; every other failure is left to the caller, who tries again."""
    failure = OperationFailure("not authorized", 13)

    async def refuse(*_args: object) -> None:
        raise failure

    monkeypatch.setattr(AsyncCollection, "create_indexes", refuse)
    await front.services.audit.prepare()
    assert "may not create the indexes of audit_log" in caplog.text
    failure = OperationFailure("something else", 1)
    with pytest.raises(OperationFailure):
        await front.services.audit.prepare()
