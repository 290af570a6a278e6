"""Records that do not fit, beside others, as clients find them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from front import Front
from pymongo.collection import Collection
from support import taken

from gql_api.access.visibility import EVERYTHING
from gql_api.api.errors import INVALID_RECORD
from gql_api.api.store.committed import VisibleTask
from gql_api.record import fields as f
from gql_api.record.fitness import rules
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.telemetry.counters import MISFITS

_TASK = """
  id name status isFinal revision attempts queue priority worker owner idempotencyKey createdAt scheduledFor expiresAt
  cancelRequestedAt startedAt finishedAt updatedAt args kwargs metadata result error { type message traceback }
  progress { current total percent message data } history { revision status at worker message }
"""
_UNSET: Any = object()
# Values that JSON has not, or that the rules of a field exclude.
STRANGE = [
    None, "x", 1.5, -1, 2**40, float("nan"), float("inf"), True, [], {}, [1], {"a": 1}, Decimal128("1"), ObjectId(),
    Binary(b"x"), Regex("("), Code("x"), MinKey(), Timestamp(1, 1), DatetimeMS(2**60), DBRef("a", 1), _UNSET,
]  # fmt: skip
_FIELDS = [
    f.REVISION, f.STATUS, f.NAME, f.ARGS, f.KWARGS, f.METADATA, f.ATTEMPTS, f.QUEUE, f.PRIORITY,
    f.CREATED_AT, f.UPDATED_AT, f.HISTORY, f.ERROR, f.PROGRESS, f.WORKER, f.OWNER, f.EXPIRES_AT,
    f.FINISHED_AT, f.RESULT,
]  # fmt: skip
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def document(task_id: str, **others: Any) -> Document:
    """Return a record that fits, except for some fields."""
    times = dict.fromkeys((f.CREATED_AT, f.UPDATED_AT, f.FINISHED_AT), _NOW)
    texts = dict.fromkeys((f.ID, f.ROOT_ID), task_id) | {f.NAME: "add", f.QUEUE: "celery", f.STATUS: "SUCCESS"}
    numbers = {f.REVISION: 1, f.ATTEMPTS: 1, f.PRIORITY: 0}
    transition = {f.REVISION: 1, f.STATUS: "SUCCESS", f.AT: _NOW}
    values = {f.ARGS: [], f.KWARGS: {}, f.METADATA: {}, f.HISTORY: [transition], f.PARENT_ID: "parent"}
    made = {**times, **texts, **numbers, **values, **others}
    return {name: value for name, value in made.items() if value is not _UNSET}


def _strange_documents() -> list[Document]:
    pairs = itertools.product(_FIELDS, STRANGE)
    return [document(f"{number:03}", **{name: value}) for number, (name, value) in enumerate(pairs)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow queries of all records at once, and an error for each."""
    return settings.model_copy(update={"request_max_cost": 10**6, "answer_max_errors": 1000})


@pytest.fixture
async def strange(front: Front, tasks: Collection[Document]) -> Front:
    """The schema over two good tasks, with a record of each strange kind between them."""
    tasks.database.drop_collection(f.TASKS)
    tasks.insert_one(document("parent", **{f.CREATED_AT: datetime(2025, 1, 1, tzinfo=UTC), f.PARENT_ID: None}))
    tasks.insert_many([*_strange_documents(), document("zzz")])
    return front


def _expected(tasks: Collection[Document]) -> list[str]:
    return sorted(each[f.ID] for each in tasks.find() if rules.WHOLE.first_misfit(each) is None)


def test_both_checks_agree(tasks: Collection[Document]) -> None:
    """MongoDB and Python find the same records that do not fit, but for objects that PyMongo takes for references."""
    tasks.insert_many(_strange_documents())
    by_schema = {each[f.ID] for each in tasks.find(rules.fitting({}, rules.WHOLE))}
    in_python = {each[f.ID] for each in tasks.find() if rules.WHOLE.first_misfit(each) is None}
    assert in_python <= by_schema
    differing = tasks.find({f.ID: {"$in": sorted(by_schema - in_python)}})
    assert all(any(isinstance(value, DBRef) for value in each.values()) for each in differing)


async def test_lists_leave_out_what_does_not_fit(strange: Front, tasks: Collection[Document]) -> None:
    """Every page of every list is answered, has no gap, and leads to the next one."""
    before = MISFITS._value.get()  # noqa: SLF001 - prometheus_client has no other way to read it
    expected, seen, after = _expected(tasks), list[str](), None
    query = "query ($a: String) { tasks(first: 50, after: $a) { nodes { %s } pageInfo { hasNextPage endCursor } } }"
    while True:
        page = (await strange.data(query % _TASK, a=after))["tasks"]
        seen += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        assert len(page["nodes"]) == 50
        after = page["pageInfo"]["endCursor"]
    assert sorted(seen) == expected
    assert MISFITS._value.get() > before  # noqa: SLF001 - as above
    again = MISFITS._value.get()  # noqa: SLF001 - as above
    await strange.data(query % _TASK)
    assert MISFITS._value.get() == again  # noqa: SLF001 - as above
    page = f"children(first: 500) {{ totalCount nodes {{ {_TASK} }} }}"
    children = await strange.data(f'{{ task(id: "parent") {{ {page} }} }}')
    found = {node["id"] for node in children["task"]["children"]["nodes"]}
    assert found == {*expected} - {"parent"}
    for order in ("UPDATED_AT", "FINISHED_AT"):
        query = f"{{ tasks(first: 500, orderBy: {{field: {order}}}) {{ nodes {{ {_TASK} }} }} }}"
        nodes = (await strange.data(query))["tasks"]["nodes"]
        assert {node["id"] for node in nodes} <= {*expected}
    facets = " ".join(f"{by}: facet(by: {by}) {{ value count }}" for by in ("STATUS", "NAME", "QUEUE", "WORKER"))
    counted = (await strange.data(f"{{ tasks {{ totalCount {facets} }} queues {{ name depth }} }}"))["tasks"]
    assert counted["totalCount"] >= len(expected)


