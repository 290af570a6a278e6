"""A task whose attempt cannot end: given back for another, or failed when too many attempts were lost."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError

from gql_api.record import claims, control
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter
from gql_api.worker.app.republish import publish
from gql_api.worker.state.attempt import fence_of, hold_of
from gql_api.worker.state.process import background

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


def give_back(backend: Backend, request: Any, reason: str, *, lost: bool = False) -> None:
    """Let another process run a task that was taken from its own. ``lost`` ones fail when that was so too often.

    Done by the background thread: the worker's event loop does not wait for MongoDB.
    """
    background.submit(functools.partial(_give_back, backend, request, reason, lost))


def end_as_asked(backend: Backend, record: TaskRecord, request: Any, fence: Filter) -> None:
    """End a task whose end was asked for while it ran, and which runs no more."""
    hold_of(request).fence = {**fence, **control.cancel_requested()}
    backend.mark_as_revoked(record.id, record.cancel_reason or control.NO_REASON, request)


def lose(backend: Backend, record: TaskRecord, request: Any, fence: Filter, reason: str) -> TaskRecord | None:
    """Give a task back whose attempt is lost, or fail it when too many were, or end it when that was asked for.

    Returns:
        The record when its message has to be sent again.
    """
    if record.cancel_requested_at is not None:
        end_as_asked(backend, record, request, fence)
        return None
    if record.lost_attempts + 1 < backend.settings.max_lost_attempts:
        return backend.store.change(claims.requeue(record.id, fence, reason, lost=True))
    hold_of(request).fence = fence
    error = WorkerLostError(f"{reason}; {record.lost_attempts + 1} attempts were lost so")
    backend.mark_as_failure(record.id, error, request=request)
    return None


def _give_back(backend: Backend, request: Any, reason: str, lost: bool) -> None:
    fence = fence_of(request.id, request)
    record = backend.when_store_answers(lambda: backend.store.find(request.id))
    if record is None or fence is None:
        return
    if lost or record.cancel_requested_at is not None:
        back = backend.when_store_answers(lambda: lose(backend, record, request, fence, reason))
    else:
        back = backend.when_store_answers(lambda: backend.store.change(claims.requeue(record.id, fence, reason)))
    if back is not None:
        publish(backend.app, back)
