"""The indexes of all collections: made by the API when it starts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pymongo
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError

from gql_api.record import canvas, fields, logs

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_MAX_SECONDS = 3600.0


class Indexes:
    """Makes the indexes, and knows whether those are there that calls rely on.

    Args:
        database: the one that holds our collections.
        seconds: how long a call waits for them.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._unique = asyncio.Event()

    async def create(self) -> None:
        """Create what is missing of the indexes, however long MongoDB takes to come up, and to build them.

        What makes idempotency keys unique comes first, for calls wait for it.
        """
        while True:
            try:
                # A large collection takes its time, which is no outage.
                with pymongo.timeout(_MAX_SECONDS):
                    await self._create()
            except PyMongoError as error:
                logger.warning("The indexes are not made yet: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def wait(self) -> None:
        """Wait for the one of idempotency keys: it is what makes them unique.

        Raises:
            ServerSelectionTimeoutError: MongoDB did not come up in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._unique.wait()
        except TimeoutError as error:
            raise ServerSelectionTimeoutError("the indexes are not made yet") from error

    async def _create(self) -> None:
        tasks = self._database[fields.TASKS]
        await tasks.create_indexes(fields.UNIQUE_INDEXES)
        self._unique.set()
        await tasks.create_indexes(fields.INDEXES)
        await self._database[fields.CHORDS].create_indexes(canvas.INDEXES)
        await self._database[fields.TOMBSTONES].create_indexes(fields.TOMBSTONE_INDEXES)
        await self._database[fields.TASK_LOGS].create_indexes(logs.INDEXES)
