"""The scan by which every worker, every few seconds, finds tasks that no live worker holds and moves them on."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from celery import Celery, bootsteps
from celery.exceptions import TaskRevokedError
from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError

from gql_api.outage import is_outage
from gql_api.record import claims, control, due, fields, queries
from gql_api.record.fields import Status
from gql_api.record.fitness import rules
from gql_api.record.reads import CODEC, Document, TaskRecord
from gql_api.record.writes import Write
from gql_api.worker.attempts.lost import handle_lost_attempt
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery import leader_lock
from gql_api.worker.recovery.ahead import ahead
from gql_api.worker.recovery.backlog import Backlog
from gql_api.worker.recovery.contact import Contacts
from gql_api.worker.recovery.due_tasks import DueTasks
from gql_api.worker.recovery.lost_messages import LostMessages
from gql_api.worker.recovery.misfits import Misfits
from gql_api.worker.recovery.retention import Retention
from gql_api.worker.recovery.stock_results import StockResults
from gql_api.worker.recovery.waiting_steps import WaitingSteps
from gql_api.worker.sending.republish import SENT, ids_of, publish, request_of
from gql_api.worker.sending.sent import unsent
from gql_api.worker.state import cancellation

logger = logging.getLogger(__name__)

_BATCH = 500
_LOST = "its worker stopped answering"


class Recovery:
    """The scan of one worker.

    Any number of workers scan at the same time. All changes are conditional writes: of the workers that find the same
    task, only the one whose write is taken goes on with it.

    Args:
        app: the worker's application.
        backend: its result backend.
        stopping: set when the worker stops.
    """

    def __init__(self, app: Celery, backend: Backend, stopping: threading.Event) -> None:
        self._app = app
        self._backend = backend
        self._stopping = stopping
        self._names = sorted(app.tasks)
        self._lease = timedelta(seconds=backend.settings.lease_seconds)
        self.interval = backend.settings.recovery_interval_seconds
        backlog = Backlog(app)
        self._lost_messages = LostMessages(backend, backlog, self._names)
        self._misfits = Misfits(backend)
        self._retention = Retention(backend)
        self._waiting_steps = WaitingSteps(backend, self._misfits)
        self.stock_results = StockResults(backend, stopping)
        """The results of stock workers, which another thread looks for."""
        self.contacts = Contacts(backend, backlog)
        """The contacts with the servers, which other threads keep."""
        self._has_more = False

    def scan(self) -> bool:
        """Scan once, and send, expire or end the tasks that are found.

        A step that fails is logged, and the others are done.

        Returns:
            True if there were more tasks than one scan may change: the next one should follow at once.

        Raises:
            PyMongoError: MongoDB does not answer.
            OperationalError: the broker has stopped answering.
        """
        self._has_more = False
        self._scan()
        return self._has_more

    def _scan(self) -> None:
        now, lease, contacts = self.database_time(), self._lease, self.contacts
        _step(self._expire, now)
        if contacts.broker.is_open():
            _step(self.send_due, now)
        _step(self._settle_revoked, now)
        # While MongoDB was away, no worker could extend its leases or claim the tasks whose messages it had. All
        # workers get the time to do that first.
        if not contacts.is_store_steady:
            return
        _step(self._end_lost_attempts, now)
        if leader_lock.take(self._backend, "recovery", now, lease / 2):
            _step(self._backend.repair_chords, now - lease)
            _step(self._retention.sweep, now)
        _step(self._waiting_steps.sweep, now)
        # It comes last, for it may fail by the number of tasks that wait.
        if contacts.is_broker_steady:
            _step(self._send_lost_messages, now)

    def database_time(self) -> datetime:
        """Return the time by MongoDB's clock."""
        hello = self._backend.connections.mongo().admin.command("hello", codec_options=CODEC)
        now: datetime = hello["localTime"]
        return now

    def _expire(self, now: datetime) -> None:
        for ids in self._batches(due.expired(now), fields.EXPIRES_AT):
            self._take(ids, due.take_expired, Status.REVOKED)

    def _settle_revoked(self, now: datetime) -> None:
        """End what follows tasks that were revoked while they waited: steps of their chains, bodies of their chords."""
        # That needs no function. A worker that knows it comes first: it may belong to another application.
        for ids in self._batches(due.unsettled(now, self._names, now - self._lease)):
            token = uuid.uuid4().hex
            self._backend.store.note(due.take_revoked(ids, token, self._lease.total_seconds()))
            for record in map(TaskRecord, self._backend.collection.find(due.taken(ids, token, Status.REVOKED))):
                self._misfits.guard(record, self._settle)

    def _settle(self, record: TaskRecord) -> None:
        reason = control.NO_REASON if record.error is None else record.error.message
        with cancellation.in_the_name_of(record.revoked_by):
            if record.waits_for is not None:
                self._backend.later_steps.end_after(record.id, record.error)
            self._backend.end_what_follows(request_of(self._app, record), TaskRevokedError(reason))
        self._backend.store.note(due.settled(record.id))

    def send_due(self, now: datetime, since: datetime | None = None) -> None:
        """Send the tasks that wait for a time before ``now``, and not before ``since``."""
        for status in (Status.SCHEDULED, Status.RETRY):
            batches = self._batches(due.before(status, now, self._names, since), sweep=since is None)
            for ids, taken in ahead((ids, self._take(ids, self._take_due)) for ids in batches):
                if not self._publish(ids, taken):
                    return

    def _take_due(self, ids: list[str], token: str) -> Write:
        return self._unsent(due.take(ids, token))

    def _end_lost_attempts(self, now: datetime) -> None:
        lost = due.before(Status.STARTED, now, self._names)
        for ids in self._batches(lost):
            taken = self._take(ids, self._take_lost_attempts)
            for record in taken:
                _log_lost_attempt(record)
            self._publish(ids, taken)
        # The tasks that are left end: they were cancelled, or too many of their attempts were lost.
        with self._backend.collection.find(rules.fitting(lost)).sort(fields.DUE_AT) as cursor:
            for record in map(TaskRecord, itertools.takewhile(lambda _: not self._stopping.is_set(), cursor)):
                _log_lost_attempt(record)
                self._misfits.guard(record, self._end_lost_attempt)

    def _take_lost_attempts(self, ids: list[str], token: str) -> Write:
        return self._unsent(due.take_lost_attempts(ids, token, _LOST, self._backend.settings.max_lost_workers))

    def _end_lost_attempt(self, record: TaskRecord) -> None:
        fence, request = claims.lease_over(record.attempts), request_of(self._app, record)
        requeued = handle_lost_attempt(self._backend, record, request, fence, _LOST, claims.Loss.WORKER)
        if requeued is not None:
            publish(self._app, requeued)

    def _send_lost_messages(self, now: datetime) -> None:
        deadline = time.monotonic() + self._lease.total_seconds()
        for lost in self._lost_messages.search(now):
            if self._backend.stock is not None:
                self.stock_results.leave(lost)
                lost = due.only_unsent(lost)  # noqa: PLW2901 - the rest of them
            batches = self._batches(lost, deadline=deadline)
            for ids, taken in ahead((ids, self._take_lost_messages(ids, lost)) for ids in batches):
                # A broker that has started again may be empty. A message that it gets too early would hide from the
                # next search that those sent shortly before the start are lost.
                self.contacts.ask_broker()
                if not self.contacts.is_broker_steady or not self._publish(ids, taken):
                    return

    def _take_lost_messages(self, ids: list[str], lost: Document) -> list[TaskRecord]:
        token = uuid.uuid4().hex
        self._backend.store.note(due.take_lost_messages(ids, token, lost), hint=queries.BY_ID)
        found = self._backend.collection.find(due.taken(ids, token), SENT.projection, hint=queries.BY_ID)
        taken = list(map(SENT.record, found))
        if taken:
            logger.warning("The messages of %d tasks were lost and are sent again: %s", len(taken), ids_of(taken))
        return taken

    def _unsent(self, write: Write) -> Write:
        return unsent(self._backend, write)

    def _take(
        self, ids: list[str], write_of: Callable[[list[str], str], Write], status: Status = Status.QUEUED
    ) -> list[TaskRecord]:
        """Make one conditional change of many tasks, and return those that took it."""
        token = uuid.uuid4().hex
        return self._misfits.take(ids, lambda some: write_of(some, token), due.taken(ids, token, status))

    def _batches(
        self, filter_: Document, order: str = fields.DUE_AT, *, sweep: bool = True, deadline: float | None = None
    ) -> Iterator[list[str]]:
        """Yield the ids of the tasks that a filter finds and whose records fit, in an order; note the others.

        It ends early when the worker stops, and after one lease or at another deadline, so that tasks of other kinds do
        not wait for these.
        """
        deadline = deadline or time.monotonic() + self._lease.total_seconds()
        found = self._backend.collection.find(rules.fitting(filter_), queries.ID_ONLY)
        with found.sort(order).batch_size(_BATCH) as cursor:
            while ids := [document[fields.ID] for document in itertools.islice(cursor, _BATCH)]:
                yield ids
                if len(ids) < _BATCH:
                    break
                if self._stopping.is_set():
                    return
                if time.monotonic() > deadline:
                    self._has_more = True
                    return
        # The filter finds those that were changed no more. Before, it would be applied to all of them twice.
        if sweep:
            self._misfits.sweep(filter_)

    def _publish(self, ids: list[str], taken: Sequence[TaskRecord]) -> bool:
        """Publish the messages of tasks in the order of some ids, and return whether more can be published."""
        position = {task_id: number for number, task_id in enumerate(ids)}
        if taken and not self._send(sorted(taken, key=lambda record: position[record.id])):
            # Either it is away, or it refused a message, which says nothing about those that it has.
            self.contacts.ask_broker()
            return False
        return self.contacts.broker.is_open()

    def _send(self, records: list[TaskRecord]) -> bool:
        """Publish messages, or each by itself if one of them cannot be made; return whether the broker took them."""
        if len(records) == 1:
            taken: list[bool] = []
            self._misfits.guard(records[0], lambda record: taken.append(publish(self._app, record)))
            return all(taken)
        try:
            return publish(self._app, *records)
        except (PyMongoError, OperationalError, OSError):
            raise
        except Exception:  # noqa: BLE001 - guard judges each
            return all(self._send([record]) for record in records)


