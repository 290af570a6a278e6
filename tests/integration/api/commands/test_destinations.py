"""The API puts a message where the workers of its task take it from, and logs that it cannot."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
from pymongo import MongoClient
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from gql_api.access.principal import ANONYMOUS
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.create import Creator
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.store.tasks import TaskStore
from gql_api.dispatch import Dispatcher
from gql_api.record import fields
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

_TRANSPORT = (("global_keyprefix", "shop."), ("sep", ":"))


@contextlib.asynccontextmanager
async def _creator(settings: Settings, store: TaskStore) -> AsyncIterator[Creator]:
    dispatcher = Dispatcher(settings)
    async with Redis.from_url(settings.redis_url) as redis:
        creator = Creator(settings, store, dispatcher, Changes(store, redis))
        yield creator
        await creator.close()
        dispatcher.close()


def _announce(settings: Settings, queue: str, broker: str | None) -> None:
    definition = TaskDefinition("price", {"type": "object"}, queue=queue, priority=3, transport=_TRANSPORT)
    beat = workers.beat(
        "w", pool="solo", concurrency=1, task_names=["price"], queues=[queue], good_for_seconds=60, broker=broker
    )
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        database = client[settings.mongodb_database]
        for name, (filter_, update) in (
            (fields.DEFINITIONS, workers.announce(definition)),
            (fields.WORKERS, beat),
        ):
            database[name].update_one(filter_, update, upsert=True)


async def test_messages_are_in_the_lists_of_the_application(
    settings: Settings, store: TaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The prefix, the separator and the default priority are those that its workers announced."""
    queue, dispatcher = f"queue-{uuid.uuid4()}", Dispatcher(settings)
    _announce(settings, queue, dispatcher.broker_id(_TRANSPORT))
    dispatcher.close()
    async with _creator(settings, store) as creator:
        usual = await creator.create(TaskInput("price"), ANONYMOUS)
        urgent = await creator.create(TaskInput("price", priority=0), ANONYMOUS)
        await creator.publish(usual.record.as_sent())
    with SyncRedis.from_url(settings.celery_broker_url, decode_responses=True) as redis:
        assert redis.llen(f"shop.{queue}:3") == 2
        assert redis.llen(f"shop.{queue}") == 1
        assert [*redis.scan_iter(f"{queue}*")] == []
    assert (usual.record.priority, urgent.record.priority) == (3, 0)
    assert not [record for record in caplog.records if "CELERY_BROKER_URL" in record.getMessage()]


async def test_workers_with_another_broker_are_logged_once(
    settings: Settings, store: TaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The database of the address is a part of it. The task is stored, and recovery sends its message."""
    queue = f"queue-{uuid.uuid4()}"
    elsewhere = Dispatcher(settings.model_copy(update={"celery_broker_url": settings.celery_broker_url[:-1] + "1"}))
    _announce(settings, queue, elsewhere.broker_id(_TRANSPORT))
    elsewhere.close()
    async with _creator(settings, store) as creator:
        for _ in range(2):
            assert (await creator.create(TaskInput("price"), ANONYMOUS)).created
    messages = [record.getMessage() for record in caplog.records]
    (message,) = [message for message in messages if "CELERY_BROKER_URL" in message]
    assert message.startswith("The workers that run price receive messages from another Redis")
