"""Celery's request of the worker's main process, which stores the outcome when the task's own process cannot."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from billiard.pool import SIG_SOFT_TIMEOUT
from celery.exceptions import WorkerTerminate
from celery.platforms import EX_FAILURE
from celery.worker import request, state
from celery.worker.request import task_ready

from gql_api.dispatch import HIDDEN_HEADER, TEXTS, texts_of
from gql_api.record.claims import Loss
from gql_api.worker.attempts import lost
from gql_api.worker.attempts.outcomes import SettledReject
from gql_api.worker.attempts.time_limits import Limit, Watched, bounds, function_limits, pool_limits
from gql_api.worker.backend.messages import UNKNOWN_TEXT, guessed_texts, text_id
from gql_api.worker.errors import FunctionExitError
from gql_api.worker.state.attempt import Phase, attempt_of
from gql_api.worker.state.process import has_pool_processes
from gql_api.worker.state.unrecorded import is_unrecorded_function
from gql_api.worker.store.redactions import redaction_of

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)


class Request(request.Request):
    """Celery's request, for tasks that are claimed. A task that is taken from its process is requeued at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A sender that is not adopted may give an id of another type.
        ids = {name: text_id(self._request_dict.get(name)) for name in ("id", "root_id", "parent_id")}
        self._request_dict.update(ids)
        self.id: str = ids["id"]
        self._hide_arguments()
        self.timed_out_after: float | None = None
        self._soft_limit: float | None = None
        self._hard_limit: float | None = None
        self._watched: Watched | None = None
        pool_limits.receive(self.task.name, *self.time_limits)
        hard, soft = self.time_limits
        hard = bounds.of_message(hard) if hard else _limit_of(self.task)
        if has_pool_processes():
            # The pool would count at the wrong time: see gql_api.worker.attempts.time_limits.
            self._hard_limit, hard = hard, None
            self._soft_limit, soft = soft or _soft_limit_of(self.task), None
        self.time_limits: tuple[float | None, float | None] = (hard, soft)

    def revoked(self) -> bool:
        """Return whether the worker must not begin the task: it was revoked, or the worker is about to end."""
        # A message can come while a cold shutdown requeues what runs, for kombu ends its last read first: mostly that
        # of a task just requeued. It stays unacknowledged, and the end of the worker puts it back.
        return state.should_terminate is not None or bool(super().revoked())

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what ``inspect`` reports: not the arguments that the sender or the function hides."""
        headers = self._request_dict
        is_hidden = HIDDEN_HEADER in headers or guessed_texts(headers, self.args, self.kwargs)
        found: dict[str, Any] = super().info(safe=safe or bool(is_hidden))
        return found

    def end_for_time_limit(self, pid: int, seconds: float) -> None:
        """End the process whose function has run too long; the outcome is stored when the process is gone."""
        self.timed_out_after = seconds
        _send_signal(pid, signal.SIGKILL)

    def end_softly(self, pid: int, seconds: float) -> None:
        """Interrupt the function that has run too long."""
        self.on_timeout(soft=True, timeout=seconds)
        _send_signal(pid, SIG_SOFT_TIMEOUT)

    def end_by_force(self, pid: int) -> None:
        """End the process that runs a task cancelled by force; the outcome is stored when the process is gone."""
        _send_signal(pid, signal.SIGKILL)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Note which process runs the task: the main process writes about that attempt only."""
        if has_pool_processes():
            limits = [(self._soft_limit, self.end_softly), (self._hard_limit, self.end_for_time_limit)]
            self._watched = function_limits.accepted(pid, [Limit(seconds, end) for seconds, end in limits if seconds])
        # Pools without processes pass the number of a thread or a greenlet.
        attempt_of(self._context).dispatch(pid if has_pool_processes() else os.getpid())
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Requeue a task whose process is gone; handle every other failure as Celery does."""
        if self._watched is not None:
            function_limits.ended(self._watched)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, SettledReject):
            return self.reject(requeue=False)
        if isinstance(error, MemoryError):
            # Celery ends the worker. In a pool process it has stored the failure, unless the memory ran out later.
            attempt_of(self._context).note_error(error)
            exc_info.exception = FunctionExitError(str(error))
        is_lost = isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt)
        if not is_lost or self._already_revoked or self._already_cancelled:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        if self.timed_out_after is not None:
            return self.on_timeout(soft=False, timeout=self.timed_out_after)
        if self._is_of_unrecorded_function:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        task_ready(self)
        self.acknowledge()
        # A signal that ends the worker may reach its processes too: systemd sends it to all of them.
        kind = Loss.WORKER if lost.is_worker_stopping() else Loss.PROCESS
        lost.requeue(self._backend, self._context, f"its process was lost: {error}", lost=kind)
        return None

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """End the function of a task because the worker ends, where the pool can."""
        try:
            super().cancel(pool, signal, emit_retry)
        except NotImplementedError:
            if type(pool).__module__.endswith("solo"):
                # A signal handler has interrupted the function, which this ends with the worker.
                raise WorkerTerminate(EX_FAILURE) from None
            logger.warning("Task %s cannot be ended in this pool: it runs on until the process ends", self.id)

    def _announce_cancelled(self, emit_retry: bool = True) -> None:  # noqa: ARG002 - Celery's
        """Requeue a task that a shutdown or the loss of the broker took from its process."""
        task_ready(self)
        self.send_event("task-cancelled")
        self._already_cancelled = True
        lost.requeue(self._backend, self._context, "it was taken from its worker")

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        attempt = attempt_of(self._context)
        if self.time_start is None and attempt.phase is Phase.RECEIVED:
            attempt.drop()
        super()._announce_revoked(reason, terminated, signum, expired)

    def _hide_arguments(self) -> None:
        """Let log lines and events show what the redaction of the function leaves, if the sender did not do so."""
        headers, redaction = self._request_dict, redaction_of(self.task)
        if redaction is None or HIDDEN_HEADER in headers:
            return
        json_form = self._backend.codec.json_form
        args, kwargs = json_form(list(self.args)), json_form(dict(self.kwargs))
        # A text of the sender may hide more, and may hide nothing.
        guessed = guessed_texts(headers, self.args, self.kwargs)
        texts = {**texts_of(redaction.apply(args, kwargs)), **{TEXTS[part]: UNKNOWN_TEXT for part in guessed}}
        headers.update(texts, **{HIDDEN_HEADER: list(guessed)})
        self._argsrepr, self._kwargsrepr = (texts[text] for text in TEXTS.values())

    @property
    def _is_of_unrecorded_function(self) -> bool:
        # If the task has a record all the same, its lease runs out: recovery handles it, and the message is dropped.
        return is_unrecorded_function(self.task.app, self.task.name)

    @property
    def _backend(self) -> Backend:
        backend: Backend = self.task.backend
        return backend


def _limit_of(task: Any) -> float | None:
    """Return the hard limit of a task function, which remote control may have changed; None for Celery's own tasks."""
    if not hasattr(task, "hard_time_limit"):
        return None
    if has_pool_processes():
        limit: float | None = task.hard_time_limit
        return limit
    return bounds.of_function(task.time_limit or task.default_time_limit)


def _soft_limit_of(task: Any) -> float | None:
    """Return the soft limit of a task function in a pool with processes; None for Celery's own tasks."""
    return getattr(task, "own_soft_time_limit", None) or getattr(task, "default_soft_time_limit", None)


def _send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
