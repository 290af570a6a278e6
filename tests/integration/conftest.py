"""The parts of the API, opened one by one, and its schema over all of them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from front import Commands, Front
from pymongo import AsyncMongoClient, MongoClient

from gql_api.app import create_app, open_services
from gql_api.store import TaskStore
from jobs.definitions import TaskDefinition
from jobs.record import fields, workers
from jobs.settings import Settings


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[TaskStore]:
    """The API's side of the test's own database."""
    store = TaskStore(settings)
    yield store
    await store.close()


@pytest.fixture
async def front(settings: Settings) -> AsyncIterator[Front]:
    """The schema over the test's own database, with its indexes."""
    with MongoClient[dict[str, Any]](settings.mongodb_url) as client:
        client[settings.mongodb_database][fields.TASKS].create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
    app = create_app(settings)
    async with open_services(settings) as services:
        app.state.services = services
        await services.store.indexes()
        yield Front(app)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What every store sends that is made from now on."""
    listener = Commands()
    monkeypatch.setattr(
        "gql_api.store.AsyncMongoClient", functools.partial(AsyncMongoClient, event_listeners=[listener])
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
