from __future__ import annotations

import logging

import pytest
from support import wait_until_async

from gql_api.aio.background import background
from gql_api.api.store.tasks import TaskStore
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
