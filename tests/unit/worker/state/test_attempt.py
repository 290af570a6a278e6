"""The phases of an attempt, and what is known in each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery.app.task import Context

from gql_api.record import claims, fields
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter
from gql_api.worker.errors import IllegalTransitionError, TaskCancelledError
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import AttemptState, Phase, attempt_of, fence_of, is_cancelled, raise_if_cancelled
from gql_api.worker.state.process import RUN

_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of a claim
_FENCE = claims.lease_over(3)


def _record(attempts: int = 3) -> TaskRecord:
    return TaskRecord({fields.ID: "task", fields.REVISION: 1, fields.STATUS: Status.STARTED, fields.ATTEMPTS: attempts})


_STEPS: dict[str, Callable[[AttemptState], object]] = {
    "dispatch": lambda state: state.dispatch(7),
    "drop": lambda state: state.drop(),
    "begin_claim": lambda state: state.begin_claim(),
    "refuse_claim": lambda state: state.refuse_claim(),
    "take_claim": lambda state: state.take_claim(_TOKEN, _record()),
    "replace": lambda state: state.replace(),
    "update_record": lambda state: state.update_record(_record()),
    "sending_retry": lambda state: state.sending_retry().__enter__(),
    "retry_being_sent": lambda state: state.retry_being_sent,
    "act_under": lambda state: state.act_under(_FENCE),
    "run_unrecorded": lambda state: state.run_unrecorded(),
}

_CLAIMED = {"replace", "update_record", "sending_retry"}
_ALLOWED = {
    Phase.RECEIVED: {"dispatch", "drop", "begin_claim", "act_under", "run_unrecorded"},
    Phase.DISPATCHED: {"act_under"},
    Phase.DROPPED: {"dispatch", "drop", "act_under"},
    Phase.CLAIMING: {"refuse_claim", "take_claim", "act_under"},
    Phase.REFUSED: {"act_under"},
    Phase.CLAIMED: _CLAIMED,
    Phase.RUNNING: _CLAIMED,
    Phase.REPLACED: _CLAIMED - {"replace"},
    Phase.UNRECORDED: {"act_under"},
    Phase.RUNNING_UNRECORDED: {"act_under"},
}


def _state_in(phase: Phase) -> AttemptState:
    state = AttemptState()
    if phase is Phase.DISPATCHED:
        state.dispatch(7)
    elif phase is Phase.DROPPED:
        state.drop()
    elif phase in {Phase.UNRECORDED, Phase.RUNNING_UNRECORDED}:
        state.run_unrecorded()
    elif phase is not Phase.RECEIVED:
        state.begin_claim()
    if phase is Phase.REFUSED:
        state.refuse_claim()
    elif phase in {Phase.CLAIMED, Phase.RUNNING, Phase.REPLACED}:
        state.take_claim(_TOKEN, _record())
    if phase is Phase.RUNNING:
        assert state.enter_function()
    elif phase is Phase.RUNNING_UNRECORDED:
        assert state.enter_unrecorded_function()
    elif phase is Phase.REPLACED:
        state.replace()
    assert state.phase is phase
    return state


@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("phase", Phase)
def test_each_phase_allows_its_own_steps_only(phase: Phase, step: str) -> None:
    """Any other step is an error of this program, and changes nothing."""
    state = _state_in(phase)
    if step in _ALLOWED[phase]:
        _STEPS[step](state)
        return
    before = (state.number, state.pid, state.fence)
    with pytest.raises(IllegalTransitionError, match=phase.name):
        _STEPS[step](state)
    assert (state.phase, state.number, state.pid, state.fence) == (phase, *before)


@pytest.mark.parametrize(
    ("phase", "number", "fence"),
    [
        (Phase.RECEIVED, None, None),
        (Phase.DISPATCHED, None, claims.run_by(RUN, 7)),
        (Phase.DROPPED, None, claims.waiting()),
        (Phase.CLAIMING, 0, claims.held_by(0)),
        (Phase.REFUSED, 0, claims.held_by(0)),
        (Phase.CLAIMED, 3, claims.held_by(3)),
        (Phase.RUNNING, 3, claims.held_by(3)),
        (Phase.REPLACED, 3, claims.held_by(3)),
    ],
)
def test_a_phase_decides_what_may_be_written(phase: Phase, number: int | None, fence: Filter | None) -> None:
    """Without a claim the writes reach no record that runs, and with one only the record at that attempt."""
    state = _state_in(phase)
    assert (state.number, state.fence) == (number, fence)


def test_a_request_that_acts_for_another_attempt_has_its_fence() -> None:
    """The fence of the other attempt goes before that of the phase."""
    for phase in (Phase.RECEIVED, Phase.DISPATCHED, Phase.CLAIMING):
        state = _state_in(phase)
        state.act_under(_FENCE)
        assert state.fence == _FENCE


def test_the_number_stays_when_the_record_shows_another_attempt() -> None:
    """A record that is read again may be at a later attempt: the fence must not move with it."""
    state = _state_in(Phase.RUNNING)
    state.update_record(_record(attempts=4))
    assert state.claim is not None
    assert (state.number, state.claim.record.attempts) == (3, 4)


def test_a_function_is_entered_once() -> None:
    """A call of the function by itself is an inner one; a call without a claim is never the attempt's."""
    state = _state_in(Phase.CLAIMED)
    assert [state.enter_function(), state.enter_function()] == [True, False]
    replaced_before_start = _state_in(Phase.REPLACED)
    assert [replaced_before_start.enter_function(), replaced_before_start.phase] == [True, Phase.REPLACED]
    for phase in (Phase.RECEIVED, Phase.CLAIMING, Phase.REFUSED):
        assert not _state_in(phase).enter_function()


