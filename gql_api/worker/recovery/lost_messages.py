"""The search for waiting tasks whose messages are in no queue any more.

Queues are first in, first out, and a message is in its queue at most one lease after its record says so. A task that
was queued more than a lease before the oldest message of its queue was sent is therefore not in the queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pymongo.errors import ExecutionTimeout

from gql_api.record import due, queries
from gql_api.record.due import WaitingQueue
from gql_api.record.fields import WAITS_FOR_STEP, Status
from gql_api.record.fitness import rules
from gql_api.record.reads import Document, TaskRecord
from gql_api.worker.recovery import leader_lock
from gql_api.worker.recovery.backlog import Backlog, QueuedMessage
from gql_api.worker.recovery.waiting_queues import waiting_queues

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

_LOCK = "messages"
# The search reads the heads of all queues or, while the index for that does not exist, all waiting tasks. Both may be
# many. While it finds nothing, it takes a twentieth of the time.
_MIN_REST = 20
# Shorter than the timeout of the connection, after which MongoDB would go on searching.
_MAX_SECONDS = 30


class LostMessages:
    """The search of one worker. One worker at a time searches, twice per lease or less often."""

    def __init__(self, backend: Backend, backlog: Backlog, names: list[str]) -> None:
        self._backend = backend
        self._backlog = backlog
        self._names = names
        self._lease = timedelta(seconds=backend.settings.lease_seconds)

    def search(self, now: datetime) -> Iterator[Document]:
        """Yield, for each queue in which tasks have lost their messages, the filter that finds these tasks.

        Yield one too for tasks whose queue cannot be read.

        Raises:
            OperationalError: the broker does not answer.
        """
        if not leader_lock.take(self._backend, _LOCK, now, self._lease / 2):
            return
        began, settled, found = time.monotonic(), now - self._lease, False
        groups = self._waiting(settled)
        rest = timedelta(seconds=_MIN_REST * (time.monotonic() - began)) - self._lease / 2
        for group in groups:
            queue = due.queue_from(group)
            if queue is None:
                yield due.queued_in_group(group, settled, self._names)
                continue
            lost_until = self._lost_until(queue, settled)
            if lost_until is not None and queue.oldest < lost_until:
                found = True
                yield due.queued_before(lost_until, queue, self._names)
        if rest > timedelta() and not found:
            leader_lock.postpone(self._backend, _LOCK, rest)

    def _waiting(self, settled: datetime) -> list[Document]:
        try:
            return waiting_queues(self._backend.collection, settled, self._names, _MAX_SECONDS)
        except ExecutionTimeout:
            logger.warning("So many tasks wait that MongoDB did not find lost messages within %d s", _MAX_SECONDS)
            return []

    def _lost_until(self, queue: WaitingQueue, settled: datetime) -> datetime | None:
        """Return the time before which a task of a queue was queued if its message is lost; None if that is unknown."""
        oldest = self._backlog.oldest(queue.name, queue.priority)
        if oldest is None:
            return settled
        sent_at = oldest.sent_at or self._first_sent_at(oldest)
        return None if sent_at is None else min(settled, sent_at - self._lease)

    def _first_sent_at(self, message: QueuedMessage) -> datetime | None:
        """Return the earliest time at which a message can have been sent, if its task has a record that fits."""
        document = self._backend.collection.find_one(queries.by_id(message.task_id))
        if document is None or rules.WHOLE.first_misfit(document) is not None:
            return None
        record = TaskRecord(document)
        if record.due_at is None or record.status is not Status.QUEUED:
            # It was cancelled or began, and has still a message. No message is older than its record.
            return record.created_at
        # It may have been rescheduled and have come back: its message is as old as its first QUEUED state.
        queued = [entry for entry in record.history if entry.status is Status.QUEUED]
        return min([record.due_at, *(entry.at for entry in queued if entry.message != WAITS_FOR_STEP)])
