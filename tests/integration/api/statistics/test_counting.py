"""The counting of minutes, compared with a count in Python, through deaths, rivals, late writes and deletions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from counted import BEGAN, HOURS, answer, counted, random_task
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from gql_api.access.visibility import EVERYTHING, Visibility, visibility_of
from gql_api.api.statistics.counting import Counting
from gql_api.api.statistics.reading import Statistics
from gql_api.api.store.tasks import TaskStore
from gql_api.query.facets import FacetField
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.query.statistics import StatisticsQuery
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.statistics import buckets
from gql_api.record.statistics.cells import Span
from gql_api.worker.store.tasks import Store

_END = BEGAN + timedelta(hours=HOURS)
_LATER = _END + timedelta(hours=1)
_ALL = StatisticsQuery(BEGAN, _END, 60)
_NOT_SLOW = TaskFilter(names=["add", "mul"], none_of=TaskFilter(queues=["slow"]))
_NO_SUCCESS = TaskFilter(none_of=TaskFilter(statuses=[Status.SUCCESS]))
_QUESTIONS = (
    _ALL,
    replace(_ALL, by=FacetField.STATUS, seconds=900, filter=_NOT_SLOW),
    replace(_ALL, by=FacetField.NAME, seconds=1800),
    replace(_ALL, by=FacetField.QUEUE, seconds=420, filter=_NO_SUCCESS),
)
# It sees all tasks, and the buckets do not tell.
_BY_RECORDS = Visibility(TaskFilter(metadata=[MetadataCondition("n", {Operator.EXISTS: True})]))


@pytest.fixture
def made(tasks: Collection[Document]) -> list[Document]:
    """Random tasks in MongoDB, as they are stored there."""
    chance = random.Random(7)  # noqa: S311 - the same ones each time
    tasks.create_indexes(f.INDEXES)
    tasks.insert_many(random_task(number, chance) for number in range(250))
    return list(tasks.find())


@pytest.fixture
def counting(store: TaskStore) -> Counting:
    """The counting of a process."""
    return Counting(store, 0.0)


@pytest.fixture
def statistics(store: TaskStore) -> Statistics:
    """The answers of a process."""
    return Statistics(store, 10.0)


def _matching(documents: list[Document], filter_: TaskFilter, owner: str | None) -> list[Document]:
    return [
        each
        for each in documents
        if owner in (None, each.get(f.OWNER))
        and (filter_ is not _NOT_SLOW or (each[f.NAME] in {"add", "mul"} and each[f.QUEUE] != "slow"))
        and (filter_ is not _NO_SUCCESS or each[f.STATUS] != Status.SUCCESS)
    ]


async def _check(statistics: Statistics, documents: list[Document], visibility: Visibility = EVERYTHING) -> None:
    """Check answers of each kind."""
    owner = "alice" if visibility == visibility_of("alice", "acme") else None
    for query in _QUESTIONS:
        found = answer(await statistics.read(query, visibility))
        assert found == counted(_matching(documents, query.filter, owner), query), query


async def test_buckets_and_records_have_the_same_numbers(
    made: list[Document], counting: Counting, statistics: Statistics
) -> None:
    """All numbers are those of a count in Python, whether minutes are not counted yet, partly, or rolled up."""
    own = visibility_of("alice", "acme")
    for visibility in (EVERYTHING, _BY_RECORDS, own):
        await _check(statistics, made, visibility)
    for now in (BEGAN + timedelta(minutes=50), BEGAN + timedelta(minutes=95), _LATER):
        await counting.count(now)
        await _check(statistics, made)
        await _check(statistics, made, own)
    await _check(statistics, made, _BY_RECORDS)
    for by in (FacetField.WORKER, FacetField.ERROR_TYPE):
        query = replace(_ALL, by=by, seconds=3600)
        assert answer(await statistics.read(query, EVERYTHING)) == counted(made, query)


async def test_counted_minutes_are_read_from_the_buckets(
    made: list[Document], tasks: Collection[Document], counting: Counting, statistics: Statistics
) -> None:
    """Without any record, the answers are the same: nothing is read from the records of a counted minute."""
    await counting.count(_LATER)
    tasks.delete_many({})
    await _check(statistics, made)
    days = await statistics.read(replace(_ALL, seconds=900), EVERYTHING)
    tasks.database[buckets.MINUTES].delete_many({})
    assert await statistics.read(replace(_ALL, seconds=900), EVERYTHING) == days


async def test_records_that_do_not_fit_stop_no_count(
    made: list[Document], tasks: Collection[Document], counting: Counting, statistics: Statistics
) -> None:
    """A record of any shape is counted as far as it can be, and the others are all counted."""
    at = BEGAN + timedelta(minutes=5)
    odd: list[Document] = [
        {f.HISTORY: "none"},
        {f.HISTORY: ["QUEUED", 1, None]},
        {f.HISTORY: [{f.STATUS: 1}, {f.STATUS: "STARTED"}, {}]},
        {f.HISTORY: [{f.STATUS: "QUEUED", f.AT: "then"}, {f.STATUS: "STARTED"}, {}], f.STARTED_AT: "now"},
        {f.HISTORY: [{f.STATUS: "QUEUED", f.AT: at}, {f.STATUS: "STARTED"}, {}], f.STARTED_AT: at - timedelta(days=1)},
        {f.NAME: {"a": 1}, f.QUEUE: None},
    ]
    tasks.insert_many(
        {f.ID: f"odd{number}", f.STATUS: "SUCCESS", f.NAME: "odd", f.CREATED_AT: at, f.FINISHED_AT: at, **each}
        for number, each in enumerate(odd)
    )
    query = replace(_ALL, by=FacetField.NAME, filter=TaskFilter(names=["odd"]))
    for _ in range(2):
        ((_, (numbers, queued, _)),) = answer(await statistics.read(query, EVERYTHING)).items()
        assert numbers == {"CREATED": 5, "SUCCESS": 5}
        assert {number: each.longest for number, each in queued.items()} == {0: 0}
        every = await statistics.read(_ALL, EVERYTHING)
        assert sum(row.numbers.get("CREATED", 0) for row in every) == len(made) + len(odd)
        await counting.count(_LATER)


def _failing_once(monkeypatch: pytest.MonkeyPatch, collection: Any, name: str) -> None:
    """Let a call of a collection fail at its first time, as if the process died before it."""
    real: Callable[..., Awaitable[Any]] = getattr(collection, name)
    calls = iter([True])

    async def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls, False):
            raise AutoReconnect("dead")
        return await real(*args, **kwargs)

    monkeypatch.setattr(collection, name, call)


@pytest.mark.parametrize(("attribute", "name"), [("_progress", "update_one"), ("_minutes", "delete_many")])
async def test_a_process_that_dies_between_two_writes_leaves_no_trace(
    made: list[Document],
    counting: Counting,
    store: TaskStore,
    statistics: Statistics,
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    name: str,
) -> None:
    """Its buckets are stored, and not noted as such: the next process counts the same minutes, and none twice."""
    await counting.count(BEGAN + timedelta(minutes=1))
    _failing_once(monkeypatch, getattr(counting, attribute), name)
    with pytest.raises(AutoReconnect):
        await counting.count(_LATER)
    assert await store.database[buckets.MINUTES].count_documents({})
    await _check(statistics, made)
    await Counting(store, 0.0).count(_LATER)
    await _check(statistics, made)


async def test_processes_that_count_at_the_same_time_count_nothing_twice(
    made: list[Document], store: TaskStore, statistics: Statistics
) -> None:
    """Whatever the order of their writes, each bucket has each task once."""
    await asyncio.gather(*(Counting(store, 0.0).count(_LATER) for _ in range(4)))
    await _check(statistics, made)


async def test_an_older_count_replaces_no_newer_one(
    made: list[Document], tasks: Collection[Document], store: TaskStore, counting: Counting, statistics: Statistics
) -> None:
    """A process that was frozen while another one counted again stores what it has read before, and changes nothing."""
    frozen_at = await store.now() - timedelta(seconds=1)
    await counting.count(_LATER)
    # So that the frozen process has read less.
    tasks.delete_many({f.ID: {"$in": [each[f.ID] for each in made[::2]]}})
    pipeline = buckets.count(Span(BEGAN, _END + timedelta(hours=1)), frozen_at)
    await (await store.database[f.TOMBSTONES].aggregate(pipeline)).to_list()
    await _check(statistics, made)


async def test_a_write_that_comes_late_is_counted(
    made: list[Document],
    tasks: Collection[Document],
    counting: Counting,
    statistics: Statistics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A task that ends in a minute that is counted already is found ten minutes later, and nothing is counted twice."""
    counted_until = BEGAN + timedelta(hours=1)
    recent = [each for each in made if timedelta() < counted_until - each[f.CREATED_AT] < timedelta(minutes=9)]
    moved = next(each for each in recent if each[f.STATUS] == Status.QUEUED)
    late = [each for each in recent if each is not moved]
    rest = [each for each in made if each not in late]
    tasks.delete_many({f.ID: {"$in": [each[f.ID] for each in late]}})
    await counting.count(counted_until + timedelta(seconds=20))
    await _check(statistics, rest)
    tasks.insert_many(late)
    # A task that waits may go to another queue meanwhile.
    tasks.update_one({f.ID: moved[f.ID]}, {"$set": {f.QUEUE: "slow" if moved[f.QUEUE] == "celery" else "celery"}})
    await counting.count(counted_until + timedelta(minutes=30))
    assert "were stored late" in caplog.text
    await _check(statistics, list(tasks.find()))


