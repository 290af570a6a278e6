"""The heads of the queues: the search by the index finds what the grouping of all waiting tasks finds."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from recovery_bench import Bench

from gql_api.record import due, fields
from gql_api.record.fields import Status
from gql_api.worker.backend.messages import SENT_AT_HEADER
from gql_api.worker.recovery.waiting_queues import waiting_queues

_NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
_NAMES = ["a.job", "job", "other", "zz"]
_MISSING = object()
_QUEUES = ["celery", "emails", "", "Ä", None, _MISSING, 7, 7.5, True, {"a": 1}, {}, _NOW, "celery\x00", b"x"]
_PRIORITIES = [0, 5, 5.0, Int64(5), 9, -1, 0.5, float("nan"), "3", True, None, _MISSING]
_ALL_NAMES = ["job", "zz", "a.job", "unknown", "", None, _MISSING, 3]
# The grouping leaves out values that are no times, and tasks without one.
_NO_TIMES = [None, _MISSING, "2020", 5, {"at": 1}]
_MAX_SECONDS = 30


def _document(chance: random.Random, number: int, *, odd: bool) -> dict[str, Any]:
    at: Any = _NOW + timedelta(milliseconds=chance.randrange(-2_000, 1_000))
    document = {
        "_id": number,
        fields.STATUS: chance.choice([Status.QUEUED] * 4 + [Status.SCHEDULED, Status.STARTED, Status.SUCCESS]).value,
        fields.QUEUE: chance.choice(_QUEUES if odd else _QUEUES[:4]),
        fields.PRIORITY: chance.choice(_PRIORITIES if odd else _PRIORITIES[:4]),
        fields.NAME: chance.choice(_ALL_NAMES if odd else _ALL_NAMES[:4]),
        fields.DUE_AT: chance.choice(_NO_TIMES) if odd and not chance.randrange(5) else at,
    }
    return {name: value for name, value in document.items() if value is not _MISSING}


def _comparable(rows: list[dict[str, Any]]) -> dict[bytes, datetime]:
    """Return the times by queue and priority as MongoDB compares them: 5 is 5.0, and no value is null."""
    times: dict[bytes, datetime] = {}
    for row in rows:
        queue, priority = (row["_id"].get(name) for name in (fields.QUEUE, fields.PRIORITY))
        plain = [float(each) if type(each) in (int, Int64) else each for each in (queue, priority)]
        key = bson.encode({"": plain})
        times[key] = min(row[fields.DUE_AT], times.get(key, row[fields.DUE_AT]))
    return times


def _grouped(tasks: Collection[dict[str, Any]]) -> dict[bytes, datetime]:
    return _comparable(list(tasks.aggregate(due.queues_waiting(_NOW, _NAMES))))


def _by_heads(tasks: Collection[dict[str, Any]]) -> dict[bytes, datetime]:
    return _comparable(waiting_queues(tasks, _NOW, _NAMES, _MAX_SECONDS))


@pytest.mark.parametrize("number", [0, 1, 40, 800])
@pytest.mark.parametrize("odd", [False, True])
def test_the_heads_are_those_of_the_groups(bench: Bench, number: int, odd: bool) -> None:
    """Records of other programs may have any queue, priority, name and time, or none."""
    tasks = bench.backend.collection
    chance = random.Random(f"{number} {odd}")  # noqa: S311 - test data
    for _ in range(3):
        tasks.delete_many({})
        if number:
            tasks.insert_many([_document(chance, each, odd=odd) for each in range(number)])
        expected = _grouped(tasks)
        assert _by_heads(tasks) == expected
        assert expected or number < 40


def test_times_that_python_does_not_have(bench: Bench) -> None:
    """A task that was sent before the year 1 is the oldest of its queue."""
    tasks = bench.backend.collection
    for number, at in enumerate([DatetimeMS(-(2**62)), _NOW - timedelta(hours=1), DatetimeMS(2**62)]):
        task = {"_id": number, fields.STATUS: "QUEUED", fields.QUEUE: "q", fields.PRIORITY: 0, fields.NAME: "job"}
        tasks.insert_one({**task, fields.DUE_AT: at})
    assert _by_heads(tasks) == _grouped(tasks)
    assert [at.year for at in _by_heads(tasks).values()] == [1]


def test_a_text_that_is_not_utf8(bench: Bench) -> None:
    """The search cannot go on behind a text that it cannot read, and groups all tasks."""
    tasks = bench.backend.collection
    task = {"_id": 1, fields.STATUS: "QUEUED", fields.QUEUE: "q!", fields.PRIORITY: 0, fields.NAME: "job"}
    raw = bson.encode({**task, fields.DUE_AT: _NOW - timedelta(hours=1)}).replace(b"q!", b"q\xff")
    tasks.insert_one(RawBSONDocument(raw))
    assert _by_heads(tasks) == _grouped(tasks)
    assert len(_by_heads(tasks)) == 1


def test_the_tasks_are_grouped_while_there_is_no_index(bench: Bench) -> None:
    """The API may take long to make it."""
    tasks = bench.backend.collection
    _insert_waiting(tasks, 60)
    expected = _grouped(tasks)
    tasks.drop_indexes()
    assert _by_heads(tasks) == expected != {}


def _insert_waiting(tasks: Collection[dict[str, Any]], number: int) -> None:
    """Insert tasks of six queues and priorities; in every second queue none has waited for long."""
    tasks.insert_many(
        {
            fields.STATUS: "QUEUED",
            fields.QUEUE: f"queue-{each % 2}",
            fields.PRIORITY: each % 3,
            fields.NAME: ["job", "other", "unknown"][each // 6 % 3],
            fields.DUE_AT: _NOW + timedelta(milliseconds=each if each % 2 else each - number - 1),
        }
        for each in range(number)
    )


def _read(tasks: Collection[dict[str, Any]], call: Callable[[], object]) -> int:
    """Return the number of index keys and of records of tasks that MongoDB reads in a call."""
    database = tasks.database
    database["system.profile"].drop()
    database.command("profile", 2)
    call()
    database.command("profile", 0)
    entries = list(database["system.profile"].find({"ns": tasks.full_name}))
    assert entries
    return sum(entry.get("keysExamined", 0) + entry.get("docsExamined", 0) for entry in entries)


def test_a_search_reads_as_much_among_many_tasks_as_among_few(bench: Bench) -> None:
    """The number of waiting tasks changes nothing: of old ones, of new ones, and of those of unknown functions."""
    tasks = bench.backend.collection

    def search() -> None:
        assert len(_by_heads(tasks)) == 3

    _insert_waiting(tasks, 900)
    few = _read(tasks, search)
    _insert_waiting(tasks, 9_000)
    assert _read(tasks, search) == few


def test_a_scan_of_an_honest_backlog_reads_as_much_among_many_tasks_as_among_few(bench: Bench) -> None:
    """No step of a scan reads the tasks whose messages are in their queues, each of which has an old message first."""
    tasks, recovery = bench.backend.collection, bench.recovery()
    honest = {"headers": {"id": "first", SENT_AT_HEADER: (_NOW - timedelta(days=1)).isoformat()}}
    for name, priority in itertools.product(["queue-0", "queue-1"], ["", "\x06\x161", "\x06\x162"]):
        bench.redis.lpush(f"{name}{priority}", json.dumps(honest))
    _insert_waiting(tasks, 900)
    few = _read(tasks, lambda: bench.scan(recovery))
    _insert_waiting(tasks, 9_000)
    assert _read(tasks, lambda: bench.scan(recovery)) == few
