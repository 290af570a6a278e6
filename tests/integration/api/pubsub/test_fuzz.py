"""Events on Redis and records in MongoDB of any shape: no request fails but its own, and the next one is answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from front import Front
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import taken, wait_until_async
from watchers import EVERY_TASK, WITH_METADATA

from gql_api import events
from gql_api.access.visibility import EVERYTHING
from gql_api.api.errors import INVALID_RECORD
from gql_api.api.execution.encoding import encode_result
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.worker.store.tasks import Store

_NAMES = sorted({value for name, value in vars(f).items() if name.isupper() and isinstance(value, str)} - {f.ID})
_KEYS = st.one_of(st.sampled_from(_NAMES), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from([
        Decimal128("1.5"), ObjectId("0" * 24), Regex("("), Code("x"), MinKey(), MaxKey(), Timestamp(1, 1), Int64(7),
        DatetimeMS(2**60), DBRef("a", 1), datetime(2026, 1, 1, tzinfo=UTC), {"%json": "{"}, {"%json": 5}, "QUEUED",
    ]),
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)
# What the format of events adds to a record. A small jump of the revision is believed, so the revision stays.
_ADDED = ["_omitted", "_folded", "_deleted_at", "first", "until", "lines", "_id"]
_EVENTS = st.dictionaries(
    st.sampled_from(sorted({*_NAMES, *_ADDED} - {f.REVISION, f.STATUS, f.UPDATED_AT, "_deleted_at"})),
    _VALUES | st.binary(max_size=8),
    min_size=1,
    max_size=3,
)
_CHANGES = st.dictionaries(st.sampled_from(_NAMES), _VALUES, min_size=1, max_size=3)
_TASK = """
  id name status revision attempts queue priority worker createdAt finishedAt updatedAt args kwargs metadata result
  error { type message } progress { current percent message data } history { status at } children { nodes { id } }
"""
_ONE = f'query ($id: ID!) {{ task(id: $id) {{ {_TASK} }} node(id: $id) {{ id }} good: task(id: "good") {{ id }} }}'
_FACETS = " ".join(f"{by}: facet(by: {by}) {{ value count }}" for by in ("STATUS", "NAME", "QUEUE", "WORKER"))
_ALL = f"{{ tasks(first: 65) {{ nodes {{ {_TASK} }} totalCount {_FACETS} }} queues {{ name depth }} }}"


@pytest.fixture
def document(tasks: Collection[Document], worker: Store) -> Document:
    """A record that fits, made by a worker."""
    worker.change(writes.create(NewTask(id="good", name="add")), upsert=True)
    found = tasks.find_one({f.ID: "good"})
    assert found is not None
    return found


def _examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return examples, the same in each run."""
    examples: list[Any] = []

    @settings(max_examples=count, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(example: Any) -> None:
        examples.append(example)

    collect()
    return examples


async def test_records_of_any_shape(front: Front, tasks: Collection[Document], document: Document) -> None:
    """Each query has no other error than that of its own record, and every list has the record that fits."""
    # The validator would refuse most of them: they are of an earlier time.
    tasks.database.command("collMod", f.TASKS, validationLevel="off")
    changes = _examples(_CHANGES, 60)
    tasks.insert_many([{**document, **change, f.ID: f"bad{n}"} for n, change in enumerate(changes)])
    for number, change in enumerate(changes):
        result = await front.ask(_ONE, id=f"bad{number}")
        assert {(error.extensions or {}).get("code") for error in result.errors or ()} <= {INVALID_RECORD}, change
        assert result.data is not None
        assert result.data["good"]["id"] == "good"
        encode_result(result)
    result = await front.ask(_ALL)
    assert result.errors is None
    assert result.data is not None
    assert "good" in {node["id"] for node in result.data["tasks"]["nodes"]}
    began = datetime(1970, 1, 1, tzinfo=UTC)
    replayed = [record.id async for record in front.services.feed.lists.changed_since(began, EVERYTHING)]
    assert "good" in replayed


async def test_events_of_any_shape(
    feed: TaskFeed, store: TaskStore, redis: Redis, worker: Store, document: Document
) -> None:
    """The watchers of a task, of its log and of lists receive what follows, on the same connection."""
    connection = feed._connection._connection  # noqa: SLF001 - the one that must stay
    event = bson.decode(events.encode(document))
    changed = [bson.encode({**event, **change}) for change in _examples(_EVENTS, 100)]
    payloads = [*changed, *_examples(st.binary(max_size=40), 50)]
    async with (
        feed.watch("good", EVERYTHING) as mailbox,
        feed.watch_log("good", EVERYTHING),
        feed.lists.watch(WITH_METADATA),
        feed.lists.watch(EVERY_TASK) as changes,
    ):
        for payload in payloads:
            await redis.publish(store.channels.task("good"), payload)
            await redis.publish(store.channels.log("good"), payload)
        await asyncio.to_thread(worker.change, writes.start("good", worker="fuzz"))

        async def reached_mailbox() -> bool:
            return (await taken(mailbox)).worker == "fuzz"

        async def reached_list() -> bool:
            return any(getattr(each.latest, "worker", None) == "fuzz" for each in await changes.take())

        await wait_until_async(reached_mailbox)
        await wait_until_async(reached_list)
    assert feed._connection._connection is connection  # noqa: SLF001 - as above
