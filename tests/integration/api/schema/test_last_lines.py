"""The log lines that are stored with the end of their task, as every reader of a log finds them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from log_lines import log_of

from gql_api.access.visibility import EVERYTHING
from gql_api.api.store.tasks import TaskStore
from gql_api.record import claims, fields, logs, queries, writes
from gql_api.record.logs import Entry, Limits, LogLevel
from gql_api.record.model import Claim, NewTask
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.logs import LogStore
from gql_api.worker.store.tasks import Store


@pytest.fixture
def connections(settings: Settings) -> Iterator[Connections]:
    """A worker's connections."""
    connections = Connections(settings)
    yield connections
    connections.close()


@pytest.fixture
def log(connections: Connections) -> LogStore:
    """A worker's log store."""
    return LogStore(connections, Limits(1000, 100_000))


def _start(connections: Connections) -> str:
    task_id = str(uuid.uuid4())
    store = Store(connections)
    store.change(writes.create(NewTask(id=task_id, name="add")), upsert=True)
    taking = Claim(uuid.uuid4().hex, worker="w", run="r", pid=1, lease_seconds=60)
    assert store.change(claims.claim(task_id, taking))
    return task_id


def _entries(*texts: str) -> list[Entry]:
    levels = (10, 20, 30, 40)
    return [Entry.of(levels[number % 4], text, time.monotonic() - 1) for number, text in enumerate(texts)]


def _end(connections: Connections, task_id: str, entries: list[Entry]) -> None:
    end = writes.succeed(task_id, 1, fence=claims.held_by(1))
    assert Store(connections).change(logs.with_last_lines(end, entries, time.monotonic()))


@pytest.mark.parametrize("earlier", [(), ("a",), ("a", "b", "c", "d", "e")], ids=len)
async def test_both_ways_to_store_the_last_lines_read_alike(
    store: TaskStore, connections: Connections, log: LogStore, earlier: tuple[str, ...]
) -> None:
    """Positions, levels, texts, pages, counts and times are the same, before the copies and after them."""
    last, apart, joined = _entries("$name", "{}", "x", "y"), _start(connections), _start(connections)
    for task_id in (apart, joined):
        if earlier:
            log.write(task_id, 1, _entries(*earlier))
    log.write(apart, 1, last)
    assert Store(connections).change(writes.succeed(apart, 1, fence=claims.held_by(1)))
    _end(connections, joined, last)
    for is_copied in (False, True):
        if is_copied:
            log.copy_last_lines([apart, joined])
        lines = connections.database()[fields.TASK_LOGS]
        number = lines.count_documents(logs.after(joined, 0, LogLevel.DEBUG))
        assert number == len(earlier) + (4 if is_copied else 0)
        for level in LogLevel:
            for position in range(10):
                for limit in (1, 3, 100):
                    read = [
                        [
                            (line.position, line.level, line.message)
                            for line in await store.log_lines.after(task_id, position, level, limit, EVERYTHING)
                        ]
                        for task_id in (apart, joined)
                    ]
                    assert read[0] == read[1]
        counts = await store.log_lines.counts([apart, joined], EVERYTHING)
        assert counts == dict.fromkeys((apart, joined), len(earlier) + 4)
    first, second = (log_of(connections.database(), task_id)[-1].at for task_id in (apart, joined))
    assert abs((first - second).total_seconds()) < 10
    record = connections.database()[fields.TASKS].find_one(queries.by_id(joined)) or {}
    assert 0.9 < (record[fields.FINISHED_AT] - second).total_seconds() < 10


async def test_the_bytes_of_the_last_lines_count(connections: Connections) -> None:
    """A quota of stored bytes sees them like others."""
    task_id = _start(connections)
    _end(connections, task_id, _entries("xyz"))
    record = connections.database()[fields.TASKS].find_one(queries.by_id(task_id)) or {}
    assert logs.counted_in(record) == (1, 3)


async def test_a_lost_attempt_has_no_last_lines(store: TaskStore, connections: Connections) -> None:
    """They are refused with the end that has them."""
    task_id = _start(connections)
    end = logs.with_last_lines(writes.succeed(task_id, 1, fence=claims.held_by(2)), _entries("late"), time.monotonic())
    assert Store(connections).change(end) is None
    assert await store.log_lines.after(task_id, 0, LogLevel.DEBUG, 10, EVERYTHING) == []


async def test_the_lines_of_a_deleted_task_are_not_copied(
    store: TaskStore, connections: Connections, log: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that comes too late leaves nothing behind."""
    task_id = _start(connections)
    _end(connections, task_id, _entries("secret"))
    read = logs.tail_from

    def delete_then_read(document: dict[str, object]) -> list[logs.LogLine]:
        Store(connections).delete([task_id])
        return read(document)

    monkeypatch.setattr(logs, "tail_from", delete_then_read)
    log.copy_last_lines([task_id])
    monkeypatch.undo()
    assert connections.database()[fields.TASK_LOGS].count_documents({}) == 0
    assert await store.log_lines.after(task_id, 0, LogLevel.DEBUG, 10, EVERYTHING) == []


class _Behind:
    """The records as a majority has them, which gets the end of the task with the next barrier."""

    def __init__(self, store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._records = store.log_lines._records  # noqa: SLF001 - no server is slow enough
        self._barrier = store.committed.barrier
        self.barriers = 0
        monkeypatch.setattr(store.log_lines, "_records", self)
        monkeypatch.setattr(store.committed, "barrier", self.barrier)

    async def barrier(self) -> None:
        """Pass a barrier."""
        await self._barrier()
        self.barriers += 1

    async def find_one(self, *args: Any, **kwargs: Any) -> Any:
        """Find no record before the barrier."""
        return await self._records.find_one(*args, **kwargs) if self.barriers else None


async def test_an_end_that_the_primary_shows_has_its_lines(
    store: TaskStore, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sees a final state finds the last lines too, though no majority had them a moment before."""
    task_id, unended = _start(connections), _start(connections)
    _end(connections, task_id, _entries("x", "y"))
    majority = _Behind(store, monkeypatch)
    assert await store.log_lines.after(unended, 0, LogLevel.DEBUG, 10, EVERYTHING) == []
    assert majority.barriers == 0
    lines = await store.log_lines.after(task_id, 0, LogLevel.DEBUG, 10, EVERYTHING)
    assert ([line.message for line in lines], majority.barriers) == (["x", "y"], 1)
