from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta

import pytest
from databases import Databases
from redis.asyncio import Redis
from support import own_pubsub, taken, wait_until_async

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.api.pubsub.connection import PubSubConnection
from gql_api.api.pubsub.mailbox import Mailbox
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.record import writes
from gql_api.record.model import Version
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store


async def _subscribed(redis: Redis, task_id: str) -> int:
    channels = await redis.pubsub_channels(f"gql-api:*:task:{task_id}")
    return sum(int(count) for _, count in await redis.pubsub_numsub(*channels)) if channels else 0


async def test_a_watch_is_subscribed_when_it_opens(feed: TaskFeed, redis: Redis, task_id: str) -> None:
    """When watch returns, Redis has the subscription: nothing that is announced from then on is missed."""
    async with feed.watch(task_id, EVERYTHING):
        assert await _subscribed(redis, task_id) == 1


async def test_watchers_share_one_connection_and_one_subscription(feed: TaskFeed, redis: Redis, task_id: str) -> None:
    """However many watch, the process has one pub/sub connection; the last to leave unsubscribes."""
    async with feed.watch("first", EVERYTHING):
        connections = await own_pubsub(redis)
    others = [str(uuid.uuid4()) for _ in range(150)]
    watches = [feed.watch(id_, EVERYTHING) for id_ in [*others, *([task_id] * 50)]]
    await asyncio.gather(*(watch.__aenter__() for watch in watches))
    assert await own_pubsub(redis) == connections
    assert await _subscribed(redis, task_id) == 1
    assert feed.watched == 151
    for watch in watches:
        await watch.__aexit__(None, None, None)

    async def none_left() -> bool:
        return not any([await _subscribed(redis, id_) for id_ in (*others, task_id)])

    await wait_until_async(none_left)
    assert feed.watched == 0


async def test_events_reach_every_watcher(feed: TaskFeed, worker: Store, task_id: str) -> None:
    """A stored change is in every mailbox of its task, and in no other."""
    async with (
        feed.watch(task_id, EVERYTHING) as one,
        feed.watch(task_id, EVERYTHING) as two,
        feed.watch("other", EVERYTHING) as other,
    ):
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
        records = await asyncio.gather(taken(one), taken(two))
        assert [record.status for record in records] == ["STARTED", "STARTED"]
        waiting = asyncio.create_task(other.take())
        assert not waiting.done()
        waiting.cancel()


async def test_joining_while_another_leaves_is_subscribed(feed: TaskFeed, redis: Redis, task_id: str) -> None:
    """A watch opened right behind the last one's end waits for its own subscription, not for the old one's answer."""
    for _ in range(50):
        async with feed.watch(task_id, EVERYTHING):
            pass
        async with feed.watch(task_id, EVERYTHING):
            assert await _subscribed(redis, task_id) == 1


async def test_a_cut_connection_is_healed(feed: TaskFeed, redis: Redis, worker: Store, task_id: str) -> None:
    """What was announced while the connection was down is read after it is back, without waiting for the backstop."""
    async with feed.watch(task_id, EVERYTHING) as mailbox:
        for client in await redis.client_list(_type="pubsub"):
            await redis.client_kill_filter(_id=client["id"])
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
        await asyncio.to_thread(worker.change, writes.succeed(task_id, 7))

        async def final() -> bool:
            return (await taken(mailbox)).is_final

        async def subscribed() -> bool:
            return await _subscribed(redis, task_id) == 1

        assert await asyncio.wait_for(wait_until_async(final), 10)
        await wait_until_async(subscribed)
        assert feed.backstop_found == 0


async def test_the_backstop_finds_what_no_event_told(
    settings: Settings, store: TaskStore, mute_worker: Store, task_id: str
) -> None:
    """A lost event is made good within the backstop's time, and counted."""
    async with TaskFeed(settings, store, backstop_seconds=0.2) as feed, feed.watch(task_id, EVERYTHING) as mailbox:

        async def found() -> bool:
            await asyncio.to_thread(mute_worker.change, writes.start(task_id, worker="w"))
            return feed.backstop_found > 0

        await wait_until_async(found)
        assert (await taken(mailbox)).status == "STARTED"


@pytest.fixture
def scans(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Version]]:
    """The versions that each scan of the backstop has read."""
    scans: list[dict[str, Version]] = []
    versions = store.committed.versions

    async def watched_versions(task_ids: Collection[str], visibility: Visibility) -> dict[str, Version]:
        scans.append(await versions(task_ids, visibility))
        return scans[-1]

    monkeypatch.setattr(store.committed, "versions", watched_versions)
    return scans


async def _scan_again(scans: list[dict[str, Version]]) -> None:
    """Wait until the backstop has done what followed from its last scan."""
    scans.clear()

    async def scanned_again() -> bool:
        return len(scans) > 1

    await wait_until_async(scanned_again)


