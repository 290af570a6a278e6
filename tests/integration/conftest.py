"""The parts of the API, opened one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymongo import MongoClient

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
