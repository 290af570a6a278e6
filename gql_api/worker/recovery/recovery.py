"""The scan by which every worker, every few seconds, finds tasks that no live worker holds and moves them on."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from celery import Celery, bootsteps
from kombu.exceptions import OperationalError
from pymongo.errors import DuplicateKeyError, PyMongoError

from gql_api.outage import is_outage
from gql_api.record import claims, due, fields, queries
from gql_api.record.fields import Status
from gql_api.record.reads import CODEC, TaskRecord
from gql_api.worker.app.republish import publish, request_of
from gql_api.worker.attempts.lost import handle_lost_attempt
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery.backlog import Backlog
from gql_api.worker.recovery.retention import sweep

logger = logging.getLogger(__name__)

_BATCH = 500
_LOST = "its worker stopped answering"


class Recovery:
    """The scan of one worker.

    Any number of workers scan at the same time. All changes are conditional writes: of the workers that find the same
    task, only the one whose write is taken goes on with it.
    """

    def __init__(self, app: Celery, backend: Backend) -> None:
        self._app = app
        self._backend = backend
        self._names = sorted(app.tasks)
        self._lease = timedelta(seconds=backend.settings.lease_seconds)
        self._answering_since: float | None = None

    def scan(self) -> None:
        """Scan once, and send, expire or end the tasks that are found.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        try:
            now = self._database_time()
            if self._answering_since is None:
                self._answering_since = time.monotonic()
            self._send_due(now)
            self._expire(now)
            # While MongoDB was away no worker could extend its leases, so all workers get the time to do that first.
            if time.monotonic() - self._answering_since > self._lease.total_seconds():
                self._end_lost_attempts(now)
            if self._holds_leader_lock(now):
                self._send_lost_messages(now)
                self._backend.repair_chords(now - self._lease)
                sweep(self._backend, now)
        except PyMongoError:
            self._answering_since = None
            raise

    def _database_time(self) -> datetime:
        hello = self._backend.connections.mongo().admin.command("hello", codec_options=CODEC)
        now: datetime = hello["localTime"]
        return now

    def _holds_leader_lock(self, now: datetime) -> bool:
        # One worker at a time scans all waiting tasks, which may be many.
        filter_, update = due.take_leader_lock("recovery", now, self._lease.total_seconds() / 2)
        try:
            self._backend.database[fields.LEADER_LOCKS].update_one(filter_, update, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    def _send_due(self, now: datetime) -> None:
        """Send the tasks that are due, each batch by two writes and a pipeline."""
        store = self._backend.store
        for status in (Status.SCHEDULED, Status.RETRY):
            while ids := self._ids_of(due.before(status, now, self._names)):
                taken = store.change_many(due.take(ids, by := uuid.uuid4().hex), due.taken(ids, by))
                publish(self._app, *taken)
                if len(ids) < _BATCH:
                    break

    def _expire(self, now: datetime) -> None:
        for record in self._records(due.expired(now)):
            self._backend.store.change(claims.expire(record.id))

    def _end_lost_attempts(self, now: datetime) -> None:
        for record in self._records(due.before(Status.STARTED, now, self._names)):
            logger.warning("Attempt %d of task %s was lost: %s", record.attempts, record.id, _LOST)
            fence = claims.lease_over(record.attempts)
            request = request_of(self._app, record)
            self._send(handle_lost_attempt(self._backend, record, request, fence, _LOST))

    def _send_lost_messages(self, now: datetime) -> None:
        """Send waiting tasks again whose messages cannot be in the broker any more.

        Queues are first in, first out: a task that has waited longer than the oldest message of its queue is not in
        the queue. Messages on their way to the broker or to a task function get the time of one lease.
        """
        settled = now - self._lease
        backlog = Backlog(self._app)
        for queue, priority in self._queues(settled):
            oldest = backlog.oldest(queue, priority)
            since = settled if oldest is None else self._waits_since(oldest, settled)
            if since is not None:
                for record in self._records(due.queued_before(since, queue, priority, self._names)):
                    if record.due_at is not None and self._backend.store.note(claims.resend(record.id, record.due_at)):
                        logger.warning("The message of task %s was lost: it is sent again", record.id)
                        self._send(record)

    def _queues(self, settled: datetime) -> list[tuple[str, int]]:
        groups = self._backend.collection.aggregate(due.queues_waiting(settled, self._names))
        return [due.queue_from(group) for group in groups]

    def _waits_since(self, task_id: str, settled: datetime) -> datetime | None:
        """Return the time before which tasks cannot be queued behind this one, if its record shows it."""
        record = self._backend.store.find(task_id)
        if record is None or record.due_at is None or record.status is not Status.QUEUED:
            return None
        # It may have been rescheduled and have come back: its message is as old as its first QUEUED state.
        queued = [entry.at for entry in record.history if entry.status is Status.QUEUED]
        return min(settled, min([record.due_at, *queued]) - self._lease)

    def _records(self, filter_: dict[str, Any]) -> Iterator[TaskRecord]:
        for document in self._backend.collection.find(filter_).sort(fields.DUE_AT).limit(_BATCH):
            yield TaskRecord(document)

    def _ids_of(self, filter_: dict[str, Any]) -> list[str]:
        found = self._backend.collection.find(filter_, queries.ID_ONLY).sort(fields.DUE_AT).limit(_BATCH)
        return [document[fields.ID] for document in found]

    def _send(self, record: TaskRecord | None) -> None:
        if record is not None:
            publish(self._app, record)


class Recoverer(bootsteps.StartStopStep):
    """A bootstep that runs recovery in a thread of the worker's main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopping = threading.Event()

    def start(self, parent: Any) -> None:
        """Start the thread."""
        backend = parent.app.backend
        if isinstance(backend, Backend):
            scan = Recovery(parent.app, backend).scan
            interval = backend.settings.recovery_interval_seconds
            threading.Thread(target=self._run, args=(scan, interval), name="recovery", daemon=True).start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop the thread; other workers go on."""
        self._stopping.set()

    def terminate(self, parent: Any) -> None:
        """Stop the same way when the worker has to stop at once."""
        self.stop(parent)

    def _run(self, scan: Callable[[], None], interval: float) -> None:
        while not self._stopping.wait(interval * random.uniform(0.75, 1.25)):  # noqa: S311 - so that workers take turns
            try:
                scan()
            except (PyMongoError, OperationalError, OSError) as error:
                level = logging.WARNING if is_outage(error) or not isinstance(error, PyMongoError) else logging.ERROR
                logger.log(level, "Recovery could not scan: %s", error)
            except Exception:
                logger.exception("Recovery failed; it tries again")
