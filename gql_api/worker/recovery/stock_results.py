"""Tasks whose messages a stock Celery worker has taken: they run there, without a claim and without a record."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from gql_api.record import due, fields
from gql_api.record.fitness import rules
from gql_api.record.reads import CODEC, Document, TaskRecord
from gql_api.worker.recovery import leader_lock
from gql_api.worker.sending.republish import request_of

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

_LOCK = "stock results"
_BATCH = 500


class StockResults:
    """The search for what became of these tasks. One worker at a time searches."""

    def __init__(self, backend: Backend, stopping: threading.Event) -> None:
        self._backend = backend
        self._stopping = stopping
        self.interval = backend.settings.recovery_interval_seconds
        """The number of seconds between two searches, each of which takes no longer."""
        self._after = ""

    def leave(self, unclaimed: Document) -> None:
        """Leave the tasks that a filter finds, and whose messages were sent, to the stock workers that have these.

        They are never sent again: if such a message was lost all the same, its task stays QUEUED.
        """
        left = self._backend.store.note(due.leave_to_stock_workers(unclaimed))
        if left:
            logger.info("%d tasks left their queue without a claim: stock workers run them", left)

    def collect(self) -> None:
        """Store the results of such tasks in their records, some at a time, as long as the backend answers.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        now = self._backend.connections.mongo().admin.command("hello", codec_options=CODEC)["localTime"]
        if not leader_lock.take(self._backend, _LOCK, now, timedelta(seconds=self.interval)):
            return
        deadline = time.monotonic() + self.interval
        found = (
            self._backend.collection.find(rules.fitting(due.with_stock_workers(self._after)))
            .sort(fields.ID)
            .limit(_BATCH)
        )
        records = [TaskRecord(document) for document in found]
        following = records[-1].id if len(records) == _BATCH else ""
        for record in records:
            self._after = record.id
            try:
                stored = self._backend.take_stock_result(record.id)
            except Exception as error:  # noqa: BLE001 - each kind of backend has errors of its own
                # The next search goes on behind it: its result may be one that cannot be decoded.
                logger.warning("STOCK_RESULT_BACKEND: the result of task %s cannot be read: %r", record.id, error)
                return
            if stored is not None and record.message.embed.get("chord"):
                self._backend.on_chord_part_return(request_of(self._backend.app, record), stored.status, None)
            if self._stopping.is_set() or time.monotonic() > deadline:
                return
        self._after = following
