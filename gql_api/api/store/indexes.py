"""The indexes of all collections, and the validator of the tasks, which the API creates when it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from gql_api.aio.background import shielded
from gql_api.outage import is_outage
from gql_api.record import canvas, fields, logs
from gql_api.record.protection import validator
from gql_api.record.statistics import buckets
from gql_api.registry import api_tokens
from gql_api.standalone import initiation_hint, warn_if_standalone

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_MAX_SECONDS = 3600.0
_INDEX_NOT_FOUND = 27


class Indexes:
    """A creator of indexes, for which calls that rely on one can wait.

    Args:
        database: the one with the collections of this project.
        seconds: the longest time that a call waits for an index.
        optional: the indexes of tasks that only the settings of this process need.
    """

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], seconds: float, optional: Sequence[IndexModel] = ()
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._optional = optional
        self._unique = asyncio.Event()

    async def create(self) -> None:
        """Create the missing indexes, however long MongoDB takes to start and to build them.

        The unique index of idempotency keys comes first, for calls wait for it.
        """
        while True:
            try:
                # The timeout of a build would hide for long that MongoDB cannot be reached, and why.
                await self._ping()
                # A build over a large collection takes long, and is not an outage.
                with pymongo.timeout(_MAX_SECONDS):
                    await self._create()
            except PyMongoError as error:
                hint = initiation_hint(self._database.client.topology_description)
                logger.warning("The indexes are not made yet%s: %s", hint, error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                warn_if_standalone(self._database.client.topology_description)
                return

    async def wait(self) -> None:
        """Wait for the index that makes idempotency keys unique.

        Raises:
            ServerSelectionTimeoutError: the index was not created in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._unique.wait()
        except TimeoutError as error:
            raise ServerSelectionTimeoutError("the indexes are not made yet") from error

    @shielded
    async def _ping(self) -> None:
        await self._database.client.admin.command("ping")

    async def _protect(self) -> None:
        """Let MongoDB check the records. A user who may not change that goes on without."""
        try:
            found = await (await self._database.list_collections(filter=validator.FIND)).to_list()
            command = validator.command(found)
            if command is not None:
                await self._database.command(command)
        except OperationFailure as error:
            if (hint := validator.hint(error)) is not None:
                logger.warning(hint)

    async def _drop_former(self) -> None:
        """Drop the index that an earlier version made. A process of that version makes it again when it starts."""
        tasks = self._database[fields.TASKS]
        try:
            if fields.FORMER_UNIQUE_INDEX in await tasks.index_information():
                await tasks.drop_index(fields.FORMER_UNIQUE_INDEX)
        except OperationFailure as error:
            if is_outage(error):
                raise
            if error.code != _INDEX_NOT_FOUND:  # another process has dropped it
                logger.warning(
                    "The index %s could not be dropped, which keeps two tokens of an owner from using one idempotency "
                    "key: drop it yourself: %s",
                    fields.FORMER_UNIQUE_INDEX,
                    error,
                )

    @shielded
    async def _create(self) -> None:
        await self._protect()
        tasks = self._database[fields.TASKS]
        await tasks.create_indexes(fields.UNIQUE_INDEXES)
        await self._drop_former()
        self._unique.set()
        await tasks.create_indexes([*fields.INDEXES, *self._optional])
        await self._database[fields.CHORDS].create_indexes(canvas.INDEXES)
        await self._database[fields.TOMBSTONES].create_indexes(fields.TOMBSTONE_INDEXES)
        await self._database[fields.TASK_LOGS].create_indexes(logs.INDEXES)
        for name in (buckets.MINUTES, buckets.QUARTERS):
            await self._database[name].create_indexes(buckets.INDEXES)
        await self._database[api_tokens.COLLECTION].create_indexes(api_tokens.INDEXES)
