"""What a worker knows of its hold on a task while it handles the request for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gql_api.record import claims, control
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter
from gql_api.worker.state import cancellation
from gql_api.worker.state.cancellation import TaskCancelledError
from gql_api.worker.state.process import RUN

_NAME = "_gql_api_hold"


@dataclass(slots=True)
class Hold:
    """Kept on Celery's request under a name of its own: every header of a message is an attribute of that, too.

    ``attempt`` is 0 from the moment that a worker begins to claim: no record is at that attempt while it runs, so
    nothing that goes wrong before the claim is told of the task.
    """

    attempt: int | None = None
    # The claim's own mark, and what the claim found.
    claim: str | None = None
    record: TaskRecord | None = None
    # The process that runs it, as the worker's main process knows.
    run_by: int | None = None
    not_started: bool = False
    # Whoever acts for an attempt that is not its own says what must be true.
    fence: Filter | None = None
    running: bool = False
    # A write of this attempt was refused: the task is not its own any more.
    refused: bool = False
    retry_exc: BaseException | None = None
    # Its own retry is being sent, with this message.
    retries: bool = False
    next_message: NewTask | None = None
    retry_stored: bool = False
    replaced: bool = False
    # A message with the task's own id was sent while it ran: that of a retry or a replacement.
    sent_own_message: bool = False


def hold_of(request: Any) -> Hold:
    """The hold that a request has, made at the first question."""
    hold = vars(request).get(_NAME)
    if not isinstance(hold, Hold):
        hold = Hold()
        setattr(request, _NAME, hold)
    return hold


def raise_if_cancelled(request: Any) -> None:
    """Do not go on with a task whose end was asked for.

    Raises:
        TaskCancelledError: it was.
    """
    if is_cancelled(request):
        raise TaskCancelledError(control.NO_REASON)


def is_cancelled(request: Any) -> bool:
    """Whether the end of the task that is running was asked for."""
    claim = hold_of(request).claim
    return claim is not None and cancellation.is_told(claim)


def fence_of(task_id: str, request: Any) -> Filter | None:
    """What must be true for a write to be taken, by who makes it; None for a state told by hand."""
    if request is None:
        return None
    own_id = getattr(request, "id", None)
    if own_id is None:
        # Celery tells of a message for a function that this worker does not know.
        return claims.waiting()
    return _fence_of(hold_of(request)) if own_id == task_id else None


def _fence_of(hold: Hold) -> Filter | None:
    if hold.fence is not None:
        return hold.fence
    if hold.attempt is not None:
        return claims.held_by(hold.attempt)
    if hold.run_by is not None:
        return claims.run_by(RUN, hold.run_by)
    return claims.waiting() if hold.not_started else None