async def test_the_backstop_waits_for_events_that_are_on_their_way(
    settings: Settings,
    store: TaskStore,
    mute_worker: Store,
    redis: Redis,
    task_id: str,
    scans: list[dict[str, Version]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change that is read before its event has come is not one that no event told."""
    async with TaskFeed(settings, store, backstop_seconds=0.2) as feed:

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
        async with feed.watch(task_id, EVERYTHING) as mailbox:
            first = await store.get(task_id, EVERYTHING)
            assert first is not None
            mailbox.put(first, first.version)
            assert await taken(mailbox) is first
            # Only now: a scan from before the mailbox had a version would wait for an hour too.
            monkeypatch.setattr("gql_api.api.pubsub.task_feed.EVENT_GRACE", timedelta(hours=1))
            await _tell_late(mailbox, store, mute_worker, redis, task_id, scans)
            feed._reconnected.set()  # noqa: SLF001 - which ends the hour
            await _scan_again(scans)
        assert feed.backstop_found == 0


async def _tell_late(
    mailbox: Mailbox,
    store: TaskStore,
    mute_worker: Store,
    redis: Redis,
    task_id: str,
    scans: list[dict[str, Version]],
) -> None:
    """Change a task, and announce it when the backstop has scanned."""
    record = await asyncio.to_thread(mute_worker.change, writes.start(task_id, worker="w"))
    assert record is not None

    async def seen() -> bool:
        return bool(scans) and scans[-1].get(task_id) == record.version

    await wait_until_async(seen)
    (document,) = await store.documents([task_id], EVERYTHING)
    await redis.publish(store.channels.task(task_id), events.encode(document))
    assert (await taken(mailbox)).revision == record.revision


async def test_who_is_only_just_coming_is_no_finding_of_the_backstop(
    settings: Settings, store: TaskStore, task_id: str, scans: list[dict[str, Version]]
) -> None:
    """A watcher who has not read the task yet has missed nothing."""
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with TaskFeed(away, store, backstop_seconds=0.2) as feed, feed.watch(task_id, EVERYTHING) as mailbox:
        assert (await taken(mailbox)).revision == 1
        await _scan_again(scans)
        assert feed.backstop_found == 0


async def test_without_redis_a_watch_opens_and_the_backstop_brings_the_news(
    settings: Settings, store: TaskStore, worker: Store, task_id: str
) -> None:
    """While Redis is away subscribers still reach the right state."""
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with TaskFeed(away, store, backstop_seconds=0.2) as feed, feed.watch(task_id, EVERYTHING) as mailbox:
        await asyncio.to_thread(worker.change, writes.succeed(task_id, 1))

        async def final() -> bool:
            return (await taken(mailbox)).is_final

        assert await asyncio.wait_for(wait_until_async(final), 10)


async def _reach(mailbox: Mailbox, revision: int) -> None:
    """Take records until one has this revision: a feed whose connection was replaced has read the task before."""
    while (await taken(mailbox)).revision != revision:
        pass


async def test_a_quiet_connection_stays_good(
    settings: Settings,
    store: TaskStore,
    worker: Store,
    redis: Redis,
    task_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A feed that nobody used for long keeps its connection by asking for signs of life, and then works as ever."""
    async with TaskFeed(settings, store, backstop_seconds=600, silence_seconds=0.05) as feed:

        async def answered(least: int) -> bool:
            pings = (await redis.info("commandstats")).get("cmdstat_ping", {}).get("calls", 0)
            return bool(pings >= least)

        async def subscribed() -> bool:
            return await _subscribed(redis, task_id) == 1

        before = (await redis.info("commandstats")).get("cmdstat_ping", {}).get("calls", 0)
        await wait_until_async(lambda: answered(before + 3))
        async with feed.watch(task_id, EVERYTHING) as mailbox:
            await wait_until_async(subscribed)
            await wait_until_async(lambda: answered(before + 12))
            await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
            await _reach(mailbox, 2)
    # A Redis that gets no processor may answer late, but a connection that is not kept is given up after each PING.
    assert caplog.text.count("Redis gave no sign of life") < 6


async def test_a_foreign_message_is_left_out(
    feed: TaskFeed, store: TaskStore, redis: Redis, worker: Store, task_id: str
) -> None:
    """Whatever is published to a task's channel, its watchers see records only."""
    async with feed.watch(task_id, EVERYTHING) as mailbox:
        await redis.publish(store.channels.task(task_id), "not an event")
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
        assert (await taken(mailbox)).revision == 2


async def test_a_deletion_ends_the_watch(feed: TaskFeed, worker: Store, task_id: str) -> None:
    """Who watches a task that is deleted waits for nothing more, and still gets what came before."""
    async with feed.watch(task_id, EVERYTHING) as mailbox:
        await asyncio.to_thread(worker.change, writes.succeed(task_id, 1))
        await asyncio.to_thread(worker.delete, [task_id])
        assert (await taken(mailbox)).is_final
        assert await asyncio.wait_for(mailbox.take(), 10) is None


async def test_the_backstop_finds_a_deletion(
    settings: Settings, store: TaskStore, mute_worker: Store, task_id: str
) -> None:
    """A watcher that heard neither of the end nor of the deletion is not left waiting."""
    async with TaskFeed(settings, store, backstop_seconds=0.2) as feed, feed.watch(task_id, EVERYTHING) as mailbox:
        record = await store.get(task_id, EVERYTHING)
        assert record is not None
        mailbox.put(record, record.version)
        await taken(mailbox)
        await asyncio.to_thread(mute_worker.change, writes.succeed(task_id, 1))
        await asyncio.to_thread(mute_worker.delete, [task_id])

        async def ended() -> bool:
            return await mailbox.take() is None

        assert await asyncio.wait_for(wait_until_async(ended), 10)


async def test_the_backstop_finds_the_deletion_of_a_task_that_its_watchers_never_saw(
    settings: Settings, store: TaskStore, mute_worker: Store, task_id: str
) -> None:
    """Watchers that wait for its creation end, and those of a task that does not exist yet go on waiting."""
    await asyncio.to_thread(mute_worker.change, writes.succeed(task_id, 1))
    await asyncio.to_thread(mute_worker.delete, [task_id])
    async with (
        TaskFeed(settings, store, backstop_seconds=0.2) as feed,
        feed.watch(task_id, EVERYTHING) as mailbox,
        feed.watch_log(task_id, EVERYTHING) as log,
        feed.watch(str(uuid.uuid4()), EVERYTHING) as other,
    ):
        waiting = asyncio.create_task(other.take())
        assert await asyncio.wait_for(mailbox.take(), 10) is None
        assert await asyncio.wait_for(log.take(), 10) is None
        assert not waiting.done()
        waiting.cancel()


class _Proxy:
    """Stands between the feed and Redis, and can swallow what comes on the connections it has."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.accepted = 0
        self.swallowed = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways."""
        self.accepted += 1
        number = self.accepted
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [(reader, redis_writer), (redis_reader, writer)]
        with contextlib.suppress(OSError):
            await asyncio.gather(*(self._pump(number, source, sink) for source, sink in ways))

    async def _pump(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if number > self.swallowed:
                sink.write(data)
        sink.close()


async def test_a_connection_that_went_dumb_is_given_up(
    settings: Settings, store: TaskStore, worker: Store, databases: Databases, task_id: str
) -> None:
    """A network that swallows everything, without closing anything, is noticed, and what was missed is made good."""
    proxy = _Proxy(databases.redis.port)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"})
    async with server, TaskFeed(through, store, backstop_seconds=600, silence_seconds=0.2) as feed:

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
        async with feed.watch(task_id, EVERYTHING) as mailbox:
            await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
            await _reach(mailbox, 2)
            proxy.swallowed = proxy.accepted
            await asyncio.to_thread(worker.change, writes.succeed(task_id, 7))
            assert (await taken(mailbox)).is_final
            assert proxy.accepted > proxy.swallowed
            assert feed.backstop_found == 0


def _nothing() -> None:
    """Do nothing."""


@pytest.fixture
async def allowed(settings: Settings, redis: Redis) -> AsyncIterator[tuple[Settings, Callable[[str], Awaitable[None]]]]:
    """Settings with a user of Redis who may hear no channel, and a way to allow one."""
    name = f"user-{uuid.uuid4().hex}"

    async def set_user(*rules: str) -> None:
        await redis.execute_command("ACL", "SETUSER", name, *rules)  # type: ignore[no-untyped-call] # redis-py

    async def allow(channel: str) -> None:
        await set_user(f"&{channel}")

    await set_user("on", ">secret", "~*", "+@all", "resetchannels")
    url = settings.redis_url.replace("redis://", f"redis://{name}:secret@", 1)
    yield settings.model_copy(update={"redis_url": url}), allow
    await redis.acl_deluser(name)


async def test_what_redis_refuses_is_asked_for_again(
    allowed: tuple[Settings, Callable[[str], Awaitable[None]]], redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal is not passed over, also when it comes with the answers to others: once it is allowed, it is heard."""
    settings, allow = allowed
    first, second = (str(uuid.uuid4()) for _ in range(2))
    await allow(first)
    received: list[tuple[str, bytes]] = []
    async with PubSubConnection(
        settings, lambda channel, payload: received.append((channel, payload)), _nothing
    ) as channels:
        for name in (first, second):
            channels.subscribe(name)

        async def refused() -> bool:
            return "Redis does not answer" in caplog.text

        await wait_until_async(refused)
        await allow(second)

        async def has_subscribers() -> bool:
            return [count for _, count in await redis.pubsub_numsub(first, second)] == [1, 1]

        await wait_until_async(has_subscribers)
        for name in (first, second):
            await redis.publish(name, name)

        async def has_received() -> bool:
            return received == [(name, name.encode()) for name in (first, second)]

        await wait_until_async(has_received)
