"""Events that any client of Redis can publish: each stays with itself."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import bson
import pytest
from redis.asyncio import Redis
from support import taken, wait_until_async
from watchers import EVERY_TASK, WITH_METADATA

from gql_api import events
from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub import refusals
from gql_api.api.pubsub.mailbox import LogMailbox
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.record import fields, writes
from gql_api.record.logs import LogBatch
from gql_api.record.reads import Document
from gql_api.telemetry.counters import REFUSED_EVENTS
from gql_api.worker.store.tasks import Store


@pytest.fixture(autouse=True)
def _nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have logged."""
    monkeypatch.setattr(refusals, "_logged", set())


async def _stored(store: TaskStore, task_id: str) -> Document:
    (document,) = await store.documents([task_id], EVERYTHING)
    return document


def _malformed(document: Document, task_id: str) -> list[bytes]:
    event = bson.decode(events.encode(document))
    lazy = bson.encode({"history": 5, "metadata": 7})
    changes: list[dict[str, Any]] = [{"revision": "x"}, {"_folded": lazy}, {"_folded": b"x"}]
    return [b"", b"null", bson.encode({"_id": task_id}), *(bson.encode({**event, **each}) for each in changes)]


async def test_malformed_events_cost_no_watcher_anything(
    feed: TaskFeed, store: TaskStore, redis: Redis, worker: Store, task_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays, lists and tasks receive what follows, and the log has one line for each kind."""
    document = await _stored(store, task_id)
    connection = feed._connection._connection  # noqa: SLF001 - the one that must stay
    refused = REFUSED_EVENTS._value.get()  # noqa: SLF001 - prometheus_client has no other way to read it
    # A list whose filter reads a lazy field, and one that receives everything.
    async with (
        feed.watch(task_id, EVERYTHING) as mailbox,
        feed.watch_log(task_id, EVERYTHING),
        feed.lists.watch(WITH_METADATA),
        feed.lists.watch(EVERY_TASK) as changes,
    ):
        for payload in _malformed(document, task_id) * 5:
            await redis.publish(store.channels.task(task_id), payload)
            await redis.publish(store.channels.log(task_id), payload)
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))

        async def started() -> bool:
            return (await taken(mailbox)).revision == 2

        await wait_until_async(started)

        async def received() -> bool:
            return any(getattr(each.latest, "revision", 0) == 2 for each in await changes.take())

        await wait_until_async(received)
    assert feed._connection._connection is connection  # noqa: SLF001 - as above
    assert REFUSED_EVENTS._value.get() - refused >= 40  # noqa: SLF001 - as above
    lines = [line for line in caplog.messages if "was refused" in line]
    assert 0 < len(lines) < 10


async def test_a_forged_revision_silences_no_task(
    feed: TaskFeed, store: TaskStore, redis: Redis, worker: Store, task_id: str
) -> None:
    """A jump of the revision is not believed before MongoDB shows it, by a task's watcher as by a list's."""
    document = await _stored(store, task_id)
    async with feed.watch(task_id, EVERYTHING) as mailbox, feed.lists.watch(EVERY_TASK) as changes:
        record = await store.get(task_id, EVERYTHING)
        assert record is not None
        mailbox.skip(record.version)
        for revision, status in itertools.product((2_000, 2**31 - 1), ("STARTED", "SUCCESS")):
            forged = events.encode({**document, fields.REVISION: revision, fields.STATUS: status})
            await redis.publish(store.channels.task(task_id), forged)
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
        assert (await taken(mailbox)).revision == 2

        async def received() -> bool:
            return any(getattr(each.latest, "revision", 0) == 2 for each in await changes.take())

        await wait_until_async(received)


async def test_a_real_jump_is_delivered(
    feed: TaskFeed, store: TaskStore, redis: Redis, mute_worker: Store, task_id: str
) -> None:
    """When a thousand events were lost, the next one brings what MongoDB has."""
    async with feed.watch(task_id, EVERYTHING) as mailbox, feed.lists.watch(EVERY_TASK) as changes:
        await asyncio.to_thread(mute_worker.change, writes.change(task_id, {}, announced=5_000))
        await redis.publish(store.channels.task(task_id), events.encode(await _stored(store, task_id)))
        assert (await taken(mailbox)).revision == 5_001
        [change] = await asyncio.wait_for(changes.take(), 10)
        assert getattr(change.latest, "revision", 0) == 5_001


def test_forged_lines_hide_no_gap() -> None:
    """Lines far beyond the end of the log let the watcher read MongoDB, and do not count as received."""
    mailbox = LogMailbox()
    mailbox.put_lines(LogBatch(1, 1, ()))
    mailbox.put_lines(LogBatch(2**30, 2**30, ()))
    mailbox.put_lines(LogBatch(5, 6, ()))
    assert mailbox._until == 6  # noqa: SLF001 - a gap after it is found
