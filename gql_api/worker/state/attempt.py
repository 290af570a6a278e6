"""The state of an attempt, kept on Celery's request for it."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gql_api.access.owner_signature import Owner
from gql_api.record import claims, control
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter
from gql_api.worker.errors import IllegalTransitionError, TaskCancelledError
from gql_api.worker.state import cancellation
from gql_api.worker.state.process import RUN

# A name that no message carries: each header of a message is an attribute of the request, too.
_ATTRIBUTE = "_gql_api_attempt"


class Phase(enum.Enum):
    """A step in the life of an attempt.

    Celery makes one request in the worker's main process, and another where the task runs. Each has a state of its own:

        main process:  RECEIVED ──▶ DISPATCHED | DROPPED
        where it runs: RECEIVED ──▶ CLAIMING ──▶ REFUSED | CLAIMED ──▶ RUNNING
                           │                               └──────────────┴──▶ REPLACED
                           └──▶ UNRECORDED ◀──▶ RUNNING_UNRECORDED
    """

    RECEIVED = enum.auto()
    # A process of the pool has accepted the task.
    DISPATCHED = enum.auto()
    # The worker discards the task before any process accepts it.
    DROPPED = enum.auto()
    CLAIMING = enum.auto()
    REFUSED = enum.auto()
    CLAIMED = enum.auto()
    RUNNING = enum.auto()
    # The task is handed over to the one that replaces it.
    REPLACED = enum.auto()
    # The task has no record, and no claim.
    UNRECORDED = enum.auto()
    RUNNING_UNRECORDED = enum.auto()


@dataclass(slots=True)
class OwnClaim:
    """The claim of an attempt, and the record as this attempt has last seen it."""

    # Not the record's: another attempt may have begun when the record is read again.
    number: int
    token: str
    record: TaskRecord
    in_before_start: bool = False
    function_entered: bool = False
    function_left: bool = False


@dataclass(frozen=True, slots=True)
class OwnState:
    """A state of Celery's that ends an attempt, set by the function itself, for instance by ``update_state``."""

    name: str
    meta: Any


@dataclass(slots=True)
class OwnRetry:
    """The retry that an attempt asks for: stored before its message is sent."""

    error: BaseException | None = None
    is_being_sent: bool = False
    message: NewTask | None = None
    stored: bool = False


