"""Lines of log in MongoDB: numbered by the record of their task, stored, then announced."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError, PyMongoError
from redis.exceptions import RedisError

from jobs import events
from jobs.connections import QUICK, Connections, Document
from jobs.outage import is_outage
from jobs.record import fields, logs
from jobs.record.logs import Entry, Limits, LogBatch, LogLine

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_OUTAGE_SECONDS = 1.0
_DUPLICATE_KEY = 11000


class LogStore:
    """The lines as a worker stores them: acknowledged by one server, for a line is no state."""

    def __init__(self, connections: Connections, limits: Limits) -> None:
        self._connections = connections
        self._limits = limits

    def write(self, task_id: str, attempt: int, entries: list[Entry]) -> bool | None:
        """Store what an attempt has logged, as far as there is room, and tell the watchers. Waits out outages.

        Returns:
            Whether the log is full; None when the task is not the attempt's any more, and nothing was stored.
        """
        filter_, update = logs.reserve(task_id, attempt, entries)
        tasks = self._connections.database().get_collection(fields.TASKS, write_concern=QUICK)

        def reserve() -> tuple[Document | None, float]:
            sent_at = time.monotonic()
            document = tasks.find_one_and_update(
                filter_, update, projection=logs.COUNTS_ONLY, return_document=ReturnDocument.AFTER
            )
            return document, sent_at

        # A try whose reply was lost has counted: it leaves a gap, and never a position that is used twice.
        document, sent_at = _when_answered(reserve)
        if document is None:
            return None
        room = logs.room_from(document, entries)
        lines = logs.lines_of(entries, room, self._limits, sent_at)
        if lines:
            self._insert(task_id, lines)
            self._announce(task_id, LogBatch(room.lines + 1, room.lines + len(entries), tuple(lines)))
        return logs.is_full(entries, room, self._limits)

    def _insert(self, task_id: str, lines: list[LogLine]) -> None:
        # Made once: PyMongo gives them their ids, by which a repeated insert knows its own.
        documents = [logs.document_of(task_id, line) for line in lines]
        collection = self._connections.database().get_collection(fields.TASK_LOGS, write_concern=QUICK)
        tries = 0

        def insert() -> None:
            nonlocal tries
            tries += 1
            try:
                # Readers go by position: of lines not all stored yet they must see the first ones.
                collection.insert_many(documents, ordered=tries == 1)
            except BulkWriteError as error:
                if tries == 1 or any(problem["code"] != _DUPLICATE_KEY for problem in error.details["writeErrors"]):
                    raise

        _when_answered(insert)

    def _announce(self, task_id: str, batch: LogBatch) -> None:
        try:
            self._connections.publisher().publish(events.log_channel(task_id), events.encode_log(batch))
        except (RedisError, OSError):
            logger.warning("Lines of log of task %s were not announced", task_id, exc_info=True)


def _when_answered(operation: Callable[[], Answer]) -> Answer:
    while True:
        try:
            return operation()
        except PyMongoError as error:
            if not is_outage(error):
                raise
            logger.warning("MongoDB does not answer, lines of log wait: %s", error)
            time.sleep(_OUTAGE_SECONDS)
