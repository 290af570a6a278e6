"""The end of a lost attempt: its task is requeued, revoked when it was cancelled, or failed after too many of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError
from celery.worker import state

from gql_api.record import claims, control
from gql_api.record.claims import Loss
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter
from gql_api.worker.sending.republish import publish, request_of
from gql_api.worker.sending.sent import unsent
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import attempt_of, fence_of
from gql_api.worker.state.process import background_thread

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


def requeue(backend: Backend, request: Any, reason: str, *, lost: Loss | None = None) -> None:
    """Requeue a task that was taken from its process; with ``lost``, the attempt counts as lost that way.

    The background thread does it: the worker's event loop does not wait for MongoDB.
    """
    background_thread.submit(functools.partial(_requeue, backend, request, reason, lost))


def is_worker_stopping() -> bool:
    """Return whether a signal or a command has asked this worker to stop."""
    return state.should_stop is not None or state.should_terminate is not None


def revoke_cancelled(backend: Backend, record: TaskRecord, request: Any, fence: Filter) -> None:
    """Revoke a task that was cancelled while it ran, and does not run any more."""
    attempt_of(request).act_under({**fence, **control.cancel_requested()})
    with cancellation.in_the_name_of(record.cancel_actor):
        backend.mark_as_revoked(record.id, record.cancel_reason or control.NO_REASON, request)


def handle_lost_attempt(
    backend: Backend, record: TaskRecord, request: Any, fence: Filter, reason: str, lost: Loss
) -> TaskRecord | None:
    """Requeue the task of a lost attempt, fail it when too many were lost, or revoke it when it was cancelled.

    Returns:
        The record when its message has to be sent again.
    """
    if record.cancel_requested_at is not None:
        revoke_cancelled(backend, record, request, fence)
        return None
    # A worker may be lost for many reasons. A task is seldom to blame, so it may lose more of them.
    before, limit = (
        (record.lost_workers, backend.settings.max_lost_workers)
        if lost is Loss.WORKER
        else (record.lost_attempts, backend.settings.max_lost_attempts)
    )
    if before + 1 < limit:
        return backend.store.change(unsent(backend, claims.requeue(record.id, fence, reason, lost=lost)))
    attempt_of(request).act_under(fence)
    error = WorkerLostError(f"{reason}; {before + 1} attempts were lost so")
    backend.mark_as_failure(record.id, error, request=request)
    return None


def _requeue(backend: Backend, request: Any, reason: str, lost: Loss | None) -> None:
    fence = fence_of(request.id, request)
    record = backend.when_store_answers(lambda: backend.store.find(request.id))
    if record is None or fence is None:
        return
    if attempt_of(request).claim is not None:
        # The request of the attempt itself cannot act in another's place.
        request = request_of(backend.app, record)
    if lost is not None or record.cancel_requested_at is not None:
        kind = lost or Loss.PROCESS
        requeued = backend.when_store_answers(
            lambda: handle_lost_attempt(backend, record, request, fence, reason, kind)
        )
    else:
        write = unsent(backend, claims.requeue(record.id, fence, reason))
        requeued = backend.when_store_answers(lambda: backend.store.change(write))
    if requeued is not None:
        publish(backend.app, requeued)
