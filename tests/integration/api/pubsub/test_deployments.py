"""Deployments that share a Redis server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pymongo import MongoClient
from support import taken, wait_until_async
from watchers import EVERY_TASK

from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.record import writes
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

# The second has a name that is a pattern: as such it would match the first.
_SUFFIXES = [("a", "b"), ("1", "[1]")]


def _deployment(settings: Settings, suffix: str, number: int) -> Settings:
    """Return the settings of a deployment with a database, and a database number, of its own."""
    url = f"{settings.redis_url.rpartition('/')[0]}/{number}"
    return settings.model_copy(update={"mongodb_database": f"{settings.mongodb_database}{suffix}", "redis_url": url})


@pytest.fixture(params=_SUFFIXES, ids="".join)
def deployments(settings: Settings, request: pytest.FixtureRequest) -> Iterator[list[Settings]]:
    """Two deployments, whose databases are dropped."""
    both = [_deployment(settings, suffix, number) for number, suffix in enumerate(request.param)]
    yield both
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        for each in both:
            client.drop_database(each.mongodb_database)


@pytest.mark.parametrize("watched", [0, 1])
async def test_a_deployment_receives_its_own_events_only(deployments: list[Settings], watched: int) -> None:
    """Neither a list nor a task with the same id receives what the other deployment publishes."""
    mine, theirs = deployments[watched], deployments[1 - watched]
    workers = [Connections(each) for each in (mine, theirs)]
    for worker in workers:
        Store(worker).change(writes.create(NewTask(id="t", name="add")), upsert=True)
    store = TaskStore(mine)
    async with TaskFeed(mine, store, backstop_seconds=600) as feed:

        async def connected() -> bool:
            return feed.connected

        # A new connection would read MongoDB.
        await wait_until_async(connected)
        async with feed.watch("t", EVERYTHING) as mailbox, feed.lists.watch(EVERY_TASK) as changes:
            for worker in reversed(workers):
                await asyncio.to_thread(Store(worker).change, writes.start("t", worker=str(workers.index(worker))))
            assert (await taken(mailbox)).worker == "0"
            received = await asyncio.wait_for(changes.take(), 10)
            assert [getattr(each.latest, "worker", None) for each in received] == ["0"]
    await store.close()
    for worker in workers:
        worker.close()
