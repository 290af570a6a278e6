"""What no living worker looks after is found again: by every worker, every few seconds, by conditional writes."""

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
from gql_api.worker.app.republish import publish, publish_many, request_of
from gql_api.worker.attempts.lost import handle_lost_attempt
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery.backlog import Waiting
from gql_api.worker.recovery.retention import sweep

logger = logging.getLogger(__name__)

_BATCH = 500
_LOST = "its worker stopped answering"


class Recovery:
    """One worker's part of it.

    Any number of workers do the same at the same time: of those who see a task that needs something, the one whose
    write is taken does it.
    """

    def __init__(self, app: Celery, backend: Backend) -> None:
        self._app = app
        self._backend = backend
        self._names = sorted(app.tasks)
        self._lease = timedelta(seconds=backend.settings.lease_seconds)
        self._answering_since: float | None = None

    def look(self) -> None:
        """Look once, and do what is to be done.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        try:
            now = self._database_time()
            if self._answering_since is None:
                self._answering_since = time.monotonic()
            self._send_what_is_due(now)
            self._give_up_what_expired(now)
            # While MongoDB was away no worker could extend a lease, so none is judged until all have had the time to.
            if time.monotonic() - self._answering_since > self._lease.total_seconds():
                self._take_from_lost_workers(now)
            if self._holds_leader_lock(now):
                self._send_what_the_broker_lost(now)
                self._backend.look_after_chords(now - self._lease)
                sweep(self._backend, now)
        except PyMongoError:
            self._answering_since = None
            raise

    def _database_time(self) -> datetime:
        hello = self._backend.connections.mongo().admin.command("hello", codec_options=CODEC)
        now: datetime = hello["localTime"]
        return now

    def _holds_leader_lock(self, now: datetime) -> bool:
        """Whether this worker is the one to look through all that waits, which may be much."""
        filter_, update = due.take_leader_lock("recovery", now, self._lease.total_seconds() / 2)
        try:
            self._backend.database[fields.LEADER_LOCKS].update_one(filter_, update, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    def _send_what_is_due(self, now: datetime) -> None:
        """Send all whose time has come, a batch by two writes and a pipeline."""
        store = self._backend.store
        for status in (Status.SCHEDULED, Status.RETRY):
            while ids := self._ids_of(due.before(status, now, self._names)):
                taken = store.change_many(due.take(ids, by := uuid.uuid4().hex), due.taken(ids, by))
                publish_many(self._app, taken)
                if len(ids) < _BATCH:
                    break

    def _give_up_what_expired(self, now: datetime) -> None:
        for record in self._found(due.expired(now)):
            self._backend.store.change(claims.expire(record.id))

    def _take_from_lost_workers(self, now: datetime) -> None:
        for record in self._found(due.before(Status.STARTED, now, self._names)):
            logger.warning("Attempt %d of task %s was lost: %s", record.attempts, record.id, _LOST)
            fence = claims.lease_over(record.attempts)
            request = request_of(self._app, record)
            self._send(handle_lost_attempt(self._backend, record, request, fence, _LOST))

    def _send_what_the_broker_lost(self, now: datetime) -> None:
        """Send waiting tasks again whose messages cannot be in the broker any more.

        Queues are first in, first out: a task that began to wait before the oldest message of its queue did is not in
        it. One lease of leeway is for messages that are on their way, or in a worker's hands.
        """
        settled = now - self._lease
        waiting = Waiting(self._app)
        for queue, priority in self._queues(settled):
            oldest = waiting.oldest(queue, priority)
            since = settled if oldest is None else self._waits_since(oldest, settled)
            if since is not None:
                for record in self._found(due.queued_before(since, queue, priority, self._names)):
                    if record.due_at is not None and self._backend.store.note(claims.resend(record.id, record.due_at)):
                        logger.warning("The message of task %s was lost: it is sent again", record.id)
                        self._send(record)

    def _queues(self, settled: datetime) -> list[tuple[str, int]]:
        groups = self._backend.collection.aggregate(due.queues_waiting(settled, self._names))
        return [due.queue_from(group) for group in groups]

    def _waits_since(self, task_id: str, settled: datetime) -> datetime | None:
        """The time before which tasks cannot be behind this one; None when its own record does not tell."""
        record = self._backend.store.find(task_id)
        if record is None or record.due_at is None or record.status is not Status.QUEUED:
            return None
        # It may have been moved to a later time and back: its message is as old as its first waiting.
        queued = [entry.at for entry in record.history if entry.status is Status.QUEUED]
        return min(settled, min([record.due_at, *queued]) - self._lease)

    def _found(self, filter_: dict[str, Any]) -> Iterator[TaskRecord]:
        for document in self._backend.collection.find(filter_).sort(fields.DUE_AT).limit(_BATCH):
            yield TaskRecord(document)

    def _ids_of(self, filter_: dict[str, Any]) -> list[str]:
        found = self._backend.collection.find(filter_, queries.ID_ONLY).sort(fields.DUE_AT).limit(_BATCH)
        return [document[fields.ID] for document in found]

    def _send(self, record: TaskRecord | None) -> None:
        if record is not None:
            publish(self._app, record)


class Recoverer(bootsteps.StartStopStep):
    """Runs recovery in a thread of the worker's main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopping = threading.Event()

    def start(self, parent: Any) -> None:
        """Begin to look."""
        backend = parent.app.backend
        if isinstance(backend, Backend):
            look = Recovery(parent.app, backend).look
            interval = backend.settings.recovery_interval_seconds
            threading.Thread(target=self._run, args=(look, interval), name="recovery", daemon=True).start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop looking: what this worker cannot do any more, others do."""
        self._stopping.set()

    def terminate(self, parent: Any) -> None:
        """Do the same when the worker is told to stop at once."""
        self.stop(parent)

    def _run(self, look: Callable[[], None], interval: float) -> None:
        while not self._stopping.wait(interval * random.uniform(0.75, 1.25)):  # noqa: S311 - so that workers take turns
            try:
                look()
            except (PyMongoError, OperationalError, OSError) as error:
                level = logging.WARNING if is_outage(error) or not isinstance(error, PyMongoError) else logging.ERROR
                logger.log(level, "Recovery could not look: %s", error)
            except Exception:
                logger.exception("Recovery failed; it tries again")
