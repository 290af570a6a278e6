"""Log lines in MongoDB: numbered by the record of their task, stored, then announced."""

from __future__ import annotations

import contextlib
import logging
import time

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from gql_api import events
from gql_api.outage import found_only_duplicates, is_outage
from gql_api.record import fields, logs, queries
from gql_api.record.logs import Entry, Limits, LogBatch
from gql_api.record.past import tombstones
from gql_api.record.reads import Document
from gql_api.worker.store.connections import QUICK, Connections

logger = logging.getLogger(__name__)

_OUTAGE_SECONDS = 1.0


class LogStore:
    """The log lines that a worker stores.

    Both the numbers and the lines are durable when MongoDB acknowledges them: no number is given twice, and no line is
    announced that could vanish.
    """

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections = connections
        self._limits = limits

    def write(self, task_id: str, attempt: int, entries: list[Entry]) -> bool | None:
        """Store the lines of an attempt, as far as there is room, and publish them. Waits out outages.

        Returns:
            Whether the log is full; None when the attempt does not hold the task any more, and nothing was stored.
        """
        # Made once, so that a repeated write recognizes its own. The last is for the note that the log is full.
        ids = [ObjectId() for _ in range(len(entries) + 1)]
        is_first = True
        while True:
            try:
                return self._write(task_id, attempt, entries, ids, is_first=is_first)
            except PyMongoError as error:
                if not is_outage(error):
                    raise
                logger.warning("MongoDB does not answer, lines of log wait: %s", error)
            is_first = False
            time.sleep(_OUTAGE_SECONDS)

    def _write(
        self, task_id: str, attempt: int, entries: list[Entry], ids: list[ObjectId], *, is_first: bool
    ) -> bool | None:
        filter_, update = logs.reserve(task_id, attempt, entries, ids[0])
        sent_at = time.monotonic()
        document = self._collection(fields.TASKS).find_one_and_update(
            filter_, update, projection=logs.COUNTS_ONLY, return_document=ReturnDocument.AFTER
        )
        if document is None:
            return None
        reservation = logs.reservation_from(document, entries)
        lines = logs.lines_of(entries, reservation, self._limits, sent_at)
        if lines:
            documents = [logs.document_of(id_, task_id, line) for id_, line in zip(ids, lines, strict=False)]
            self._insert(documents, is_first=is_first)
            batch = LogBatch(reservation.lines + 1, reservation.lines + len(entries), tuple(lines))
            self._connections.publish([(self._connections.channels.log(task_id), events.encode_log(batch))])
        return logs.is_full(entries, reservation, self._limits)

    def copy_last_lines(self, task_ids: list[str]) -> None:
        """Copy the lines that were stored with the ends of some tasks, for readers of earlier versions.

        Others find them in the record, too. So there is no second try.
        """
        try:
            records = self._collection(fields.TASKS).find(queries.by_ids(task_ids), logs.TAIL_ONLY)
            tails = {record[fields.ID]: logs.tail_from(record) for record in records}
            lines = [logs.document_of(ObjectId(), id_, line) for id_, tail in tails.items() for line in tail]
            if not lines:
                return
            with contextlib.suppress(BulkWriteError):  # of those that exist
                self._collection(fields.TASK_LOGS).with_options(write_concern=QUICK).insert_many(lines, ordered=False)
            # Whoever deletes a task has left a tombstone before its lines are deleted.
            deleted = self._collection(fields.TOMBSTONES).find(tombstones.tombstones_of(task_ids))
            if ids := [tombstone[fields.ID] for tombstone in deleted]:
                self._collection(fields.TASK_LOGS).delete_many(logs.of_tasks(ids))
        except PyMongoError as error:
            logger.warning("The last lines of %d tasks are in their records only: %s", len(task_ids), error)

    def _insert(self, documents: list[Document], *, is_first: bool) -> None:
        """Insert the lines; after a lost reply, those that are missing."""
        try:
            # In their order at first, because readers continue from a position.
            self._collection(fields.TASK_LOGS).insert_many(documents, ordered=is_first)
        except BulkWriteError as error:
            if is_first or not found_only_duplicates(error):
                raise

    def _collection(self, name: str) -> Collection[Document]:
        return self._connections.database()[name]