async def test_deleted_tasks_stay_in_the_numbers(
    made: list[Document], tasks: Collection[Document], worker: Store, counting: Counting, statistics: Statistics
) -> None:
    """Tasks that are deleted before their minutes are counted, or after, count as if they were there."""
    ended = [each[f.ID] for each in made if f.FINISHED_AT in each]
    assert len(worker.delete(ended[:100])) == 100
    await _check(statistics, made)
    await counting.count(_LATER)
    await _check(statistics, made)
    assert len(worker.delete(ended[100:])) == len(ended) - 100
    await counting.count(_LATER + timedelta(hours=1))
    await _check(statistics, made)
    assert tasks.count_documents({}) == len(made) - len(ended)


async def test_old_buckets_are_removed(
    made: list[Document], store: TaskStore, statistics: Statistics, counting: Counting
) -> None:
    """Those older than the retention go, of minutes and of quarters of an hour; the others stay."""
    await counting.count(_LATER)
    first_hour = StatisticsQuery(BEGAN, BEGAN + timedelta(hours=1), 3600)
    assert await statistics.read(first_hour, EVERYTHING)
    await Counting(store, 1.0).count(BEGAN + timedelta(days=1, hours=1))
    assert await statistics.read(first_hour, EVERYTHING) == []
    rest = replace(_ALL, since=BEGAN + timedelta(hours=1))
    for query in (rest, replace(rest, seconds=900)):
        assert answer(await statistics.read(query, EVERYTHING)) == counted(made, query)


async def test_one_process_at_a_time_counts(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several, one gets the lock, and the others do nothing until they are due again."""
    turns = []

    async def count(self: Counting, _: object) -> None:
        turns.append(self)

    monkeypatch.setattr(Counting, "count", count)
    await asyncio.gather(*(Counting(store, 0.0)._count_in_turn() for _ in range(5)))  # noqa: SLF001 - run() waits first
    assert len(turns) == 1
