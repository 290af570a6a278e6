"""The result backend: Celery's side of a task's life, written into its record instead of over it."""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from celery import states
from celery.exceptions import Ignore, TaskRevokedError
from kombu.exceptions import EncodeError
from pymongo.errors import DocumentTooLarge, OperationFailure

from gql_api.record import control, fields, writes
from gql_api.record.control import CancelRequest
from gql_api.record.fields import Status, is_internal
from gql_api.record.logs import Entry
from gql_api.record.model import NewTask, Progress
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter, Write
from gql_api.settings import Settings
from gql_api.values.operations import Operation, apply_operations
from gql_api.worker.backend.canvas import CanvasBackend
from gql_api.worker.backend.log_writer import log_writer_for
from gql_api.worker.backend.progress_writer import progress_writer_for
from gql_api.worker.backend.translation import (
    ENDS_ATTEMPT,
    PROGRESS,
    Attempt,
    arrival,
    change_of,
    progress_from,
    worker_of,
)
from gql_api.worker.state.attempt import attempt_of, fence_of
from gql_api.worker.state.process import background_thread, in_event_loop
from gql_api.worker.store.tasks import Store

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

# MongoDB's codes for a document that an update made larger than 16 MiB.
_TOO_LARGE_CODES = {10334, 17419}
_TOO_LARGE = "the result makes the task's document larger than MongoDB's 16 MiB"


