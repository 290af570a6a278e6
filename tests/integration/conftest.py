"""The parts of the API, opened one by one, and its schema over all of them."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from front import Commands, Front
from pymongo import AsyncMongoClient, MongoClient
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import wait_until_async

from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.app import create_app, open_services
from gql_api.record import fields, writes
from gql_api.record.model import NewTask
from gql_api.record.reads import CODEC, Document
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[TaskStore]:
    """The API's side of the test's own database."""
    store = TaskStore(settings)
    yield store
    await store.close()


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    """A connection to look at the server with."""
    async with Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def feed(settings: Settings, store: TaskStore) -> AsyncIterator[TaskFeed]:
    """A connected feed whose backstop stays out of the way."""
    async with TaskFeed(settings, store, backstop_seconds=600) as feed:

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
        yield feed


@pytest.fixture
def worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A worker's side of the records, which does not give events up when Redis is slow."""
    monkeypatch.setattr("gql_api.worker.store.connections._EVENT_TIMEOUT_SECONDS", 20.0)
    connections = Connections(settings)
    yield Store(connections)
    connections.close()


@pytest.fixture
def mute_worker(settings: Settings) -> Iterator[Store]:
    """A worker that stores, and whose events are lost."""
    connections = Connections(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    yield Store(connections)
    connections.close()


@pytest.fixture
def task_id(worker: Store) -> str:
    """A task of its own, for channels are shared by all tests of the process."""
    id_ = str(uuid.uuid4())
    worker.change(writes.create(NewTask(id=id_, name="add")), upsert=True)
    return id_


@pytest.fixture
def tasks(settings: Settings) -> Iterator[Collection[Document]]:
    """The task records of the test."""
    with MongoClient[Document](settings.mongodb_url) as client:
        yield client[settings.mongodb_database].get_collection(fields.TASKS, codec_options=CODEC)


@pytest.fixture
async def front(
    settings: Settings,
    prepared: str,  # noqa: ARG001 - the settings name it
) -> AsyncIterator[Front]:
    """The schema over the test's own database, with its indexes."""
    app = create_app(settings)
    async with open_services(settings) as services:
        app.state.services = services
        await services.store.indexes.wait()
        yield Front(app)


@pytest.fixture
async def narrow(
    settings: Settings,
    prepared: str,  # noqa: ARG001 - the settings name it
) -> AsyncIterator[Front]:
    """The schema with the smallest budget of bytes, and without other limits that matter."""
    limited = settings.model_copy(
        update={"answer_max_bytes": 1024 * 1024, "document_max_depth": 50, "request_max_cost": 10**7}
    )
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        yield Front(app)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What every store sends that is made from now on, without what it sends from time to time."""
    listener = Commands()
    monkeypatch.setattr("gql_api.api.statistics.counting._INTERVAL", timedelta(days=1))
    monkeypatch.setattr(
        "gql_api.api.store.tasks.AsyncMongoClient", functools.partial(AsyncMongoClient, event_listeners=[listener])
    )
    return listener


@pytest.fixture
def announced(settings: Settings) -> TaskDefinition:
    """A task that a worker announced at some time."""
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y.z": {"$ref": "#/$defs/Y"}},
        "$defs": {"Y": {"type": "string"}},
        "required": ["x"],
    }
    definition = TaskDefinition("add", schema, "Add.", ("x",), queue="sums", max_retries=3, time_limit=1.5)
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        filter_, update = workers.announce(definition)
        client[settings.mongodb_database][fields.DEFINITIONS].update_one(filter_, update, upsert=True)
    return definition
