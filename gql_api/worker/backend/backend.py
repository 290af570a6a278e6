"""The result backend: the only class through which Celery stores and reads the states of tasks."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from celery import states
from celery.backends.mongodb import MongoBackend
from celery.canvas import Signature
from celery.exceptions import ImproperlyConfigured, Reject, TaskRevokedError
from celery.result import AsyncResult, GroupResult
from kombu.exceptions import EncodeError
from pymongo.collection import Collection
from pymongo.database import Database

from gql_api.outage import is_outage
from gql_api.record import claims, fields, logs
from gql_api.record.fields import is_internal
from gql_api.record.model import ErrorInfo, NewTask, Progress
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Filter
from gql_api.registry.redaction import Redaction
from gql_api.settings import Settings
from gql_api.values.operations import Operation
from gql_api.worker.backend.canvas import Groups, LaterSteps, steps_after, steps_of_body, tasks_in
from gql_api.worker.backend.chords import Chords
from gql_api.worker.backend.codec import Codec
from gql_api.worker.backend.exceptions import for_caller, original_of, text_of
from gql_api.worker.backend.messages import text_id
from gql_api.worker.backend.metadata_changes import MetadataChanges
from gql_api.worker.backend.records import Records
from gql_api.worker.backend.reports.attempt_logs import AttemptLogs
from gql_api.worker.backend.reports.log_writer import NO_LINES, LastLines, log_writer_for
from gql_api.worker.backend.reports.progress_writer import progress_writer_for
from gql_api.worker.backend.stock import StockBackend
from gql_api.worker.backend.translation import (
    ENDS_ATTEMPT,
    PROGRESS,
    Attempt,
    arrival,
    change_of,
    error_info,
    limited,
    progress_from,
)
from gql_api.worker.backend.unrecorded_tasks import UnrecordedTasks
from gql_api.worker.backend.unsent_steps import UnsentSteps
from gql_api.worker.state import tracebacks
from gql_api.worker.state.attempt import AttemptState, attempt_of, fence_of
from gql_api.worker.state.owners import following
from gql_api.worker.state.process import background_thread, in_event_loop, is_worker
from gql_api.worker.store.chords import Answer, ChordStore
from gql_api.worker.store.connections import connections_for, library_errors
from gql_api.worker.store.owners import Owners
from gql_api.worker.store.redactions import AnnouncedRedactions, redaction_of

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)


class Backend(MongoBackend):
    """Celery's MongoDB backend on our connections, with a task's state in the record that holds its metadata too.

    Each storing method of Celery's becomes one conditional update. A change that was made is announced; a change that
    the record refused (it is final, or in another state) has no effect. Threads may share a backend.
    """

    supports_result_compression = False

    def __init__(self, app: Celery, settings: Settings | None = None, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.settings = settings or _settings_of(app)
        self.connections = connections_for(self.settings)
        self.codec = Codec(self.encode, self.decode, self.meta_from_decoded)
        self._records = Records(self.connections)
        self.store = self._records.store
        self._announced_redactions = AnnouncedRedactions(self.connections)
        self._groups = Groups(app, self.connections, self.codec)
        retry, chord_store = self.when_store_answers, ChordStore(self.connections, self.when_store_answers)
        address = self.settings.stock_result_backend
        self.stock = None if address == "none" else StockBackend(app, address)
        """The backend of stock processes; None unless the application is being adopted."""
        self.owners = Owners(self.store, self.settings.access_secret, retry)
        """The owners of the tasks that this process sends or receives."""
        self.later_steps = LaterSteps(app, self.store, self.codec, retry, self.redaction_of)
        """The records of tasks that are sent when others have ended."""
        self.unsent_steps = UnsentSteps(self.later_steps, self._error_of)
        """Ends those of them that will not be sent."""
        self.unrecorded = UnrecordedTasks(app, self.is_recorded)
        """Decides which tasks have no record."""
        self.logs = AttemptLogs(log_writer_for(self.settings))
        """The log lines of the tasks that this process runs."""
        # The tasks that stock workers send and run have no record.
        ahead = self.later_steps if self.stock is None else None
        fail_body = self.chord_error_from_stack
        self._chords = Chords(
            app, chord_store, self._records, self.codec, retry, fail_body, ahead, self.redaction_of, self.owners
        )
        self._progress = progress_writer_for(self.settings)
        self._metadata = MetadataChanges(self.store, self.codec, self.settings, retry)

    def as_uri(self, include_password: bool = False) -> str:
        """Return the address for the worker's banner."""
        url = self.settings.mongodb_url
        # kombu's sanitizer takes a single host; a replica set has several.
        return url if include_password else re.sub(r"(?<=:)[^:/@]*(?=@)", "**", url)

    @property
    def database(self) -> Database[Document]:
        """This process's database handle."""
        return self.connections.database()

    @property
    def collection(self) -> Collection[Document]:
        """The task records."""
        return self.database[fields.TASKS]

    @property
    def group_collection(self) -> Collection[Document]:
        """The saved groups."""
        return self._groups.collection

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Return whether to repeat what failed: a worker waits out an outage, any other program gets the error."""
        return is_worker() and is_outage(exc)

    def when_store_answers(self, operation: Callable[[], Answer]) -> Answer:
        """Run an operation on the store. A worker waits out an outage; in any other program it is an error."""
        if not is_worker():
            with library_errors():
                return operation()
        answer: Answer = self._ensure_retryable(operation)
        return answer

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Poll until a task is ready, as Celery does, and check its parents once more then.

        Their error takes precedence over the error that it caused, in whatever order the poll found them: Celery's
        Redis backend has that order.
        """
        meta: dict[str, Any] = super().wait_for(task_id, timeout, interval, no_ack, on_interval)
        if on_interval is not None:
            on_interval()
        return meta

    def task_result_exists(self, task_id: str) -> bool:
        """Return whether the id has a record."""
        return self._records.find(task_id) is not None

    def is_recorded(self, task_id: str) -> bool:
        """Return whether the id belongs to a task that clients see."""
        return self.when_store_answers(lambda: self.store.find(task_id)) is not None

    def redaction_of(self, name: str) -> Redaction | None:
        """Return the redaction of a task function, by its name."""
        task = self.app.tasks.get(name)
        if task is not None or is_internal(name):
            return None if task is None else redaction_of(task)
        return self.when_store_answers(lambda: self._announced_redactions.find(name))

    def report_progress(self, task_id: str, progress: Progress, fence: Filter | None = None) -> None:
        """Write a report soon; see :class:`gql_api.worker.backend.reports.progress_writer.ProgressWriter`."""
        self._progress.report(task_id, limited(progress, self.settings.progress_max_bytes), fence)

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state as Celery asks; ``PROGRESS`` becomes a progress report.

        Raises:
            EncodeError: the result cannot be stored; Celery then stores this error as the failure.
        """
        task_id = text_id(task_id)
        if self._is_without_record(task_id, request):
            if self.stock is not None and not kwargs.get("ignored"):
                self.stock.store(task_id, result, state, traceback, request)
            return result
        own = self._attempt_in_function(task_id, request)
        if own is not None and state in ENDS_ATTEMPT:
            # Its return decides how the attempt ends.
            own.note_own_state(state, result)
            note = claims.note_state(task_id, state, announced=self._progress.announced(task_id), fence=own.fence)
            self.when_store_answers(lambda: self.store.change(note))
            return result
        if state == PROGRESS and request is not None:
            self.report_progress(task_id, progress_from(result, self.codec.json_form), fence_of(task_id, request))
            return result
        if state in ENDS_ATTEMPT:
            kwargs["last_progress"], kwargs["announced"] = self._progress.take(task_id)
        with self.logs.last_lines(task_id, state, request) as last_lines:
            kwargs["last_lines"] = last_lines
            stored = super().store_result(task_id, result, state, traceback=traceback, request=request, **kwargs)
        is_refused = request is not None and attempt_of(request).refused
        if self.stock is not None and not is_refused and not kwargs.get("ignored"):
            self.stock.store(task_id, result, state, traceback, request)
        return stored

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Store a success, for a task with ``ignore_result`` without its result."""
        if self._attempt_in_function(task_id, request) is not None:
            self.store_result(task_id, result, state, request=request)
            return
        ignored = request is not None and not request.is_eager and (request.ignore_result or not store_result)
        if ignored:
            self.store_result(task_id, result if request.chord else None, state, request=request, ignored=True)
        elif store_result:
            self.store_result(task_id, result, state, request=request)
        if request is not None and request.chord and not attempt_of(request).refused:
            self.on_chord_part_return(request, state, result)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: str | None = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Store a failure; errbacks, chain and chord follow only if this attempt still holds the task."""
        if in_event_loop():
            again = functools.partial(self.mark_as_failure, task_id, exc, traceback, request)
            background_thread.submit(functools.partial(again, store_result, call_errbacks, state))
            return
        if request is not None and (original := original_of(exc, attempt_of(request).error)) is not exc:
            exc, traceback = original, "".join(format_exception(original))
        by_hand = self._attempt_in_function(task_id, request) is not None
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if by_hand or request is None or attempt_of(request).refused:
            return
        if request.chord:
            self.on_chord_part_return(request, state, exc)
        with following(task_id):
            self._fail_chain(getattr(request, "chain", None), exc, traceback, store_result=store_result, state=state)
        self.unsent_steps.end_dropped(request)
        if call_errbacks and request.errbacks:
            self._call_task_errbacks(request, exc, traceback)

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Store that a task was revoked, and end what follows it only if the record took that."""
        if in_event_loop():
            background_thread.submit(
                functools.partial(self.mark_as_revoked, task_id, reason, request, store_result, state)
            )
            return
        error = TaskRevokedError(reason)
        by_hand = self._attempt_in_function(task_id, request) is not None
        if store_result:
            self.store_result(task_id, error, state, request=request)
        if not by_hand and request is not None and not attempt_of(request).refused:
            self.end_what_follows(request, error)

    def end_what_follows(self, request: Any, error: TaskRevokedError) -> None:
        """Count a revoked task in its chord, and revoke the remaining steps of its chain for the same reason."""
        if request.chord:
            self.on_chord_part_return(request, states.REVOKED, error)
        self.end_later_steps(request, error)

    def end_later_steps(self, request: Any, error: TaskRevokedError) -> None:
        """Revoke the steps of a chain that a task of a request will not send."""
        with following(request.id):
            self._fail_chain(request.chain, error, state=states.REVOKED)
        self.unsent_steps.end_dropped(request)

    def process_cleanup(self) -> None:
        """Free what an ended attempt leaves behind: Celery calls this last."""
        tracebacks.drop()
        super().process_cleanup()

    def change_metadata(self, request: Any, operations: Sequence[Operation]) -> TaskRecord:
        """Change the metadata of the running task in the name of its attempt.

        Raises:
            MetadataError: the operations cannot be applied.
            Ignore: this attempt does not hold the task any more.
        """
        return self._metadata.make(request, operations, self._progress.announced(request.id))

    def record_arrival(self, request: Any) -> None:
        """Create the record of a task that was sent without one."""
        self._records.create(self.store, self._arrival(Attempt(request.id, request)))

    def mark_as_retry(
        self,
        task_id: str,
        exc: BaseException | None,
        traceback: str | None = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Store a retry, unless :meth:`store_retry` did so before the next attempt was sent."""
        if request is not None and (retry := attempt_of(request).retry) is not None and retry.stored:
            return None
        return super().mark_as_retry(
            task_id, exc, traceback=traceback, request=request, store_result=store_result, state=state
        )

    def reject(self, request: Any, reason: str, pause: float) -> None:
        """Give the task of a request back to run again after a pause, because its function rejected it."""
        self.logs.store(request)
        _, announced = self._progress.take(request.id)
        error = self._error_of(Reject(reason), None, states.RETRY)
        write = claims.reject(request.id, error, due_in=pause, announced=announced, fence=fence_of(request.id, request))
        self.when_store_answers(lambda: self.store.change(write))

    def store_retry(self, request: Any, message: NewTask) -> bool:
        """Store a retry and the message of the next attempt before that is sent, and return whether it was stored.

        Celery stores RETRY after it has published the next attempt, which may be running, or done, by then.
        """
        state = attempt_of(request)
        retry = state.retry_being_sent
        retry.message = message
        error = retry.error
        trace = None if error is None else "".join(format_exception(error))
        self.mark_as_retry(request.id, error, trace, request=request)
        retry.stored = True
        return not state.refused

    def encode_result(self, result: Any, state: str) -> Any:
        """Add an exception's own text to what Celery keeps of it."""
        encoded = super().encode_result(result, state)
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return {**encoded, fields.MESSAGE: text_of(result)}
        return encoded

    def exception_to_python(self, exc: Any) -> Any:
        """Return the exception that ``AsyncResult.get`` raises: always an ``Exception``, of the stored type's name."""
        return for_caller(super().exception_to_python(exc), exc)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        store = self._records.store_of(task_id, getattr(request, "task", None))
        if store is self._records.internal_store and request is not None and state not in states.READY_STATES:
            return result
        own = request is not None and getattr(request, "id", None) == task_id
        attempt = self._attempt(task_id, request, kwargs, own=own)
        last_lines: LastLines = kwargs.get("last_lines", NO_LINES)

        def store_state(attempt: Attempt) -> bool:
            write = change_of(attempt, state, result, traceback, self.codec.json_form)
            if last_lines.entries:
                write = logs.with_last_lines(write, last_lines.entries, time.monotonic())
            return self._records.store_state(store, attempt, state, write, lambda: self._arrival(attempt))

        try:
            stored = store_state(attempt)
        except EncodeError:
            if attempt.last_progress is None and not last_lines.entries:
                raise
            # Neither a report that cannot be stored nor lines must decide how the task ends.
            last_lines.store_apart()
            stored = store_state(replace(attempt, last_progress=None))
        if own and not stored:
            logger.info("Task %s is not this attempt's any more: its %s is dropped", task_id, state)
            attempt_of(request).note_refusal()
        return result

    def _attempt(self, task_id: str, request: Any, given: Mapping[str, Any], *, own: bool) -> Attempt:
        """Return what a state of a task is stored for. ``given`` has what :meth:`store_result` found out."""
        sent = self.current_task_children(request) if own else None
        return Attempt(
            task_id,
            request,
            children=self.codec.json_form(sent) if sent else None,
            last_progress=given.get("last_progress"),
            ignored=given.get("ignored", False),
            fence=fence_of(task_id, request),
            retry_guard_seconds=self.settings.lease_seconds,
            error_max_bytes=self.settings.error_max_bytes,
            progress_max_bytes=self.settings.progress_max_bytes,
            next_message=retry.message if own and (retry := attempt_of(request).retry) is not None else None,
            number=None if request is None else attempt_of(request).number,
            announced=given["announced"] if "announced" in given else self._progress.announced(task_id),
        )

    def _attempt_in_function(self, task_id: str, request: Any) -> AttemptState | None:
        """Return the attempt whose function sets a state of its own task, by ``update_state`` or without a request."""
        if request is None:
            running = self.app.current_worker_task
            request = None if running is None else running.request
        if getattr(request, "id", None) != task_id:
            return None
        attempt = attempt_of(request)
        return attempt if attempt.is_in_function else None

    def _is_without_record(self, task_id: str, request: Any) -> bool:
        if request is None:
            running = self.app.current_worker_task
            request = None if running is None else running.request
        return getattr(request, "id", None) == task_id and self.unrecorded.has(request)

    def _arrival(self, attempt: Attempt) -> NewTask:
        task = arrival(attempt, self.codec.json_form, self.app, self.redaction_of)
        owner = self.owners.of_arrival(attempt.request, task.parent_id)
        return replace(task, owner=owner.subject, tenant=owner.tenant)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        # A worker recognises the errors of MongoDB.
        with contextlib.nullcontext() if is_worker() else library_errors():
            record = self._records.find(task_id)
        if self.stock is not None and (record is None or not record.is_final):
            # A stock worker may have the task. Recovery stores the result in the record a little later.
            found = self.stock.find(task_id)
            if found is not None:
                return found
        return self.codec.meta(task_id, record)

    def take_stock_result(self, task_id: str) -> TaskRecord | None:
        """Store a stock worker's result of a waiting task in its record. Return None without such a result.

        Any error of the stock workers' backend is raised.
        """
        found = None if self.stock is None else self.stock.read(task_id)
        if found is None:
            return None
        state = found["status"]
        result = self.encode_result(found["result"], state)
        attempt = Attempt(task_id, None, fence=claims.waiting())
        return self.store.change(change_of(attempt, state, result, found.get("traceback"), self.codec.json_form))

    def _forget(self, task_id: str) -> None:
        self._records.forget(task_id)

    def apply_chord(self, header_result_args: Any, body: Signature, **_: Any) -> None:
        """Prepare for the members of a chord, which are sent next. Celery's options for polling have no effect."""
        self._chords.begin(self.app.GroupResult(*header_result_args), self.app.amqp.with_versions(body))

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Set how many members of a chord have to finish."""
        self._chords.expect(group_id, chord_size)

    def add_to_chord(self, chord_id: str, result: AsyncResult) -> None:
        """Add a task to the chord of the running task."""
        self._chords.join(chord_id, result.id)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """Count a finished member of a chord, whose result is in its record; the last member sends the body."""
        if not request.id or not request.group:
            return
        if self.stock is not None and not self._chords.has(request.group):
            self.stock.finish_chord_part(request, state, result)
        else:
            self._chords.finish(request)

    def chord_error_from_stack(self, callback: Signature, exc: BaseException | None = None) -> Any:
        """Fail the body of a chord in its members' place."""
        self._chords.create_body_records(callback)
        failed = super().chord_error_from_stack(callback, exc)
        if exc is not None:
            self.unsent_steps.end(steps_of_body(self.codec.json_form(callback), None), exc, None, states.FAILURE)
        return failed

    def repair_chords(self, unchanged_since: datetime) -> None:
        """Finish chords that workers left undone; see :meth:`gql_api.worker.backend.chords.Chords.repair`."""
        self._chords.repair(unchanged_since)

    def cleanup(self) -> None:
        """Delete expired groups, and chords that were done as long ago. Tasks are kept, for ``RETENTION_DAYS``."""
        if self.expires:
            self._groups.expire(self.expires)
            self._chords.expire(self.expires)

    def _fail_chain(
        self,
        chain: Any,
        exc: BaseException,
        traceback: str | None = None,
        store_result: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Fail the tasks after a failed one, those in groups too: clients may wait for them."""
        super()._fail_chain(list(tasks_in(chain)), exc, traceback, store_result=store_result, state=state)
        if chain:
            # Celery leaves out parts of the bodies of chords.
            self.unsent_steps.end(steps_after(chain, None), exc, traceback, state)

    def _error_of(self, exc: BaseException, traceback: str | None, state: str) -> ErrorInfo:
        stored = self.encode_result(exc, state)
        return error_info(stored, traceback, self.codec.json_form, self.settings.error_max_bytes)

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        self.when_store_answers(lambda: self._groups.save(group_id, result))
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        return self.when_store_answers(lambda: self._groups.restore(group_id))

    def _delete_group(self, group_id: str) -> None:
        self._groups.delete(group_id)


def _settings_of(app: Celery) -> Settings:
    settings = Settings.load()
    # A program that runs its tasks by itself, such as a test, may have no broker. Senders and workers are refused.
    with contextlib.suppress(ImproperlyConfigured):
        if not app.conf.task_always_eager:
            return settings.for_broker(app.connection_for_write())
    return settings
