"""Each check of the chaos test finds the violation that it is for, and nothing in evidence without one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from chaos_attempt_checks import attempts_are_single, attempts_do_not_mix, effects_are_exact, logs_are_complete
from chaos_client import Transport
from chaos_client_checks import (
    cancelled_tasks_stay_cancelled,
    deleted_tasks_stay_deleted,
    edits_are_exact,
    keys_are_unique,
    lists_equal_the_database,
    revisions_rise,
    watchers_receive_the_end,
)
from chaos_crafted import BEGAN, ID, entry, evidence, record, run, state
from chaos_evidence import Check, Evidence
from chaos_ledger import Cancel, Edit, KeyUse, Ledger, Order
from chaos_run import CHECKS
from chaos_runs import Run, Sent, runs_from
from chaos_task_checks import (
    all_are_final,
    nothing_starts_early,
    outcomes_are_right,
    replaced_functions_stay_replaced,
    retries_are_on_time,
)
from chaos_watchers import LiveList, State, Watch

from gql_api.record import fields
from gql_api.record.fields import Status

_LATER = (BEGAN + timedelta(hours=3)).replace(tzinfo=None)


def _found(check: Check, of: Evidence) -> list[str]:
    return list(check(of))


def _watch(*states: State, complete: bool = True) -> Watch:
    return Watch(ID, Transport.SSE, list(states), 1, complete)


def _retry(*runs: Run, countdown: float = 1.0) -> Evidence:
    kwargs = {"times": 1, "countdown": countdown}
    return evidence(record("retrying", attempts=len(runs), kwargs=kwargs), runs=list(runs))


def _first(**rest: Any) -> Run:
    return run("a", 1, 1.0, asked=1.5, raised=(1.6, "Retry: Retry in 1s"), **rest)


def _effects(*effects: tuple[int, str, int], **rest: Any) -> dict[str, Any]:
    return {"metadata": {"effects": [list(effect) for effect in effects], "ticks": len(effects)}, **rest}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_task_that_ran_once_is_fine(check: Check) -> None:
    """No check finds anything in the evidence of a task that ran once and was watched."""
    calm = evidence(
        record(**_effects((1, "a", 0)), kwargs={"lines": 1}),
        runs=[run(tried={0: 1.1}, done={0: 1.2}, ended=1.3)],
        ledger=Ledger(orders={ID: Order(ID, "work", 0.5, 0.6)}),
        watches=[_watch(state(1, 1.0), state(3, 1.5, status=Status.SUCCESS))],
        lists=[LiveList("all", Transport.SSE, "", shown={ID: (3, "SUCCESS")})],
        logs={ID: ["1 a 0"]},
    )
    assert _found(check, calm) == []


def test_an_acknowledged_task_without_a_record_is_found() -> None:
    """A task that the API or ``apply_async`` has accepted must have a record, unless it was deleted."""
    lost = evidence(
        runs=[run(sent=[Sent("sent", 1)])],
        ledger=Ledger(orders={ID: Order(ID, "work", 0, 1), "gone": Order("gone", "work", 0, 1)}, deletions={"gone": 2}),
    )
    assert len(_found(all_are_final, lost)) == 2


def test_an_unfinished_task_is_found() -> None:
    """A task that has not ended when everything has settled is a violation."""
    assert len(_found(all_are_final, evidence(record(status=Status.RETRY)))) == 1


@pytest.mark.parametrize(
    ("function", "kwargs", "value"),
    [
        ("work", {"value": 1}, 2),
        ("retrying", {"times": 2}, 1),
        ("replaced", {"value": 1}, 2),
        ("work", {"fail": True}, None),
    ],
)
def test_a_wrong_value_is_found(function: str, kwargs: dict[str, Any], value: Any) -> None:
    """A task that succeeds with another value than its arguments lead to, or instead of failing, is a violation."""
    wrong = record(function, kwargs=kwargs, result={"value": value, "token": "a"})
    assert len(_found(outcomes_are_right, evidence(wrong))) == 1


def test_a_failure_that_the_function_did_not_ask_for_is_found() -> None:
    """Only a function that was asked to fail may fail, or a task that was lost too often."""
    error: dict[str, Any] = {
        fields.TYPE: "TypeError",
        "message": "",
        "module": "builtins",
        fields.ARGS: [],
        "traceback": None,
    }
    lost = {**error, fields.TYPE: "WorkerLostError"}
    failed = evidence(record(status=Status.FAILURE, error=error))
    lost_once = evidence(record(status=Status.FAILURE, error=lost))
    lost_often = evidence(record(status=Status.FAILURE, error=lost, lost_attempts=2))
    lost_workers = evidence(record(status=Status.FAILURE, error=lost, lost_workers=9))
    found = [len(_found(outcomes_are_right, each)) for each in (failed, lost_once, lost_often, lost_workers)]
    assert found == [1, 1, 0, 0]


def test_a_revocation_that_nobody_asked_for_is_found() -> None:
    """A task may only be revoked when a client tried to cancel it, or when its time was over."""
    revoked = record(status=Status.REVOKED)
    expired = record(status=Status.REVOKED, expires_at=BEGAN)
    early = record(status=Status.REVOKED, expires_at=_LATER)
    tried = evidence(revoked, ledger=Ledger(cancels=[Cancel(ID)]))
    found = [
        len(_found(outcomes_are_right, each)) for each in (evidence(revoked), evidence(early), evidence(expired), tried)
    ]
    assert found == [1, 1, 0, 0]


def test_a_wrong_value_of_a_sent_task_is_found() -> None:
    """A step of a chain must have the value that its sender announced."""
    wrong = evidence(record(kwargs={"value": 1}, result={"value": 1}), runs=[run(sent=[Sent(ID, 11)], id="sender")])
    assert len(_found(outcomes_are_right, wrong)) == 1


def test_a_retry_on_time_is_fine() -> None:
    """A retry that begins after its countdown is none too many and none too early."""
    assert _found(retries_are_on_time, _retry(_first(), run("b", 2, 2.5, retries=1))) == []


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(run("b", 2, 2.0, retries=1), id="too early"),
        pytest.param(run("b", 2, 2.5, retries=0), id="the same again"),
        pytest.param(run("b", 2, 2.5, retries=2), id="one too many"),
    ],
)
def test_a_wrong_retry_is_found(second: Run) -> None:
    """A retry before its countdown, one of a run that had asked for the next, and one too many are violations."""
    assert len(_found(retries_are_on_time, _retry(_first(), second))) == 1


def test_a_run_that_was_lost_before_it_asked_may_run_again() -> None:
    """An attempt that was lost is no retry: the next one has the same number of retries."""
    again = run("b", 2, 2.0, asked=2.1, raised=(2.2, "Retry: Retry in 1s"))
    assert _found(retries_are_on_time, _retry(run("a", 1, 1.0), again, run("c", 3, 3.5, retries=1))) == []


def test_a_replaced_function_that_runs_again_is_found() -> None:
    """A function that was replaced must not run again, neither before nor after its replacement."""
    first = run("a", 1, 1.0, function="replaced", raised=(1.1, "Ignore: Replaced by new task"))
    again = run("b", 2, 2.0, function="replaced")
    fine = evidence(record("replaced"), runs=[first, run("b", 2, 2.0)])
    twice = evidence(record("replaced"), runs=[first, again])
    late = evidence(record("replaced"), runs=[run("a", 1, 1.0), again])
    assert [len(_found(replaced_functions_stay_replaced, each)) for each in (fine, twice, late)] == [0, 1, 1]


def test_an_early_start_is_found() -> None:
    """A task with a delay, and one that was sent with a countdown, must not begin before their time."""
    ledger = Ledger(orders={ID: Order(ID, "work", 0.0, 0.1, delay=2.0)})
    sender = run("s", 1, 0.0, id="sender", sent=[Sent("later", 0, since=0.0, countdown=2.0)])
    early = evidence(record(), runs=[run(began=1.0), sender, run("l", 1, 1.0, id="later")], ledger=ledger)
    on_time = evidence(record(), runs=[run(began=2.1), sender, run("l", 1, 2.1, id="later")], ledger=ledger)
    assert [len(_found(nothing_starts_early, each)) for each in (early, on_time)] == [2, 0]


def test_a_wrong_lifetime_is_found() -> None:
    """A task expires as long after its creation as was asked for, whatever the clock of its sender."""
    sender = run(id="sender", sent=[Sent(ID, 0, expires=3600.0)])
    assert len(_found(nothing_starts_early, evidence(record(expires_at=_LATER), runs=[sender]))) == 1


def test_two_runs_of_one_attempt_are_found() -> None:
    """Two runs must not be the same attempt."""
    twice = evidence(record(), runs=[run("a", ended=2.0), run("b", began=1.5)])
    assert len(_found(attempts_are_single, twice)) == 1


def test_a_result_of_an_earlier_attempt_is_found() -> None:
    """The result is that of the last attempt, whose function has returned."""
    stale = evidence(record(attempts=2), runs=[run("a", 1, ended=3.0), run("b", 2, 2.0)])
    unreturned = evidence(record(), runs=[run("a")])
    unclaimed = evidence(record(status=Status.REVOKED), runs=[run("a", 2)])
    assert [len(_found(attempts_are_single, each)) for each in (stale, unreturned, unclaimed)] == [1, 1, 1]


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(_effects(), id="missing"),
        pytest.param(_effects((1, "a", 0), (1, "a", 0)), id="twice"),
        pytest.param(_effects((1, "a", 0), (1, "a", 1)), id="not made"),
        pytest.param({"metadata": {"effects": [[1, "a", 0]], "ticks": 2}}, id="counted wrongly"),
    ],
)
def test_a_wrong_effect_is_found(metadata: dict[str, Any]) -> None:
    """An acknowledged change of metadata that is missing, one too many, and a wrong counter are violations."""
    wrong = evidence(record(**metadata), runs=[run(tried={0: 1.1}, done={0: 1.2})])
    assert len(_found(effects_are_exact, wrong)) == 1


def test_a_change_without_an_answer_may_be_stored_or_not() -> None:
    """A run that was killed during its change leaves it or not."""
    killed = [run(tried={0: 1.1})]
    for effects in (_effects(), _effects((1, "a", 0))):
        assert _found(effects_are_exact, evidence(record(**effects), runs=killed)) == []


def test_an_effect_of_a_fenced_attempt_is_found() -> None:
    """An attempt that was accepted after a later one had begun has broken the fence."""
    late = run("a", 1, 1.0, tried={0: 3.0}, done={0: 3.1})
    accepted = evidence(record(**_effects((1, "a", 0))), runs=[late, run("b", 2, 2.0)])
    mixed = evidence(record(**_effects((2, "b", 0), (1, "a", 0))))
    before = evidence(record(**_effects((1, "a", 0), (2, "b", 0))), runs=[late, run("b", 2, 4.0)])
    assert [len(_found(attempts_do_not_mix, each)) for each in (accepted, mixed, before)] == [1, 1, 0]


@pytest.mark.parametrize("lines", [["1 a 0"], ["1 a 0", "1 a 1", "1 a 1"], ["2 b 0", "1 a 0", "1 a 1"]])
def test_a_wrong_log_is_found(lines: list[str]) -> None:
    """A log that lacks a line of the last attempt, has one twice, or mixes attempts is a violation."""
    assert _found(logs_are_complete, evidence(record(kwargs={"lines": 2}), logs={ID: lines})) != []


def test_a_log_with_lines_of_a_lost_attempt_is_fine() -> None:
    """Lines of an attempt that was lost stay, before those of the last attempt."""
    succeeded = record(kwargs={"lines": 1}, attempts=2, result={"value": None, "token": "b"})
    assert _found(logs_are_complete, evidence(succeeded, logs={ID: ["1 a 0", "2 b 0"]})) == []


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        pytest.param("REVOKED", {"status": Status.SUCCESS}, id="ran"),
        pytest.param("REVOKED", {"attempts": 0}, id="began"),
        pytest.param("STARTED", {"cancel_requested_at": None}, id="forgotten"),
        pytest.param("STARTED", {"history": [entry(Status.STARTED, 1)]}, id="began again"),
    ],
)
def test_a_cancelled_task_that_goes_on_is_found(answer: str, options: dict[str, Any]) -> None:
    """A cancelled task that starts, or ends otherwise than its answer promised, is a violation."""
    cancelled = record(**{"status": Status.REVOKED, "cancel_requested_at": BEGAN, **options})
    given = evidence(cancelled, runs=[run()], ledger=Ledger(cancels=[Cancel(ID, answer)]))
    assert len(_found(cancelled_tasks_stay_cancelled, given)) == 1


def test_two_tasks_for_a_key_are_found() -> None:
    """A key has one task: in the answers of both replicas, and in the database."""
    stored = record(metadata={"key": "k"})
    uses = [KeyUse("k", {ID, "other"}, 1), KeyUse("k", {ID}, 2), KeyUse("unknown", {ID}, 1)]
    found = [len(_found(keys_are_unique, evidence(stored, ledger=Ledger(keys=[use])))) for use in uses]
    assert found == [1, 1, 1]
    assert _found(keys_are_unique, evidence(stored, ledger=Ledger(keys=[KeyUse("k", {ID}, 1)]))) == []


@pytest.mark.parametrize(
    ("marks", "stored", "wrong"),
    [([], True, 1), (["m"], True, 0), (["m", "m"], True, 1), ([], None, 0), (["m"], None, 0), (["m"], False, 1)],
)
def test_a_wrong_edit_is_found(marks: list[str], stored: bool | None, wrong: int) -> None:
    """An acknowledged change of a client is in the metadata once, an unknown one at most once, a refused one never."""
    edited = record(metadata={"marks": marks, "clicks": len(marks)})
    assert len(_found(edits_are_exact, evidence(edited, ledger=Ledger(edits=[Edit(ID, "m", stored)])))) == wrong


def test_a_deleted_task_that_comes_back_is_found() -> None:
    """A deleted task has no record and does not run."""
    back = evidence(record(), runs=[run(began=3.0)], ledger=Ledger(deletions={ID: 2.0, "unknown": None}))
    assert len(_found(deleted_tasks_stay_deleted, back)) == 2


@pytest.mark.parametrize(
    "watch",
    [
        pytest.param(_watch(state(2, 1.0), complete=False), id="no end"),
        pytest.param(_watch(state(2, 1.0)), id="not final"),
        pytest.param(_watch(state(3, 1.0, status=Status.FAILURE)), id="another end"),
        pytest.param(_watch(), id="nothing"),
    ],
)
def test_a_watcher_without_the_final_state_is_found(watch: Watch) -> None:
    """A watcher must be complete, with the final state at its end."""
    assert len(_found(watchers_receive_the_end, evidence(record(), watches=[watch]))) == 1


def test_a_revision_that_falls_is_found() -> None:
    """Revisions rise over a connection; the first one of the next connection may be the last one received."""
    again = _watch(state(2, 1.0), state(2, 2.0))
    fallen = _watch(state(2, 1.0), state(1, 2.0, connection=2))
    resumed = _watch(state(2, 1.0), state(2, 2.0, connection=2))
    live = LiveList("all", Transport.SSE, "", states={ID: [state(2, 1.0), state(1, 2.0)]})
    found = [len(_found(revisions_rise, evidence(watches=[each]))) for each in (again, fallen, resumed)]
    assert found == [1, 1, 0]
    assert len(_found(revisions_rise, evidence(lists=[live]))) == 1


@pytest.mark.parametrize(
    ("losses", "wrong"), [([(1.5, 1.8)], 0), ([(50.0, 60.0)], 1), ([(0.0, 0.5)], 0), ([(-90.0, -80.0)], 1)]
)
def test_a_revision_that_mongodb_lost_may_fall(losses: list[tuple[float, float]], wrong: int) -> None:
    """A revision may fall only when MongoDB may have lost the state between the two."""
    fallen = _watch(state(2, 1.0), state(2, 2.0))
    assert len(_found(revisions_rise, evidence(watches=[fallen], losses=losses))) == wrong


@pytest.mark.parametrize(
    ("name", "shown", "wrong"),
    [
        ("all", {ID: (3, "SUCCESS")}, 0),
        ("all", {ID: (2, "SUCCESS")}, 1),
        ("all", {}, 1),
        ("unfinished", {ID: (3, "SUCCESS")}, 1),
        ("unfinished", {}, 0),
        ("failed", {}, 0),
        ("shard", {}, 1),
        ("all", {ID: (3, "SUCCESS"), "phantom": (1, "QUEUED")}, 1),
    ],
)
def test_a_list_that_differs_from_the_database_is_found(
    name: str, shown: dict[str, tuple[int, str]], wrong: int
) -> None:
    """A list shows the tasks of its filter as they are, and no others."""
    live = LiveList(name, Transport.SSE, "", shown=shown)
    given = evidence(record(metadata={"shard": 1}), lists=[live])
    assert len(_found(lists_equal_the_database, given)) == wrong


def test_a_side_file_becomes_runs() -> None:
    """The lines of two processes, mixed, become two runs in the order of their beginnings."""
    begin = '"event": "begin", "id": "t", "function": "work", "retries": 0, "worker": "w", "pid": 1'
    lines = [
        f'{{"at": 2, {begin}, "attempt": 2, "token": "b"}}',
        f'{{"at": 1, {begin}, "attempt": 1, "token": "a"}}',
        '{"at": 3, "event": "try", "token": "a", "step": 0}',
        '{"at": 4, "event": "end", "token": "b"}',
        '{"at": 5, "event": "raised", "token": "a", "error": "Ignore", "message": "was taken away"}',
    ]
    first, second = runs_from(lines)
    assert (first.token, first.tried, first.done, first.raised) == ("a", {0: 3}, {}, (5, "Ignore: was taken away"))
    assert (second.token, second.ended) == ("b", 4)
