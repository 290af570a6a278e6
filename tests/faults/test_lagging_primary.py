"""A new primary that shows, for a moment, less than its predecessor had acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from fault_site import Site
from pymongo.errors import PyMongoError

from gql_api.access.visibility import EVERYTHING
from gql_api.api.errors import ClientError
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.record import writes
from gql_api.record.fields import Status
from gql_api.record.logs import Entry, Limits, LogLevel
from gql_api.worker.store.logs import LogStore

pytestmark = pytest.mark.fault

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@contextlib.asynccontextmanager
async def _store(site: Site) -> AsyncIterator[TaskStore]:
    store = TaskStore(site.settings.model_copy(update={"store_timeout_seconds": 2.0, "query_timeout_seconds": 2.0}))
    try:
        yield store
    finally:
        await store.close()


def _log(site: Site, task_id: str, message: str) -> None:
    log = LogStore(site.store._connections, Limits(10, 1000))  # noqa: SLF001 - as the worker's backend has them
    assert log.write(task_id, 1, [Entry.of(20, message, time.time())]) is False


@contextlib.asynccontextmanager
async def _overtaken(site: Site, store: TaskStore) -> AsyncIterator[tuple[str, str]]:
    """Within the block the primary is another one than the last barrier's, and shows nothing of the last three changes.

    Yields:
        the id of a task that has logged a line and ended, and the id of one that was deleted.
    """
    members = site.mongodb
    primary = await asyncio.to_thread(members.wait_for_primary)
    ended, deleted, earlier = (site.record("work") for _ in range(3))
    for task_id in ended, deleted, earlier:
        assert site.store.change(writes.start(task_id, worker="w"))
        _log(site, task_id, "first")
    for task_id in deleted, earlier:
        assert site.store.change(writes.succeed(task_id, 1))
    # A read of a collection that the new primary does not show at all would fail by itself.
    site.store.delete([earlier])
    with members.behind(members.others(primary)):
        _log(site, ended, "last")
        assert site.store.change(writes.succeed(ended, 1))
        site.store.delete([deleted])
        await store.committed.barrier()
        await asyncio.to_thread(members.step_down)
        yield ended, deleted


async def test_no_read_behind_a_barrier_misses_what_the_last_primary_acknowledged(replicated_site: Site) -> None:
    """Reads of tasks, deletions and logs wait until the new primary shows what was acknowledged, or fail."""
    async with _store(replicated_site) as store, TaskFeed(replicated_site.settings, store) as feed:

        async def versions() -> set[tuple[str, Status]]:
            return {
                (id_, version.status)
                for id_, version in (await store.committed.versions([ended, deleted], EVERYTHING)).items()
            }

        async def records() -> set[tuple[str, Status]]:
            return {
                (record.id, record.status) for record in await store.committed.records([ended, deleted], EVERYTHING)
            }

        async def changed() -> set[tuple[str, Status]]:
            return {(record.id, record.status) async for record in feed.lists.changed_since(_LONG_AGO, EVERYTHING)}

        async def deletions() -> set[str]:
            return {each.task_id async for each in store.deletions.since(_LONG_AGO, EVERYTHING)}

        async def lines() -> list[str]:
            return [line.message for line in await store.log_lines.after(ended, 0, LogLevel.DEBUG, 10, EVERYTHING)]

        async with _overtaken(replicated_site, store) as (ended, deleted):
            for read in versions, records, changed, deletions, lines:
                with pytest.raises((PyMongoError, ClientError)):
                    await read()
        # With the next write, the new primary shows them.
        await store.committed.barrier()
        assert await versions() == await records() == await changed() == {(ended, Status.SUCCESS)}
        assert deleted in await deletions()
        assert await lines() == ["first", "last"]