def test_a_state_is_the_functions_own_while_it_runs() -> None:
    """Neither before nor after the function, and not while Celery stores the retry that the function asks for.

    What the task's class does before the start belongs to the function.
    """
    state = _state_in(Phase.CLAIMED)
    with state.in_before_start():
        seen = [state.is_in_function]
        with state.sending_retry():
            seen.append(state.is_in_function)
    seen.append(state.is_in_function)
    state.enter_function()
    with state.sending_retry():
        seen.append(state.is_in_function)
    seen.append(state.is_in_function)
    state.leave_function()
    assert [*seen, state.is_in_function] == [True, False, False, False, True, False]


def test_a_retry_is_being_sent_until_its_sender_returns() -> None:
    """The error that was asked with and what is stored stay, also when the sender raises and tries again."""
    state, error = _state_in(Phase.RUNNING), ValueError("again")
    state.ask_for_retry(error)
    assert not state.is_sending_retry

    def fail_to_send() -> None:
        with state.sending_retry():
            state.retry_being_sent.stored = True
            assert state.is_sending_retry
            raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        fail_to_send()
    assert not state.is_sending_retry
    with state.sending_retry():
        assert (state.retry_being_sent.stored, state.retry_being_sent.error) == (True, error)


def test_the_state_belongs_to_the_request_whatever_its_headers() -> None:
    """Each request has one state, and no header of a message can pass for it."""
    request = Context({"id": "task", "_gql_api_attempt": {"number": 7}})
    attempt_of(request).begin_claim()
    assert attempt_of(request).phase is Phase.CLAIMING
    assert attempt_of(Context({"id": "task"})).phase is Phase.RECEIVED


def test_a_request_fences_its_own_task_only() -> None:
    """A message without a known function can only end what waits; a state set from outside has no fence."""
    request = Context({"id": "task"})
    attempt_of(request).begin_claim()
    assert fence_of("task", request) == claims.held_by(0)
    assert fence_of("other", request) is None
    assert fence_of("task", None) is None
    assert fence_of("task", Context()) == claims.waiting()


def test_a_cancel_request_reaches_the_claim_that_it_is_for() -> None:
    """Before the claim nothing is cancelled; afterwards only the claim with that token is."""
    request = Context({"id": "task"})
    cancellation.notify(1, _TOKEN)
    try:
        assert not is_cancelled(request)
        attempt_of(request).begin_claim()
        attempt_of(request).take_claim(_TOKEN, _record())
        with pytest.raises(TaskCancelledError):
            raise_if_cancelled(request)
    finally:
        cancellation.clear(_TOKEN)
    raise_if_cancelled(request)


def test_the_function_of_a_task_without_a_record_is_entered_once() -> None:
    """Without a claim it runs until it returns; what Celery sends then is not the function's own."""
    state = _state_in(Phase.RUNNING_UNRECORDED)
    assert (state.enter_unrecorded_function(), state.is_function_running, state.number) == (False, True, None)
    state.leave_function()
    assert (state.is_function_running, state.is_unrecorded) == (False, True)
    assert not _state_in(Phase.CLAIMED).enter_unrecorded_function()
