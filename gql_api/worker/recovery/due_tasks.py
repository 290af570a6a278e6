"""The start of scheduled tasks and retries at their due times; the scans of recovery send them up to an interval later.

Of the workers that know the same task functions, one at a time has a lock, and reads the next due time again and again.
If it dies, the lock is free a moment later, and the scans of the others go on meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from pymongo.errors import PyMongoError

from gql_api.outage import is_outage
from gql_api.record import due, fields
from gql_api.record.fitness import rules
from gql_api.worker.recovery import leader_lock

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend
    from gql_api.worker.recovery.contact import Contacts

_POLL_SECONDS = 0.1
# A task may be found before it is due, and is then sent without another poll.
_AHEAD = timedelta(seconds=2 * _POLL_SECONDS)
# Until a task that is due is due by MongoDB's clock as well.
_MIN_SECONDS = 0.005
_MAX_LOCK_SECONDS = 2.0


class Scanner(Protocol):
    """The recovery of the worker."""

    interval: float
    contacts: Contacts

    def database_time(self) -> datetime:
        """Return the time by MongoDB's clock."""

    def send_due(self, now: datetime, since: datetime | None = None) -> None:
        """Send the tasks that wait for a time before ``now``, and not before ``since``."""


class DueTasks:
    """The part of one worker in sending tasks that are due."""

    def __init__(self, recovery: Scanner, backend: Backend, names: list[str], stopping: threading.Event) -> None:
        self._recovery = recovery
        self._backend = backend
        self._names = names
        self._stopping = stopping
        # A worker sends only tasks that it knows, so workers that know others have a lock of their own.
        self._lock = f"due:{hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:16]}"
        self.interval = min(recovery.interval, _MAX_LOCK_SECONDS)
        """The number of seconds between two attempts to take the lock, and for which it is taken."""
        # What has been due for longer is left to the scans: it may be much that no worker can send.
        self._behind = timedelta(seconds=2 * recovery.interval)

    def run(self) -> None:
        """Send tasks when they are due, if no other worker does that, until one does.

        Raises:
            PyMongoError: MongoDB refuses a query.
            OperationalError: the broker has stopped answering.
        """
        duration = timedelta(seconds=self.interval)
        try:
            while not self._stopping.is_set() and self._recovery.contacts.broker.is_open():
                measured_at = time.monotonic()
                now = self._recovery.database_time()
                if not leader_lock.take(self._backend, self._lock, now, duration):
                    return
                self._send_for(self.interval, now - timedelta(seconds=measured_at))
        except PyMongoError as error:
            # The scans log an outage.
            if not is_outage(error):
                raise

    def _send_for(self, seconds: float, origin: datetime) -> None:
        """Send tasks for some seconds; ``origin`` is MongoDB's time at 0 of this process's clock."""
        end = time.monotonic() + seconds
        while (clock := time.monotonic()) < end and self._recovery.contacts.broker.is_open():
            now = origin + timedelta(seconds=clock)
            next_ = self._next(now)
            if next_ is not None and next_ <= now:
                self._recovery.send_due(now, now - self._behind)
            wait = _POLL_SECONDS if next_ is None else (next_ - now).total_seconds() + _MIN_SECONDS
            if self._stopping.wait(min(max(wait, _MIN_SECONDS), _POLL_SECONDS)):
                return

    def _next(self, now: datetime) -> datetime | None:
        """Return the earliest time at which a task is due, if that is soon."""
        filter_ = due.soon(now - self._behind, now + _AHEAD, self._names)
        document = self._backend.collection.find_one(rules.fitting(filter_), due.DUE_AT_ONLY, sort=[(fields.DUE_AT, 1)])
        return None if document is None else due.due_at_from(document)