class Backend(CanvasBackend):
    """Keeps the state of a task in its record, next to everything its caller stored there.

    Each method of Celery's that stores becomes one conditional update; a change that was made is announced, one that
    the record refused (it is final, or not in a state for it) changes and announces nothing. Threads may share one.
    """

    def __init__(self, app: Celery, settings: Settings | None = None, **kwargs: Any) -> None:
        super().__init__(app, settings, **kwargs)
        self._progress = progress_writer_for(self.settings)
        self._logs = log_writer_for(self.settings)

    def report_progress(self, task_id: str, progress: Progress, fence: Filter | None = None) -> None:
        """Hand over a progress report; see :class:`gql_api.worker.backend.progress_writer.ProgressWriter`."""
        self._progress.report(task_id, progress, fence)

    def log(self, request: Any, level: int, text: Callable[[], str]) -> None:
        """Keep a line of what a task logs, made only if it may be kept, while this worker runs the task.

        See :class:`gql_api.worker.backend.log_writer.LogWriter`.
        """
        attempt = attempt_of(request).number
        if attempt and self._logs.wants(request.id, attempt):
            self._logs.add(request.id, attempt, Entry.of(level, text(), time.monotonic()))

    def store_log(self, request: Any) -> None:
        """Store what an attempt has logged so far: once it does not hold the task, its lines are refused."""
        attempt = attempt_of(request).number
        if attempt:
            self._logs.finish(request.id, attempt)

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state as Celery asks; ``PROGRESS`` becomes a progress report.

        Raises:
            EncodeError: the result is nothing that can be stored; Celery then stores that as the failure.
        """
        if state == PROGRESS and request is not None:
            self.report_progress(task_id, progress_from(result, self.json_form), fence_of(task_id, request))
            return result
        if state in ENDS_ATTEMPT:
            kwargs["last_progress"] = self._progress.take(task_id)
            if getattr(request, "id", None) == task_id:
                self.store_log(request)
        return super().store_result(task_id, result, state, traceback=traceback, request=request, **kwargs)

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Record the end also of a task with ``ignore_result``: that drops the result, not the state."""
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
        """Record a failure, and let it have its consequences unless the task is not this attempt's any more."""
        if in_event_loop():
            again = functools.partial(self.mark_as_failure, task_id, exc, traceback, request)
            background_thread.submit(functools.partial(again, store_result, call_errbacks, state))
            return
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if request is None or attempt_of(request).refused:
            return
        if request.chord:
            self.on_chord_part_return(request, state, exc)
        self._fail_chain(getattr(request, "chain", None), exc, traceback, store_result=store_result, state=state)
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
        """Record that a task was revoked, and count it in its chord unless it is not this worker's to revoke."""
        if in_event_loop():
            background_thread.submit(
                functools.partial(self.mark_as_revoked, task_id, reason, request, store_result, state)
            )
            return
        error = TaskRevokedError(reason)
        if store_result:
            self.store_result(task_id, error, state, request=request)
        if request is not None and request.chord and not attempt_of(request).refused:
            self.on_chord_part_return(request, state, error)

    def change_metadata(self, request: Any, operations: Sequence[Operation]) -> TaskRecord:
        """Change the metadata of the task that is running, as its attempt.

        Raises:
            MetadataError: the operations cannot be applied.
            Ignore: the task is not this attempt's any more.
        """
        fence, mark = fence_of(request.id, request), uuid.uuid4().hex
        operations = [replace(operation, value=self.json_form(operation.value)) for operation in operations]
        while True:
            record = self.when_store_answers(lambda: self.store.find(request.id))
            if record is None:
                raise Ignore("the task is gone")
            if mark in record.metadata_marks:
                return record
            metadata = apply_operations(record.metadata, operations, self.settings.metadata_max_bytes)
            write = control.replace_metadata(request.id, metadata, record.metadata_revision, mark=mark, fence=fence)
            stored = self.when_store_answers(functools.partial(self.store.change, write))
            if stored is not None:
                return stored
            if record.attempts != attempt_of(request).number or record.status is not Status.STARTED:
                attempt_of(request).note_refusal()
                raise Ignore("the task was taken away while it ran")

    def cancels_among(self, task_ids: list[str], run: str) -> list[CancelRequest]:
        """Which of the tasks that a worker runs somebody wants to end."""
        return [
            control.cancel_request_from(found) for found in self.collection.find(*control.cancels_among(task_ids, run))
        ]

    def record_arrival(self, request: Any) -> None:
        """Make the record of a task that had none when it was sent."""
        attempt = Attempt(request.id, request)
        self.create_record(self.store, arrival(attempt, self.json_form, self.app))

    def mark_as_retry(
        self,
        task_id: str,
        exc: BaseException | None,
        traceback: str | None = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Record a retry, unless that was done before the next attempt was sent; see :meth:`store_retry`."""
        if request is not None and (retry := attempt_of(request).retry) is not None and retry.stored:
            return None
        return super().mark_as_retry(
            task_id, exc, traceback=traceback, request=request, store_result=store_result, state=state
        )

    def store_retry(self, request: Any, message: NewTask) -> bool:
        """Record a retry with the message of the next attempt, before that is sent; tells whether it was taken.

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
        """Keep an exception's own text beside what Celery keeps of it."""
        encoded = super().encode_result(result, state)
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return {**encoded, fields.MESSAGE: str(result)}
        return encoded

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        store = self._store_of(task_id, request)
        if store is self.internal_store and request is not None and state not in states.READY_STATES:
            return result
        own = request is not None and getattr(request, "id", None) == task_id
        sent = self.current_task_children(request) if own else None
        attempt = Attempt(
            task_id,
            request,
            children=self.json_form(sent) if sent else None,
            last_progress=kwargs.get("last_progress"),
            ignored=kwargs.get("ignored", False),
            fence=fence_of(task_id, request),
            retry_guard_seconds=self.settings.lease_seconds,
            next_message=retry.message if own and (retry := attempt_of(request).retry) is not None else None,
        )
        try:
            taken = self._record(store, attempt, state, change_of(attempt, state, result, traceback, self.json_form))
        except EncodeError:
            if attempt.last_progress is None:
                raise
            # A report that cannot be stored must not decide how the task ends.
            attempt = replace(attempt, last_progress=None)
            taken = self._record(store, attempt, state, change_of(attempt, state, result, traceback, self.json_form))
        if own and not taken:
            logger.info("Task %s is not this attempt's any more: its %s is dropped", task_id, state)
            attempt_of(request).note_refusal()
        return result

    def _record(self, store: Store, attempt: Attempt, state: str, write: Write) -> bool:
        """Make a change; tells whether it is made, now or by an earlier try whose reply was lost."""
        if self._change(store, write):
            return True
        record = store.find(attempt.task_id)
        if record is not None:
            return (
                record.status == state and record.attempts == attempt_of(attempt.request).number
                if attempt.request is not None
                else False
            )
        self.create_record(store, arrival(attempt, self.json_form, self.app))
        if state not in ENDS_ATTEMPT | {states.STARTED}:
            # A state of its own, told by hand from outside: what it tells is of a task that runs.
            self._change(store, writes.start(attempt.task_id, worker=worker_of(None, attempt.request)))
        return self._change(store, write)

    def _store_of(self, task_id: str, request: Any) -> Store:
        """What Celery stores for its own tasks, or under an id with no task to its name, is no client's task.

        Unless the id is one: ``Task.replace`` lets ``celery.accumulate`` end under the id of the task it replaces.
        """
        name = getattr(request, "task", None)
        if name is not None and not is_internal(name):
            return self.store
        return self.internal_store if self.store.find(task_id) is None else self.store

    def _change(self, store: Store, write: Write) -> bool:
        try:
            return store.change(write) is not None
        except DocumentTooLarge as error:
            raise EncodeError(_TOO_LARGE) from error
        except OperationFailure as error:
            if error.code in _TOO_LARGE_CODES:
                raise EncodeError(_TOO_LARGE) from error
            raise

    def _forget(self, task_id: str) -> None:
        if not self.store.change(writes.forget(task_id)):
            self.internal_store.change(writes.forget(task_id))
