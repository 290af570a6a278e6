"""The collection of the audit log: entries that arrive together share one insert."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from gql_api.aio.background import shielded
from gql_api.aio.batching import BatchedReads
from gql_api.api.creation.clock import Clock
from gql_api.api.store.limiter import limited
from gql_api.api.store.tasks import TaskStore
from gql_api.record.audit import entries
from gql_api.record.audit.entries import AuditEntry, AuditQuery, StoredEntry
from gql_api.record.reads import CODEC, Document
from gql_api.telemetry.counters import AUDIT_FAILURES

logger = logging.getLogger(__name__)

_INDEX_OPTIONS_CONFLICT = 85
_UNAUTHORIZED = 13


class AuditLog:
    """The audit log of a deployment, to which this process appends.

    Args:
        store: the MongoDB of the API.
        retention_days: how long MongoDB keeps an entry; 0 for as long as it can.
    """

    def __init__(self, store: TaskStore, retention_days: float) -> None:
        self.limiter = store.limiter
        self._database = store.database
        self._entries = store.database.get_collection(entries.AUDIT_LOG, codec_options=CODEC)
        self._clock = Clock(store.now)
        self._retention_days = retention_days
        self._is_used = asyncio.Event()
        # Not reads, but the same: the entries that arrive during an insert are the next one.
        self._inserts: BatchedReads[Document, None] = BatchedReads(self._insert)

    @shielded
    async def prepare(self) -> None:
        """Create the indexes, and let MongoDB remove entries after the retention that is set now.

        Raises:
            PyMongoError: MongoDB does not answer; call again.
        """
        try:
            await self._entries.create_indexes(entries.INDEXES)
            try:
                await self._entries.create_indexes([entries.expiry_index(self._retention_days)])
            except OperationFailure as error:
                if error.code != _INDEX_OPTIONS_CONFLICT:
                    raise
                await self._database.command(entries.expiry_command(self._retention_days))
        except OperationFailure as error:
            if error.code != _UNAUTHORIZED:
                raise
            logger.warning(
                "The user of MONGODB_URL may not create the indexes of %s or change its retention: %s",
                entries.AUDIT_LOG,
                error,
            )

    async def prepare_when_used(self) -> None:
        """Do the same once there is an entry: an application that mounts the API may authenticate its callers itself.

        Raises:
            PyMongoError: MongoDB does not answer; call again.
        """
        await self._is_used.wait()
        await self.prepare()

    @shielded
    async def record(self, entry: AuditEntry) -> None:
        """Append an entry, even if the caller is cancelled. A failure is logged, with the entry, and counted."""
        self._is_used.set()
        document = entries.document(entry)
        try:
            await self._inserts.load(document)
        except PyMongoError as error:
            AUDIT_FAILURES.inc()
            logger.error(  # noqa: TRY400 - the traceback would tell nothing
                "An entry of the audit log was not stored (%s): %s", error, json.dumps(document, default=str)
            )

    async def page(self, query: AuditQuery, after: tuple[datetime, str] | None, limit: int) -> list[StoredEntry]:
        """Read the entries after a position, the newest first.

        Raises:
            ValueError: the position has an id that no entry has.
            PyMongoError: MongoDB did not answer in time.
        """
        return [entries.entry_from(found) for found in await self._find(*entries.page(query, after, limit))]

    @limited
    async def _find(self, filter_: Document, sort: list[Any], limit: int) -> list[Document]:
        return await self._entries.find(filter_).sort(sort).limit(limit).to_list()

    async def _insert(self, documents: list[Document]) -> list[None]:
        await self._insert_at(documents, await self._clock.now())
        return [None] * len(documents)

    @limited
    async def _insert_at(self, documents: list[Document], at: datetime) -> None:
        await self._entries.insert_many(entries.stored_at(documents, at), ordered=False)
