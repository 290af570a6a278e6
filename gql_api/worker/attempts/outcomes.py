"""The end of an attempt whose function raises ``Ignore`` or ``Reject``, or stops because its task was cancelled."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from celery import states
from celery.exceptions import Ignore, Reject, TaskRevokedError

from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import AttemptState, OwnState, Phase, attempt_of

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

# The pause before a rejected task runs again is one second the first time, then doubles.
_MAX_PAUSE_SECONDS = 60.0


class SettledReject(Reject):
    """A ``Reject(requeue=True)`` whose attempt has ended in the record: its message does not go back to the queue.

    The record sends a message of its own when the task is due again. The old one would start nothing in our workers,
    and would run the task a second time in a stock worker.
    """


def end_without_result(backend: Backend, request: Any, error: Ignore | Reject) -> SettledReject | None:
    """End an attempt that raised ``Ignore`` or ``Reject``, unless Celery raised it after the attempt had ended.

    A task that was replaced belongs to its replacement, and one that was taken away to another attempt.

    Returns:
        The error that Celery must get instead; None for the same one.
    """
    attempt = attempt_of(request)
    if not attempt.number:
        return None
    if attempt.phase is not Phase.REPLACED and not attempt.refused and not attempt.is_over:
        _end(backend, request, attempt, error)
    is_requeue = isinstance(error, Reject) and error.requeue
    return SettledReject(error.reason, requeue=True) if is_requeue else None


def _end(backend: Backend, request: Any, attempt: AttemptState, error: Ignore | Reject) -> None:
    if isinstance(error, Reject):
        _reject(backend, request, attempt, error)
    else:
        _ignore(backend, request, attempt.own_state, str(error))


def end_after_unrecorded(backend: Backend, request: Any, error: Ignore | Reject) -> None:
    """Revoke the later steps of the chain of a task without a record, which Celery does not send."""
    if isinstance(error, Ignore) or not error.requeue:
        backend.end_later_steps(request, TaskRevokedError(f"task {request.id} raised {type(error).__name__}"))


def end_stopped(backend: Backend, request: Any, default_reason: str) -> None:
    """Revoke a task whose function stopped because it was cancelled, for the reason that the caller gave."""
    record = backend.when_store_answers(lambda: backend.store.find(request.id))
    reason, actor = (None, None) if record is None else (record.cancel_reason, record.cancel_actor)
    with cancellation.in_the_name_of(actor):
        backend.mark_as_revoked(request.id, reason or default_reason, request)


def _ignore(backend: Backend, request: Any, own_state: OwnState | None, reason: str) -> None:
    """Revoke the task, or store the final state that its function has set before it raised ``Ignore``."""
    name = None if own_state is None else own_state.name
    meta = None if own_state is None else own_state.meta
    text = f"the task raised Ignore: {reason}" if reason else "the task raised Ignore"
    # Celery stores the meta of a failure in place of an exception.
    failure: Any = text if meta is None else meta
    if name == states.SUCCESS:
        backend.mark_as_done(request.id, meta, request, store_result=not request.ignore_result)
        # Celery sends no later step of such a task.
        backend.end_later_steps(request, TaskRevokedError(text))
    elif name == states.FAILURE:
        backend.mark_as_failure(request.id, failure, request=request)
    else:
        backend.mark_as_revoked(request.id, str(meta) if name == states.REVOKED and meta else text, request)


def _reject(backend: Backend, request: Any, attempt: AttemptState, error: Reject) -> None:
    text = "the task raised Reject" if error.reason is None else f"the task raised Reject: {error.reason}"
    rejections = 0 if attempt.claim is None else attempt.claim.record.rejections
    limit = backend.settings.max_rejections
    if error.requeue and rejections + 1 < limit:
        pause = min(2.0**rejections, _MAX_PAUSE_SECONDS)
        backend.reject(request, text, pause)
        return
    if error.requeue:
        text = f"{text}; {limit} attempts ended so"
    # Celery passes the error on to whoever waits for the result, which must not be requeued for it.
    backend.mark_as_failure(request.id, Reject(text), traceback.format_exc(), request=request)
