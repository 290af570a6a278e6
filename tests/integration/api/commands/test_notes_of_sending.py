"""While stock workers share the queues, the API notes which messages of its tasks the broker has."""

from __future__ import annotations

import json
import uuid

import pytest
from ports import free_port
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


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_task_is_unsent_until_the_broker_has_its_message(settings: Settings, is_away: bool) -> None:
    """Recovery sends it if the broker was away. The message has the expiry, which stock workers read there."""
    queue, broker = f"queue-{uuid.uuid4()}", settings.celery_broker_url
    update = {"stock_result_backend": "disabled"}
    if is_away:
        update["celery_broker_url"] = f"redis://127.0.0.1:{free_port()}/0"
    mixture = settings.model_copy(update=update)
    store, dispatcher = TaskStore(mixture), Dispatcher(mixture)
    with MongoClient[dict[str, object]](settings.mongodb_url) as client, SyncRedis.from_url(broker) as broker_client:
        database = client[settings.mongodb_database]
        definition = TaskDefinition(queue, {"type": "object"}, queue=queue)
        database[fields.DEFINITIONS].update_one(*workers.announce(definition), upsert=True)
        async with Redis.from_url(settings.redis_url) as redis:
            creator = Creator(mixture, store, dispatcher, Changes(store, redis))
            created = [await creator.create(TaskInput(queue, expires_in_seconds=60), ANONYMOUS)]
            created += [
                each
                for each in await creator.create_many([TaskInput(queue)], ANONYMOUS)
                if not isinstance(each, Exception)
            ]
            await creator.close()
        dispatcher.close()
        await store.close()
        ids = [each.record.id for each in created]
        assert len(ids) == 2
        unsent = database[fields.TASKS].count_documents({fields.ID: {"$in": ids}, fields.UNSENT: True})
        sent = [json.loads(message)["headers"]["expires"] for message in broker_client.lrange(queue, 0, -1)]
    assert unsent == (2 if is_away else 0)
    expires_at = created[0].record.expires_at
    assert expires_at is not None
    assert sent == ([] if is_away else [None, expires_at.isoformat()])