def _step(call: Callable[[datetime], object], now: datetime) -> None:
    try:
        call(now)
    except Exception as error:
        if is_outage(error) or isinstance(error, OperationalError | OSError):
            raise
        logger.exception("A step of recovery failed; the others go on")


def _log_lost_attempt(record: TaskRecord) -> None:
    logger.warning("Attempt %d of task %s was lost: %s", record.attempts, record.id, _LOST)


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
            recovery = Recovery(parent.app, backend, self._stopping)
            self._start_thread("recovery", recovery.scan, recovery.interval)
            due_tasks = DueTasks(recovery, backend, sorted(parent.app.tasks), self._stopping)
            self._start_thread("due tasks", due_tasks.run, due_tasks.interval)
            if backend.stock is not None:
                # Their backend may not answer: nothing waits for it.
                stock_results = recovery.stock_results
                self._start_thread("stock results", stock_results.collect, stock_results.interval)
            # A scan, or one of the servers, may take long: contact is kept meanwhile.
            contacts = recovery.contacts
            self._start_thread("contact with MongoDB", contacts.ask_store, contacts.store_interval)
            self._start_thread("contact with the broker", contacts.ask_broker, contacts.broker_interval)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop the thread; other workers go on."""
        self._stopping.set()

    def terminate(self, parent: Any) -> None:
        """Stop the same way when the worker has to stop at once."""
        self.stop(parent)

    def _start_thread(self, name: str, call: Callable[[], bool | None], interval: float) -> None:
        threading.Thread(target=self._repeat, args=(call, interval), name=name, daemon=True).start()

    def _repeat(self, call: Callable[[], bool | None], interval: float) -> None:
        at_once: bool | None = False
        # Not at the same time as others, so that workers take turns.
        while not self._stopping.wait(0 if at_once else interval * random.uniform(0.75, 1.25)):  # noqa: S311 - as above
            at_once = False
            try:
                at_once = call()
            except (PyMongoError, OperationalError, OSError) as error:
                level = logging.WARNING if is_outage(error) or not isinstance(error, PyMongoError) else logging.ERROR
                logger.log(level, "Recovery could not scan: %s", error)
            except Exception:
                logger.exception("Recovery failed; it tries again")
