"""Lists of tasks, read by the API from MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from made import CHUNK, Chunk
from pymongo import MongoClient
from pymongo.database import Database

from gql_api.errors import ClientError
from gql_api.lists import TIMEOUT
from gql_api.store import TaskStore
from jobs.record import fields
from jobs.record.fields import Status
from jobs.record.lists import Order, OrderField, Place, Stretch
from jobs.record.reads import Document
from jobs.settings import Settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    """A database with some hundreds of tasks in all states."""
    with MongoClient[dict[str, Any]](settings.mongodb_url) as client:
        database = client[settings.mongodb_database]
        database[fields.TASKS].insert_many(Chunk(0, CHUNK, CHUNK, seed=6).documents())
        yield database


async def test_every_order_is_read_from_an_index(store: TaskStore, database: Database[dict[str, Any]]) -> None:
    """No list scans the collection or sorts what it finds: neither its first page nor one after a cursor."""
    await store.create_indexes()
    statuses = (None, Status.SUCCESS, Status.FAILURE)
    for field, descending, status in product(OrderField, (True, False), statuses):
        order = Order(field, descending=descending)
        wanted: Document = {} if status is None else {fields.STATUS: {"$in": [status]}}
        after = None
        for _ in range(2):
            database.command("profile", 2)
            found = await store.lists.page(wanted, Stretch(order, 11, after))
            database.command("profile", 0)
            (ran,) = database["system.profile"].find({"op": "query", "command.find": fields.TASKS})
            database["system.profile"].drop()
            assert len(found) == 11
            assert ran["planSummary"].startswith("IXSCAN")
            assert "hasSortStage" not in ran, (order, status)
            assert ran["keysExamined"] < 50
            after = Place.of(found[9], order)


@pytest.mark.parametrize("milliseconds", [5, 1000])
async def test_what_takes_too_long_is_ended(
    settings: Settings, database: Database[dict[str, Any]], milliseconds: int
) -> None:
    """A filter that finds too slowly ends with an error that says so, also when the client notices before MongoDB."""
    impatient = TaskStore(settings.model_copy(update={"query_timeout_seconds": 0.2}))
    slow: Document = {"$where": f"sleep({milliseconds}) || true", fields.NAME: {"$exists": True}}
    try:
        assert database[fields.TASKS].find_one() is not None
        with pytest.raises(ClientError, match=r"takes longer than 0\.2 s") as raised:
            await impatient.lists.page(slow, Stretch(Order(), 500))
    finally:
        await impatient.close()
    assert raised.value.extensions == {"code": TIMEOUT}
