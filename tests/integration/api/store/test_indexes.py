from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from ports import free_port
from pymongo import MongoClient
from support import process, wait_until_async

from gql_api.aio.background import background
from gql_api.api.store.tasks import TaskStore
from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.record import fields
from gql_api.settings import Settings


async def test_a_wrong_name_of_the_replica_set_is_in_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """An API whose MONGODB_URL names another replica set says so in one line, within the timeout of a call."""
    url = settings.mongodb_url.replace("replicaSet=rs0", "replicaSet=other")
    store = TaskStore(settings.model_copy(update={"mongodb_url": url, "store_timeout_seconds": 0.5}))

    async def logged() -> bool:
        return bool(caplog.messages)

    with caplog.at_level(logging.WARNING, "gql_api"):
        async with background(store.indexes.create):
            await wait_until_async(logged)
    await store.close()
    assert 'available for replica set name "other"' in caplog.messages[0]
    assert "\n" not in caplog.messages[0]


async def test_the_index_of_an_earlier_version_outlasts_no_outage(tmp_path: Path) -> None:
    """An outage just when the API drops it is not taken for a user who may not: the API tries again."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    command = [*server.command(tmp_path / "mongod.log"), "--setParameter=enableTestCommands=1"]
    with process(command, tmp_path / "log"):
        await wait_until_async(lambda: asyncio.to_thread(is_listening, server.port))
        await asyncio.to_thread(server.initiate)
        settings = Settings(mongodb_url=server.url)
        store = TaskStore(settings)
        with MongoClient[dict[str, object]](server.url) as client:
            tasks = client[settings.mongodb_database][fields.TASKS]
            tasks.create_index([(fields.OWNER, 1), (fields.NAME, 1), (fields.IDEMPOTENCY_KEY, 1)])
            fault = {"failCommands": ["dropIndexes"], "errorCode": 11601}
            client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=fault)
            await store.indexes.create()
            assert fields.FORMER_UNIQUE_INDEX not in tasks.index_information()
        await store.close()
