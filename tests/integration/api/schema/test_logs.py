from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from front import Front
from graphql import GraphQLError
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, BulkWriteError, PyMongoError
from redis.asyncio import Redis
from support import own_pubsub, wait_until_async

from gql_api.access.visibility import EVERYTHING
from gql_api.aio.batching import BatchedReads
from gql_api.api.context import Services
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.schema.logs import TaskLog, follow_log
from gql_api.api.schema.pagination import LogCursor
from gql_api.api.store.committed import VisibleTask
from gql_api.api.store.tasks import TaskStore
from gql_api.record import claims, fields, logs, writes
from gql_api.record.logs import Entry, Limits, LogLevel
from gql_api.record.model import Claim, NewTask
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.logs import LogStore
from gql_api.worker.store.tasks import Store

pytestmark = pytest.mark.usefixtures("prepared")

LIMITS = Limits(1000, 100_000)


@pytest.fixture
def connections(settings: Settings) -> Iterator[Connections]:
    """A worker's connections."""
    connections = Connections(settings)
    yield connections
    connections.close()


@pytest.fixture
def mute(settings: Settings) -> Iterator[LogStore]:
    """A worker that stores lines, and whose events are lost."""
    connections = Connections(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    yield LogStore(connections, LIMITS)
    connections.close()


@pytest.fixture
def worker(connections: Connections) -> LogStore:
    """The writer under test."""
    return LogStore(connections, LIMITS)


@pytest.fixture
def task_id(connections: Connections) -> str:
    """A task that runs."""
    id_ = str(uuid.uuid4())
    Store(connections).change(writes.create(NewTask(id=id_, name="add")), upsert=True)
    _claim(connections, id_)
    return id_


@pytest.fixture
async def feed(settings: Settings, store: TaskStore) -> AsyncIterator[TaskFeed]:
    """A connected feed whose backstop stays out of the way."""
    async with _connected(TaskFeed(settings, store, backstop_seconds=600)) as feed:
        yield feed


@contextlib.asynccontextmanager
async def _connected(feed: TaskFeed) -> AsyncIterator[TaskFeed]:
    async def connected() -> bool:
        return feed.connected

    async with feed:
        await wait_until_async(connected)
        yield feed


def _claim(connections: Connections, task_id: str) -> None:
    store = Store(connections)
    record = store.find(task_id)
    assert record is not None
    taking = Claim(uuid.uuid4().hex, worker="w", run="r", pid=1, lease_seconds=60, attempts=record.attempts)
    assert store.change(claims.claim(task_id, taking))


def _entries(*texts: str, level: int = 20) -> list[Entry]:
    return [Entry.of(level, text, time.monotonic()) for text in texts]


async def _messages(store: TaskStore, task_id: str, level: LogLevel = LogLevel.DEBUG) -> list[str]:
    return [line.message for line in await store.log_lines.after(task_id, 0, level, 1000, EVERYTHING)]


def _follow(
    feed: TaskFeed, store: TaskStore, task_id: str, after: str | None = None, level: LogLevel = LogLevel.INFO
) -> AsyncGenerator[TaskLog, None]:
    unused = "audit", "bulk", "creator", "controller", "executions", "issuer", "redis", "sockets", "statistics"
    others = dict.fromkeys([*unused, "tick_queue"])
    services = Services(store=store, tasks=BatchedReads(store.whole), feed=feed, **others)  # type: ignore[arg-type] # of no use here
    return follow_log(services, VisibleTask(task_id, EVERYTHING), after, level)


async def _next(log: AsyncGenerator[TaskLog, None]) -> str:
    return (await asyncio.wait_for(anext(log), 10)).message


async def _rest(log: AsyncGenerator[TaskLog, None]) -> list[str]:
    async with asyncio.timeout(10):
        return [line.message async for line in log]


async def test_lines_are_numbered_over_all_attempts(
    store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """Each attempt goes on where the one before stopped, and an attempt that lost the task adds nothing."""
    assert worker.write(task_id, 1, _entries("a", "b")) is False
    Store(connections).change(claims.requeue(task_id, claims.held_by(1), "lost"))
    assert worker.write(task_id, 1, _entries("too late")) is None
    _claim(connections, task_id)
    assert worker.write(task_id, 1, _entries("too late")) is None
    assert worker.write(task_id, 2, _entries("c")) is False
    lines = await store.log_lines.after(task_id, 0, LogLevel.DEBUG, 10, EVERYTHING)
    assert [(line.position, line.message) for line in lines] == [(1, "a"), (2, "b"), (3, "c")]
    assert abs((datetime.now(UTC) - lines[-1].at).total_seconds()) < 60


async def test_limits_count_over_all_attempts(store: TaskStore, connections: Connections, task_id: str) -> None:
    """The log of a task that runs again and again is bounded, and says once that the rest was left out."""
    worker = LogStore(connections, Limits(3, 1000))
    worker.write(task_id, 1, _entries("a", "b"))
    Store(connections).change(claims.requeue(task_id, claims.held_by(1), "lost"))
    _claim(connections, task_id)
    for text in ("c", "d", "e"):
        full = worker.write(task_id, 2, _entries(text))
        assert full is (text != "c")
    *kept, note = await _messages(store, task_id)
    assert kept == ["a", "b", "c"]
    assert note == "The rest was left out: a task keeps at most 3 lines and 1000 bytes of log"


async def test_clients_see_no_change_of_the_task(store: TaskStore, worker: LogStore, task_id: str) -> None:
    """Logging raises no revision, and what the record counts is in no event."""
    before = await store.get(task_id, EVERYTHING)
    worker.write(task_id, 1, _entries("a"))
    after = await store.get(task_id, EVERYTHING)
    assert before is not None
    assert after is not None
    assert (before.revision, before.updated_at) == (after.revision, after.updated_at)
    assert fields.LOGGED in fields.PRIVATE


_STEPPED_DOWN = {"code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "operation was interrupted"}


@pytest.mark.parametrize(
    "failure",
    [AutoReconnect("lost"), BulkWriteError({"writeErrors": [], "writeConcernErrors": [_STEPPED_DOWN]})],
    ids=lambda failure: type(failure).__name__,
)
async def test_an_insert_that_seemed_to_fail_repeats_nothing(
    store: TaskStore, worker: LogStore, task_id: str, monkeypatch: pytest.MonkeyPatch, failure: PyMongoError
) -> None:
    """The same lines, inserted again after a lost reply or a step-down of the primary, stand there once."""
    collection = type(worker._connections.database()[fields.TASK_LOGS])  # noqa: SLF001 - where a reply can be lost
    insert_many = collection.insert_many
    lost: list[Any] = []

    def loses_reply(self: Any, documents: Any, **options: Any) -> Any:
        done = insert_many(self, documents[:2] if not lost else documents, **options)
        if not lost:
            lost.append(done)
            raise failure
        return done

    monkeypatch.setattr("gql_api.worker.store.logs._OUTAGE_SECONDS", 0.01)
    monkeypatch.setattr(collection, "insert_many", loses_reply)
    await asyncio.to_thread(worker.write, task_id, 1, _entries("a", "b", "c"))
    await asyncio.to_thread(worker.write, task_id, 1, _entries("d"))
    assert lost
    lines = await store.log_lines.after(task_id, 0, LogLevel.DEBUG, 10, EVERYTHING)
    assert [(line.position, line.message) for line in lines] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert await store.log_lines.counts([task_id], EVERYTHING) == {task_id: 4}


async def test_a_page_is_read_from_the_index(
    store: TaskStore, worker: LogStore, settings: Settings, task_id: str
) -> None:
    """The page after a cursor costs as many index entries as it has lines, wherever it is."""
    await store.indexes.create()
    worker.write(task_id, 1, _entries(*map(str, range(500))))
    async with AsyncMongoClient[dict[str, Any]](settings.mongodb_url) as client:
        database = client[settings.mongodb_database]
        await database.command("profile", 2)
        assert len(await store.log_lines.after(task_id, 400, LogLevel.INFO, 10, EVERYTHING)) == 10
        await database.command("profile", 0)
        profile = await database["system.profile"].find_one({"op": "query", "ns": f"{database.name}.task_logs"})
    assert profile is not None
    assert profile["planSummary"] == "IXSCAN { task_id: 1, position: 1 }"
    assert profile["keysExamined"] <= 11
    assert "hasSortStage" not in profile


async def test_all_lines_of_a_task_are_found(
    store: TaskStore, worker: LogStore, settings: Settings, task_id: str
) -> None:
    """One filter finds what goes with a task when that is deleted."""
    worker.write(task_id, 1, _entries("a", "b"))
    async with AsyncMongoClient[dict[str, Any]](settings.mongodb_url) as client:
        lines = client[settings.mongodb_database][fields.TASK_LOGS]
        assert (await lines.delete_many(logs.of_tasks(["other"]))).deleted_count == 0
        assert (await lines.delete_many(logs.of_tasks([task_id]))).deleted_count == 2
    assert await _messages(store, task_id) == []


async def test_a_log_is_followed_to_its_end(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """Stored lines come first, then new ones, and the end when the task is final."""
    worker.write(task_id, 1, _entries("before"))
    log = _follow(feed, store, task_id)
    assert await _next(log) == "before"
    for text in ("one", "two", "three"):
        await asyncio.to_thread(worker.write, task_id, 1, _entries(text))
        assert await _next(log) == text
    await asyncio.to_thread(worker.write, task_id, 1, _entries("last"))
    await asyncio.to_thread(Store(connections).change, writes.succeed(task_id, 1))
    assert await _rest(log) == ["last"]


async def test_the_last_lines_reach_a_follower_with_the_end(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """The event of the end is all that a follower receives of lines that are stored with it."""
    worker.write(task_id, 1, _entries("before"))
    log = _follow(feed, store, task_id)
    assert await _next(log) == "before"
    end = logs.with_last_lines(writes.succeed(task_id, 1), _entries("one", "two"), time.monotonic())
    await asyncio.to_thread(Store(connections).change, end)
    assert await _rest(log) == ["one", "two"]


async def test_lines_that_come_one_after_the_other_are_not_read_again(
    feed: TaskFeed, store: TaskStore, worker: LogStore, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In health the events are enough: MongoDB is asked at the beginning only."""
    log = _follow(feed, store, task_id)
    waiting = asyncio.create_task(_next(log))
    await wait_until_async(lambda: _subscribed(feed, 1))
    await asyncio.to_thread(worker.write, task_id, 1, _entries("first"))
    assert await waiting == "first"
    await asyncio.to_thread(worker.write, task_id, 1, _entries("second"))
    assert await _next(log) == "second"
    monkeypatch.setattr(store, "log_lines", None)
    for number in range(20):
        await asyncio.to_thread(worker.write, task_id, 1, _entries(f"{number}"))
        assert await _next(log) == f"{number}"
    await log.aclose()


async def _subscribed(feed: TaskFeed, logs_watched: int) -> bool:
    return len(feed._log_mailboxes) == logs_watched  # noqa: SLF001 - the moment a watch is open


async def test_levels_below_the_wanted_one_are_left_out(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """Both what is read and what comes live is filtered."""
    for text in ("stored", "live"):
        for level in (10, 20, 30, 40):
            worker.write(task_id, 1, _entries(f"{text} {level}", level=level))
        if text == "stored":
            log = _follow(feed, store, task_id, level=LogLevel.WARNING)
            assert [await _next(log), await _next(log)] == ["stored 30", "stored 40"]
    Store(connections).change(writes.succeed(task_id, 1))
    assert await _rest(log) == ["live 30", "live 40"]
    assert await _messages(store, task_id, LogLevel.ERROR) == ["stored 40", "live 40"]


async def test_following_goes_on_after_a_cursor(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """A client that comes back with its last cursor misses no line and receives none twice."""
    worker.write(task_id, 1, _entries("a", "b"))
    log = _follow(feed, store, task_id)
    first = await anext(log)
    await log.aclose()
    worker.write(task_id, 1, _entries("c"))
    again = _follow(feed, store, task_id, first.cursor)
    assert [await _next(again), await _next(again)] == ["b", "c"]
    Store(connections).change(writes.succeed(task_id, 1))
    assert await _rest(again) == []
    assert await _rest(_follow(feed, store, task_id, str(LogCursor(task_id, 2)))) == ["c"]


@pytest.mark.parametrize("cursor", ["nonsense", str(LogCursor("another", 1))])
async def test_a_cursor_of_another_log_is_refused(feed: TaskFeed, store: TaskStore, task_id: str, cursor: str) -> None:
    """The client receives an error instead of the wrong part of a log."""
    with pytest.raises(GraphQLError, match="after: ") as refused:
        await _next(_follow(feed, store, task_id, cursor))
    assert refused.value.extensions == {"code": "BAD_USER_INPUT"}


async def test_a_large_batch_is_read_from_mongodb(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """Lines that are too large for an event, and too many for a page, reach who follows all the same."""
    log = _follow(feed, store, task_id)
    waiting = asyncio.create_task(_next(log))
    await wait_until_async(lambda: _subscribed(feed, 1))
    texts = [f"{n:080}" for n in range(999)]
    await asyncio.to_thread(worker.write, task_id, 1, _entries(*texts))
    await asyncio.to_thread(worker.write, task_id, 1, _entries("last"))
    await asyncio.to_thread(Store(connections).change, writes.succeed(task_id, 1))
    assert [await waiting, *await _rest(log)] == [*texts, "last"]


async def test_lines_whose_events_were_lost_come_by_the_backstop(
    settings: Settings, store: TaskStore, mute: LogStore, task_id: str
) -> None:
    """A lost event is made good within the backstop's time."""
    async with _connected(TaskFeed(settings, store, backstop_seconds=0.2)) as feed:
        log = _follow(feed, store, task_id)
        for text in ("a", "b", "c"):
            await asyncio.to_thread(mute.write, task_id, 1, _entries(text))
            assert await _next(log) == text
        await log.aclose()


async def test_lines_before_a_lost_event_are_not_left_out(
    feed: TaskFeed, store: TaskStore, worker: LogStore, mute: LogStore, task_id: str
) -> None:
    """The event after a lost one shows the gap, and the order stays."""
    log = _follow(feed, store, task_id)
    for writer, text in ((worker, "a"), (worker, "b"), (mute, "lost"), (worker, "c"), (mute, "lost"), (worker, "d")):
        await asyncio.to_thread(writer.write, task_id, 1, _entries(text))
        if text in {"a", "b"}:
            assert await _next(log) == text
        elif text != "lost":
            assert [await _next(log), await _next(log)] == ["lost", text]
    await log.aclose()


async def test_a_cut_connection_is_healed(
    feed: TaskFeed, settings: Settings, store: TaskStore, worker: LogStore, mute: LogStore, task_id: str
) -> None:
    """Lines that were announced while the connection was down are read when it is back, before the next backstop."""
    worker.write(task_id, 1, _entries("a"))
    log = _follow(feed, store, task_id)
    assert await _next(log) == "a"
    waiting = asyncio.create_task(_next(log))
    await asyncio.to_thread(mute.write, task_id, 1, _entries("b"))
    async with Redis.from_url(settings.redis_url) as redis:
        for client in await redis.client_list(_type="pubsub"):
            await redis.client_kill_filter(_id=client["id"])
    assert await asyncio.wait_for(waiting, 10) == "b"
    await log.aclose()


async def test_following_uses_the_one_connection_and_leaves_nothing(
    feed: TaskFeed, store: TaskStore, settings: Settings, worker: LogStore, task_id: str
) -> None:
    """However many follow a log, there is one subscription of it, and the last to leave takes it along."""
    worker.write(task_id, 1, _entries("a"))
    async with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        channels = [store.channels.task(task_id), store.channels.log(task_id)]

        async def watched_by(count: int) -> bool:
            return [number for _, number in await redis.pubsub_numsub(*channels)] == [count, count]

        async with feed.watch("first", EVERYTHING):
            connections = await own_pubsub(redis)
        followers = [_follow(feed, store, task_id) for _ in range(20)]
        assert await asyncio.gather(*map(_next, followers)) == ["a"] * 20
        assert await watched_by(1)
        assert await own_pubsub(redis) == connections
        await asyncio.gather(*(follower.aclose() for follower in followers))
        await wait_until_async(lambda: watched_by(0))
    assert feed.watched == 0


async def test_joining_while_lines_come_misses_and_repeats_none(
    feed: TaskFeed, store: TaskStore, worker: LogStore, connections: Connections, task_id: str
) -> None:
    """Followers that join at any moment of a busy log all see the whole of it in order."""
    texts = [str(n) for n in range(200)]
    running = threading.Event()

    def log_all() -> None:
        for text in texts:
            worker.write(task_id, 1, _entries(text))
            running.set()
        Store(connections).change(writes.succeed(task_id, 1))

    logging = asyncio.create_task(asyncio.to_thread(log_all))
    await asyncio.to_thread(running.wait)

    async def join(delay: float) -> list[str]:
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=delay)
        return [line.message async for line in _follow(feed, store, task_id)]

    stories = await asyncio.wait_for(asyncio.gather(*(join(step * 0.01) for step in range(30))), 60)
    await logging
    assert all(story == texts for story in stories)


async def test_a_page_of_lines_counts_its_bytes(narrow: Front, connections: Connections, task_id: str) -> None:
    """An answer has as many bytes of lines as of tasks, and a character may have several of them."""
    LogStore(connections, Limits(1000, 2 * 1024 * 1024)).write(task_id, 1, _entries(*["é" * 4096] * 130))
    page = f'{{ task(id: "{task_id}") {{ logs(first: %d) {{ nodes {{ message }} }} }} }}'
    assert (await narrow.ask(page % 100)).errors is None
    errors = (await narrow.ask(page % 130)).errors or []
    assert [error.extensions for error in errors] == [{"code": "ANSWER_TOO_LARGE"}]
