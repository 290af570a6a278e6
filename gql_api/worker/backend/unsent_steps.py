"""The ends of later steps of chains, and of the bodies of chords, that will not be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from celery import states
from celery.exceptions import TaskRevokedError

from gql_api.record.fields import Status
from gql_api.record.model import ErrorInfo
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.canvas import LaterSteps, Step, steps_after
from gql_api.worker.backend.messages import text_id
from gql_api.worker.state.attempt import attempt_of

# Why the steps are revoked that a function has taken out of its own chain.
CHAIN_ENDED = "task {} has ended its chain"

# Makes what is stored of an exception: of it, its traceback, and the state that it ends with.
ErrorOf: TypeAlias = Callable[[BaseException, str | None, str], ErrorInfo]


class UnsentSteps:
    """Ends steps that were recorded when the first part of their canvas was sent, and that will not be sent.

    Args:
        later_steps: their records.
        error_of: makes what is stored of the reason.
    """

    def __init__(self, later_steps: LaterSteps, error_of: ErrorOf) -> None:
        self._later_steps = later_steps
        self._error_of = error_of

    def end(self, steps: Iterable[Step], reason: BaseException, traceback: str | None, state: str) -> None:
        """End those of some steps that were not sent."""
        ids = [text_id(step["options"]["task_id"]) for step, *_ in steps]
        if ids:
            self._later_steps.end(ids, self._error_of(reason, traceback, state), Status(state))

    def end_dropped(self, request: Any, chain: Any = None) -> None:
        """Revoke the later steps that the function has taken out of its own chain.

        ``chain`` is that of the message, for a task without a record.
        """
        recorded, left = chain or _chain_of_claim(request), request.chain or []
        if recorded and recorded != left:
            kept = {step["options"]["task_id"] for step, *_ in steps_after(left, None)}
            dropped = (step for step in steps_after(recorded, None) if step.task["options"]["task_id"] not in kept)
            self.end(dropped, TaskRevokedError(CHAIN_ENDED.format(request.id)), None, states.REVOKED)


def is_own_later_step(sender: Any, record: TaskRecord) -> bool:
    """Return whether a task that was not sent yet is a later step of the chain of the running task."""
    if sender is None or record.waits_for is None:
        return False
    # A task without a record has no other than that of its request.
    chain = _chain_of_claim(sender.request) or sender.request.chain or ()
    return any(text_id(step["options"]["task_id"]) == record.id for step, *_ in steps_after(chain, None))


def _chain_of_claim(request: Any) -> Any:
    """Return the steps that follow the task of a request by its record, whatever its function has changed."""
    claim = attempt_of(request).claim
    return None if claim is None else claim.record.message.embed.get("chain")
