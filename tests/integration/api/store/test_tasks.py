from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import BulkWriteError, DuplicateKeyError
from support import process, wait_until_async

from gql_api.api.store.tasks import TaskStore
from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings


async def _create(store: TaskStore, count: int, prefix: str = "t") -> list[str]:
    ids = [f"{prefix}{n:03}" for n in range(count)]
    for id_ in ids:
        await store.create(NewTask(id=id_, name="add"))
    return ids


async def test_an_id_cannot_be_created_twice(store: TaskStore) -> None:
    """Creating is an insert: it never replaces a task."""
    await _create(store, 1)
    with pytest.raises(DuplicateKeyError):
        await _create(store, 1)


async def test_records_are_written_durably(store: TaskStore, settings: Settings) -> None:
    """The insert of a task is acknowledged by a majority, with the journal."""
    async with AsyncMongoClient[dict[str, Any]](settings.mongodb_url) as client:
        database = client[settings.mongodb_database]
        await database.command("profile", 2)
        await _create(store, 1)
        await database.command("profile", 0)
        profile = await database["system.profile"].find_one({"command.findAndModify": "tasks"})
    assert profile is not None
    assert profile["command"]["writeConcern"] == {"w": "majority", "j": True}


async def test_definitions_come_back_as_announced(store: TaskStore, announced: TaskDefinition) -> None:
    """The API checks calls against the announcement of a worker, JSON Schema references included."""
    assert await store.definitions() == [announced]
    assert await store.definitions(["other"]) == []


async def test_definitions_count_the_workers_that_are_alive(
    store: TaskStore, announced: TaskDefinition, settings: Settings
) -> None:
    """A worker counts while it beats; when it stops, or only stops beating, the definition stays with fewer workers."""

    async def count() -> int:
        (definition,) = await store.definitions(["add"])
        assert replace(definition, workers=0, unversioned=0, queues=()) == announced
        return definition.workers

    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        beats = client[settings.mongodb_database][fields.WORKERS]
        for host, seconds in (("a", 60.0), ("b", 60.0), ("c", 0.3)):
            filter_, update = workers.beat(
                host, pool="prefork", concurrency=2, task_names=["add", "x"], queues=["q"], good_for_seconds=seconds
            )
            beats.update_one(filter_, update, upsert=True)
        beats.delete_one(workers.by_hostname("a"))

    async def only_one() -> bool:
        return await count() == 1

    await wait_until_async(only_one)


async def test_indexes_are_made_when_mongodb_comes_up(settings: Settings) -> None:
    """An API that starts before its MongoDB does not give up."""
    store = TaskStore(
        settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:1", "store_timeout_seconds": 0.2})
    )
    creating = asyncio.create_task(store.indexes.create())
    done, _ = await asyncio.wait([creating], timeout=1)
    assert not done
    creating.cancel()
    await store.close()


async def test_a_batch_that_is_not_replicated_is_not_created(tmp_path: Path) -> None:
    """A write that MongoDB could not make durable is an error of the call, for a batch as for a single task."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    command = [*server.command(tmp_path / "mongod.log"), "--setParameter=enableTestCommands=1"]
    with process(command, tmp_path / "log"):
        await wait_until_async(lambda: asyncio.to_thread(is_listening, server.port))
        await asyncio.to_thread(server.initiate)
        store = TaskStore(Settings(mongodb_url=server.url))
        tasks = [NewTask(id=str(n), name="add") for n in range(3)]
        with MongoClient[dict[str, object]](server.url) as client:
            fault = {"failCommands": ["update"], "writeConcernError": {"code": 64, "errmsg": "not replicated"}}
            client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=fault)
            with pytest.raises(BulkWriteError):
                await store.create_many(tasks)
            client.admin.command("configureFailPoint", "failCommand", mode="off")
        there, made = await store.create_many([NewTask(id="new", name="add")])
        assert {*there} == made == {"new"}
        await store.close()