class AttemptState:
    """The phase of one attempt with what is known in it. A transition that the phase does not allow raises."""

    __slots__ = (
        "_claim", "_error", "_fence", "_is_over", "_own_message_sent", "_own_state", "_phase", "_pid", "_refused",
        "_retry", "owner",
    )  # fmt: skip

    def __init__(self) -> None:
        self._phase = Phase.RECEIVED
        self._pid: int | None = None
        self._claim: OwnClaim | None = None
        self._retry: OwnRetry | None = None
        self._fence: Filter | None = None
        self._error: BaseException | None = None
        self._own_state: OwnState | None = None
        # These three can come true in any phase.
        self._is_over = False
        self._refused = False
        self._own_message_sent = False
        self.owner: Owner | None = None
        """The owner of a task without a record, once that is known. Others have theirs in the record."""

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def number(self) -> int | None:
        """The number of the attempt; None in the main process, which does not know it.

        It is 0 from the moment that a worker begins to claim: no record is at that attempt while it runs, so nothing
        that goes wrong before the claim changes the task.
        """
        if self._claim is not None:
            return self._claim.number
        return 0 if self._phase in {Phase.CLAIMING, Phase.REFUSED} else None

    @property
    def pid(self) -> int | None:
        """The process that has accepted the task, as the main process knows."""
        return self._pid

    @property
    def claim(self) -> OwnClaim | None:
        """The claim, once MongoDB has taken it."""
        return self._claim

    @property
    def retry(self) -> OwnRetry | None:
        """The retry that this attempt asks for."""
        return self._retry

    @property
    def is_sending_retry(self) -> bool:
        """True if the next message with the task's own id is that of this attempt's retry."""
        return self._retry is not None and self._retry.is_being_sent

    @property
    def retry_being_sent(self) -> OwnRetry:
        """The retry that is being sent.

        Raises:
            IllegalTransitionError: none is.
        """
        if self._retry is None or not self._retry.is_being_sent:
            raise self._illegal("the storing of a retry")
        return self._retry

    @property
    def refused(self) -> bool:
        """True if the record refused a write of this attempt: the task does not belong to it any more."""
        return self._refused

    @property
    def error(self) -> BaseException | None:
        """The exception of the function. Celery passes on another one in its place if it cannot be pickled."""
        return self._error

    @property
    def own_state(self) -> OwnState | None:
        """The last state of Celery's that the function has set itself, out of those that end an attempt."""
        return self._own_state

    @property
    def is_in_function(self) -> bool:
        """True while the function or ``before_start`` of its class runs, unless Celery stores the retry it asks for."""
        claim = self._claim
        if claim is None or self.is_sending_retry:
            return False
        return claim.in_before_start or (claim.function_entered and not claim.function_left)

    @property
    def is_over(self) -> bool:
        """True if the outcome of this attempt is stored already, though the function has not ended yet."""
        return self._is_over

    @property
    def own_message_sent(self) -> bool:
        """True if a message with the task's own id was sent while it ran: that of its replacement."""
        return self._own_message_sent

    @property
    def fence(self) -> Filter | None:
        """The condition under which the record takes this attempt's writes; None for a state set from outside."""
        if self._fence is not None:
            return self._fence
        if self.number is not None:
            return claims.held_by(self.number)
        if self._pid is not None:
            return claims.run_by(RUN, self._pid)
        return claims.waiting() if self._phase is Phase.DROPPED else None

    def dispatch(self, pid: int) -> None:
        """Note the process that has accepted the task."""
        self._go(Phase.DISPATCHED, Phase.RECEIVED, Phase.DROPPED)
        self._pid = pid

    def drop(self) -> None:
        """Note that the worker discards the task before any process accepts it."""
        self._go(Phase.DROPPED, Phase.RECEIVED, Phase.DROPPED)

    def begin_claim(self) -> None:
        """Note that the worker tries to claim the task from here on."""
        self._go(Phase.CLAIMING, Phase.RECEIVED)

    def refuse_claim(self) -> None:
        """Note that this request may not run the task."""
        self._go(Phase.REFUSED, Phase.CLAIMING)

    def take_claim(self, token: str, record: TaskRecord) -> None:
        """Note the claim that MongoDB has taken, with the record as it is now."""
        self._go(Phase.CLAIMED, Phase.CLAIMING)
        self._claim = OwnClaim(record.attempts, token, record)

    @contextlib.contextmanager
    def in_before_start(self) -> Iterator[None]:
        """Take the states that are set meanwhile for those that ``before_start`` of the task's own class sets."""
        claim = self._claim
        if claim is None:
            yield
            return
        claim.in_before_start = True
        try:
            yield
        finally:
            claim.in_before_start = False

    def enter_function(self) -> bool:
        """Note that the task function begins. Return False for an inner call, and for a call without a claim."""
        if self._claim is None or self._claim.function_entered:
            return False
        self._claim.function_entered = True
        if self._phase is Phase.CLAIMED:
            self._phase = Phase.RUNNING
        return True

    @property
    def is_unrecorded(self) -> bool:
        """True if the task runs without a record."""
        return self._phase in {Phase.UNRECORDED, Phase.RUNNING_UNRECORDED}

    def run_unrecorded(self) -> None:
        """Note that the task has no record and runs without a claim."""
        self._go(Phase.UNRECORDED, Phase.RECEIVED)

    def enter_unrecorded_function(self) -> bool:
        """Note that the function of such a task begins. Return False for an inner call, and for any other task."""
        if self._phase is not Phase.UNRECORDED:
            return False
        self._phase = Phase.RUNNING_UNRECORDED
        return True

    def leave_function(self) -> None:
        """Note that the task function has ended: from here on Celery continues, not the function."""
        if self._claim is not None:
            self._claim.function_left = True
        if self._phase is Phase.RUNNING_UNRECORDED:
            self._phase = Phase.UNRECORDED

    @property
    def is_function_running(self) -> bool:
        """True while the task function runs, until it hands its task over."""
        if self._phase is Phase.RUNNING_UNRECORDED:
            return True
        return self._phase is Phase.RUNNING and self._claim is not None and not self._claim.function_left

    def note_error(self, error: BaseException) -> None:
        """Note the exception that ends the attempt."""
        self._error = error

    def note_own_state(self, name: str, meta: Any) -> None:
        """Note a state of Celery's that the function has set itself."""
        self._own_state = OwnState(name, meta)

    def note_end(self) -> None:
        """Note that the outcome is stored, whatever follows."""
        self._is_over = True

    def replace(self) -> None:
        """Note that the task is handed over to the one that replaces it."""
        self._go(Phase.REPLACED, Phase.CLAIMED, Phase.RUNNING)

    def update_record(self, record: TaskRecord) -> None:
        """Keep the record as this attempt has just changed it."""
        if self._claim is None:
            raise self._illegal("a record")
        self._claim.record = record

    def ask_for_retry(self, error: BaseException | None) -> None:
        """Note the error for which the function asks for a retry. Celery may still decide against that."""
        retry = self._retry = self._retry or OwnRetry()
        retry.error = error

    @contextlib.contextmanager
    def sending_retry(self) -> Iterator[None]:
        """Take the next message with the task's own id for this attempt's retry."""
        if self._claim is None:
            raise self._illegal("a retry")
        retry = self._retry = self._retry or OwnRetry()
        retry.is_being_sent = True
        try:
            yield
        finally:
            retry.is_being_sent = False

    def note_refusal(self) -> None:
        """Note that the record refused a write of this attempt."""
        self._refused = True

    def note_own_message(self) -> None:
        """Note that a message with the task's own id was sent."""
        self._own_message_sent = True

    def act_under(self, fence: Filter) -> None:
        """Write under another fence: that of the attempt in whose place this request ends the task."""
        if self._claim is not None:
            raise self._illegal("another fence")
        self._fence = fence

    def _go(self, phase: Phase, *allowed: Phase) -> None:
        if self._phase not in allowed:
            raise self._illegal(phase.name)
        self._phase = phase

    def _illegal(self, step: str) -> IllegalTransitionError:
        return IllegalTransitionError(f"{step}: not allowed in the phase {self._phase.name}")


def attempt_of(request: Any) -> AttemptState:
    """Return the attempt state of a request, which the first call makes."""
    state = vars(request).get(_ATTRIBUTE)
    if not isinstance(state, AttemptState):
        state = AttemptState()
        setattr(request, _ATTRIBUTE, state)
    return state


def raise_if_cancelled(request: Any) -> None:
    """Raise if the task of a request was cancelled while it runs.

    Raises:
        TaskCancelledError: it was.
    """
    if is_cancelled(request):
        raise TaskCancelledError(control.NO_REASON)


def is_cancelled(request: Any) -> bool:
    """Return whether the running task of a request was cancelled."""
    claim = attempt_of(request).claim
    return claim is not None and cancellation.is_requested(claim.token)


def fence_of(task_id: str, request: Any) -> Filter | None:
    """Return the condition under which a record takes a request's write; None for a state set from outside."""
    if request is None:
        return None
    own_id = getattr(request, "id", None)
    if own_id is None:
        # Celery's request for a message of one of its own functions, ``celery.*``, that this worker does not know.
        return claims.waiting()
    return attempt_of(request).fence if own_id == task_id else None