async def test_a_record_that_does_not_fit_is_an_error_of_its_own_node(
    strange: Front, tasks: Collection[Document]
) -> None:
    """task, node and nodes answer every other id, and the error names the record and the command that helps."""
    ids = [each[f.ID] for each in tasks.find().sort(f.ID, 1).limit(500)]
    fit = {*_expected(tasks)}
    result = await strange.ask(f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Task {{ {_TASK} }} }} }}", ids=ids)
    assert result.data is not None
    assert [None if node is None else node["id"] for node in result.data["nodes"]] == [
        task_id if task_id in fit else None for task_id in ids
    ]
    assert {(error.extensions or {})["code"] for error in result.errors or ()} == {INVALID_RECORD}
    broken = next(each for each in ids if each not in fit)
    query = f'query ($id: ID!) {{ task(id: $id) {{ {_TASK} }} good: task(id: "zzz") {{ id }} }}'
    one = await strange.ask(query, id=broken)
    assert one.data == {"task": None, "good": {"id": "zzz"}}
    errors = one.errors or []
    assert len(errors) == 1
    assert broken in errors[0].message
    assert "gql-api doctor" in errors[0].message


async def test_the_feed_passes_over_what_does_not_fit(strange: Front, tasks: Collection[Document]) -> None:
    """The backstop finds what no event told, and the replay of a list ends, among records that do not fit."""
    feed = strange.services.feed
    tasks.update_many({}, {"$set": {f.STATUS: "SUCCESS"}})
    async with feed.watch("zzz", EVERYTHING) as good, feed.watch("000", EVERYTHING) as bad:
        record = await strange.services.tasks.load(VisibleTask("zzz", EVERYTHING))
        assert record is not None
        good.skip(record.version)
        tasks.update_one({f.ID: "zzz"}, {"$set": {f.REVISION: 2}})
        await feed._repair.run(["000", "zzz"])  # noqa: SLF001 - the backstop comes later
        assert (await taken(good)).revision == 2
        waiting = asyncio.create_task(bad.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
    since = datetime(2020, 1, 1, tzinfo=UTC)
    replayed = [record.id async for record in feed.lists.changed_since(since, EVERYTHING)]
    assert {*replayed} >= {"zzz", "parent"}


async def test_values_that_json_has_not_are_answered(front: Front, tasks: Collection[Document]) -> None:
    """Metadata, arguments and results of any kind are answered as Extended JSON, alone and in a list."""
    values = {
        "date": datetime(2026, 1, 1, tzinfo=UTC), "late": DatetimeMS(2**60), "decimal": Decimal128("1.5"),
        "id": ObjectId("0" * 24), "binary": Binary(b"x"), "nan": float("nan"), "big": Int64(2**62), "key": MinKey(),
        "ref": DBRef("a", 1), "text": {"%json": '{"n": 123456789012345678901234567890, "s": "\\ud800"}'},
        "bad text": {"%json": 5},
    }  # fmt: skip
    tasks.insert_one(document("t", **{f.METADATA: values, f.ARGS: [values], f.KWARGS: values, f.RESULT: values}))
    data = await front.data("{ tasks { nodes { metadata args kwargs result text: metadata(asText: true) } } }")
    [task] = data["tasks"]["nodes"]
    assert task["metadata"] == task["kwargs"] == task["result"] == task["args"][0]
    shown = task["metadata"]
    assert shown["decimal"] == {"$numberDecimal": "1.5"}
    assert shown["date"] == {"$date": "2026-01-01T00:00:00Z"}
    assert (shown["nan"], shown["big"], shown["id"]) == ("NaN", 2**62, {"$oid": "0" * 24})
    assert shown["text"]["n"] == 123456789012345678901234567890
    facet = "{ tasks { facet(by: METADATA, metadataPath: %s) { value } } }"
    found = [(await front.data(facet % f'"{key}"'))["tasks"]["facet"] for key in ("decimal", "nan", "date")]
    assert found == [[{"value": {"$numberDecimal": "1.5"}}], [{"value": "NaN"}], [{"value": shown["date"]}]]


async def test_text_that_is_not_utf8_is_answered(front: Front, tasks: Collection[Document]) -> None:
    """A driver of another language stores any bytes as a text; the list beside it is read."""
    from bson import encode  # noqa: PLC0415

    raw = encode(document("t", **{f.NAME: "BADBAD", f.METADATA: {"k": "BADBAD"}})).replace(
        b"BADBAD", b"\xff\xfe\xff\xfe\xff\xfe"
    )
    tasks.insert_one(RawBSONDocument(raw))
    tasks.insert_one(document("u"))
    nodes = (await front.data("{ tasks { nodes { id name metadata } } }"))["tasks"]["nodes"]
    assert [node["id"] for node in nodes] == ["u", "t"]
