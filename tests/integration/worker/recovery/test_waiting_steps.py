"""The end of later steps of chains that nothing will ever send."""

from __future__ import annotations

import functools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature
from celery.result import AsyncResult
from recovery_bench import HOUR_MS, Bench

from gql_api.record import canvas, claims, control, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask
from gql_api.worker.recovery import waiting_steps

_ERROR = ErrorInfo("ValueError", "broken", "builtins", ["broken"], "Traceback: ...")


def _quiet() -> None:
    """Do nothing, without a record: no worker runs."""


@pytest.fixture
def step(bench: Bench) -> functools.partial[Signature]:
    """Make a step of a chain."""
    return functools.partial(bench.app.signature, "job", queue=bench.queue)


def _send(bench: Bench, *steps: Any) -> list[str]:
    """Send a chain of tasks and return the ids, the first one first."""
    result: AsyncResult | None = chain(*steps, app=bench.app).apply_async()
    ids: list[str] = []
    while result is not None:
        ids.insert(0, result.id)
        result = result.parent
    return ids


def _end(bench: Bench, task_id: str, status: Status) -> None:
    """End a task as a worker that dies then: nothing follows."""
    ends = {
        Status.SUCCESS: writes.succeed(task_id, 1),
        Status.FAILURE: writes.fail(task_id, _ERROR),
        Status.REVOKED: writes.fail(task_id, control.revoked_error("enough"), status=Status.REVOKED),
    }
    assert bench.backend.store.change(ends[status]) is not None


def _scan_later(bench: Bench) -> None:
    """Let an hour pass for what has ended, and for what waits, and scan."""
    for name, times in (
        (fields.TASKS, (fields.UPDATED_AT, fields.FINISHED_AT)),
        (fields.CHORDS, (fields.UPDATED_AT,)),
        (fields.TOMBSTONES, (fields.DELETED_AT,)),
    ):
        for time in times:
            earlier = [{"$set": {time: {"$subtract": [f"${time}", HOUR_MS]}}}]
            bench.backend.database[name].update_many({time: {"$exists": True}}, earlier)
    bench.scan(bench.recovery())


def _outcomes(bench: Bench, *ids: str) -> set[tuple[Status, str | None]]:
    records = bench.find(*ids)
    return {(record.status, None if record.error is None else record.error.message) for record in records}


_WAITS = {(Status.QUEUED, None)}


def test_all_that_follows_a_failed_task_fails(bench: Bench, step: functools.partial[Signature]) -> None:
    """The steps behind the next one too, members and bodies of chords among them, with the error of the task."""
    members = [step().set(task_id=str(uuid.uuid4())) for _ in range(2)]
    last = chain(step(), step(), group(members), step(), step(), app=bench.app).apply_async()
    body = last.parent
    second = body.parent.parent
    ids = [second.id, *(member.id for member in members), body.id, last.id]
    _end(bench, second.parent.id, Status.FAILURE)
    _scan_later(bench)
    records = bench.find(*ids)
    assert [record.status for record in records] == [Status.FAILURE] * 5
    assert {repr(record.error) for record in records} == {repr(bench.find(second.parent.id)[0].error)}
    assert records[0].finished_at is not None
    assert bench.backend.collection.count_documents({fields.WAITS_KIND: {"$exists": True}}) == 0


@pytest.mark.parametrize(
    ("status", "reason"), [(Status.REVOKED, "enough"), (Status.SUCCESS, "task {} has ended its chain")]
)
def test_what_follows_a_task_that_did_not_send_it_is_revoked(
    bench: Bench, step: functools.partial[Signature], status: Status, reason: str
) -> None:
    """A revoked one gives its reason; the function of one that succeeded has taken the steps out of its chain."""
    first, *later = _send(bench, step(), step(), step())
    _end(bench, first, status)
    _scan_later(bench)
    assert _outcomes(bench, *later) == {(Status.REVOKED, reason.format(first))}


def test_what_follows_a_deleted_task_is_revoked(bench: Bench, step: functools.partial[Signature]) -> None:
    """The tombstone tells that it has ended."""
    first, *later = _send(bench, step(), step(), step())
    _end(bench, first, Status.FAILURE)
    assert bench.backend.store.delete([first]) == [first]
    _scan_later(bench)
    assert _outcomes(bench, *later) == {(Status.REVOKED, f"task {first} was deleted")}


def test_what_has_just_ended_has_a_lease_to_end_what_follows(bench: Bench, step: functools.partial[Signature]) -> None:
    """Its worker may be about to do that."""
    waiting = []
    for status in (Status.SUCCESS, Status.FAILURE, Status.REVOKED):
        first, second = _send(bench, step(), step())
        bench.backend.collection.update_one({"_id": second}, _set_back(fields.UPDATED_AT))
        _end(bench, first, status)
        waiting.append(second)
    bench.scan(bench.recovery())
    assert _outcomes(bench, *waiting) == _WAITS


def _set_back(time: str) -> list[dict[str, Any]]:
    return [{"$set": {time: {"$subtract": [f"${time}", HOUR_MS]}}}]


def test_a_step_behind_a_task_that_goes_on_waits(bench: Bench, step: functools.partial[Signature]) -> None:
    """It is queued, runs, waits itself, or could not be recorded in advance."""
    _, *of_queued = _send(bench, step(), step(), step())
    running, of_running = _send(bench, step(), step())
    claim = Claim("m" * 32, "w", "run", 1, 24 * 3600.0)
    assert bench.backend.store.change(claims.claim(running, claim)) is not None
    _, unknown, of_unknown = _send(bench, step(), step(), step())
    bench.backend.collection.delete_one({"_id": unknown})
    _scan_later(bench)
    assert _outcomes(bench, *of_queued, of_running, of_unknown) == _WAITS


def test_a_step_that_something_else_will_send_waits(bench: Bench, step: functools.partial[Signature]) -> None:
    """The task that it waits for has succeeded, and the end of a chord, or of a task without a record, sends it."""
    bench.app.task(name="quiet", record=False, shared=False)(_quiet)
    quiet = functools.partial(bench.app.signature, "quiet", queue=bench.queue)
    first, _, behind_quiet = _send(bench, step(), quiet(), step())
    one = chain(step(), bench.app.tasks["celery.map"].s(dict(step()), [1]), step(), app=bench.app).apply_async()
    two = chain(step(), group(step(), step()), step(), app=bench.app).apply_async()
    before_chord = two.parent.parent
    for task_id in (first, one.parent.parent.id, before_chord.id):
        _end(bench, task_id, Status.SUCCESS)
    # The members were sent.
    for member in two.parent.results:
        assert bench.backend.store.change(canvas.take_up(NewTask(id=member.id, name="job"))) is not None
    _scan_later(bench)
    assert _outcomes(bench, behind_quiet, one.id, two.id) == _WAITS


def test_a_failed_task_sends_nothing_behind_a_task_without_a_record(
    bench: Bench, step: functools.partial[Signature]
) -> None:
    """The task without a record was never sent either."""
    bench.app.task(name="quiet", record=False, shared=False)(_quiet)
    first, _, last = _send(bench, step(), bench.app.signature("quiet", queue=bench.queue), step())
    _end(bench, first, Status.FAILURE)
    _scan_later(bench)
    assert _outcomes(bench, last) == {(Status.FAILURE, "broken")}


def test_the_body_of_a_chord_waits_until_that_is_done(bench: Bench, step: functools.partial[Signature]) -> None:
    """What becomes of the task that made the chord does not matter."""
    chord([step(), step()], app=bench.app)(chain(step(task_id="next"), step(task_id="last"), app=bench.app))
    inner = group(step(), step()) | step(task_id="inner body")
    chord([step(), step()], app=bench.app)(inner)
    ids = ["next", "last", "inner body"]
    maker = _send(bench, step())[0]
    sent = canvas.begin("made", maker)
    bench.backend.database[fields.CHORDS].update_one(*sent, upsert=True)
    made = bench.app.backend.codec.json_form(step().set(task_id="body of made"))
    bench.backend.later_steps.record_body(made, canvas.Chord("made", parent_id=maker))
    _end(bench, maker, Status.FAILURE)
    _scan_later(bench)
    assert _outcomes(bench, *ids, "body of made") == _WAITS
    bench.backend.database[fields.CHORDS].update_one(*canvas.close("made"))
    bench.scan(bench.recovery())
    assert _outcomes(bench, "body of made") == _WAITS
    _scan_later(bench)
    assert _outcomes(bench, *ids) == _WAITS
    assert _outcomes(bench, "body of made") == {(Status.REVOKED, "chord made has ended without it")}
    bench.backend.database[fields.CHORDS].delete_many({})
    _scan_later(bench)
    assert {status for status, _ in _outcomes(bench, "next", "last")} == {Status.REVOKED}
    assert _outcomes(bench, "inner body") == _WAITS


def test_a_chord_whose_member_is_ended_so_fails(bench: Bench, step: functools.partial[Signature]) -> None:
    """The member is the last step of a chain; it counts as any other that has ended."""
    first, last, other, body = (str(uuid.uuid4()) for _ in range(4))
    member = chain(step(task_id=first), step(task_id=last), app=bench.app)
    chord([member, step(task_id=other)], app=bench.app)(step(task_id=body))
    _end(bench, first, Status.FAILURE)
    _end(bench, other, Status.SUCCESS)
    _scan_later(bench)
    assert _outcomes(bench, last) == {(Status.FAILURE, "broken")}
    assert _outcomes(bench, body) == _WAITS
    _scan_later(bench)
    assert {status for status, _ in _outcomes(bench, body)} == {Status.FAILURE}


def test_a_step_that_was_sent_is_left_alone(bench: Bench, step: functools.partial[Signature]) -> None:
    """The write excludes it, whenever it was sent."""
    first, second = _send(bench, step(), step())
    assert bench.backend.store.change(canvas.take_up(NewTask(id=second, name="job", queue=bench.queue))) is not None
    _end(bench, first, Status.SUCCESS)
    _scan_later(bench)
    assert _outcomes(bench, second) == _WAITS
    assert bench.find(second)[0].due_at is not None


def test_a_sweep_goes_on_where_the_last_one_stopped(
    bench: Bench, step: functools.partial[Signature], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many steps wait for tasks that go on, the others get their turn."""
    monkeypatch.setattr(waiting_steps, "_BATCH", 1)
    monkeypatch.setattr(waiting_steps, "_MAX_BATCHES", 2)
    chains = sorted(_send(bench, step(), step()) for _ in range(3))
    last, later = chains[-1]
    _end(bench, last, Status.REVOKED)
    bench.backend.collection.update_many({}, _set_back(fields.UPDATED_AT))
    bench.backend.collection.update_one({"_id": last}, _set_back(fields.FINISHED_AT))
    recovery = bench.recovery()
    bench.scan(recovery)
    assert _outcomes(bench, later) == _WAITS
    bench.scan(recovery)
    assert _outcomes(bench, later) == {(Status.REVOKED, "enough")}


def test_the_search_reads_waiting_steps_only(bench: Bench, step: functools.partial[Signature]) -> None:
    """Its index is in its order, and has no entry of another task."""
    _send(bench, step(), step(), step())
    bench.create(20)
    found = bench.backend.collection.find(
        canvas.waiting_since(datetime.now(UTC) + timedelta(hours=1), ""), canvas.WAIT_ONLY
    )
    plan = found.sort(canvas.WAIT_ORDER).explain()
    assert "SORT" not in str(plan["queryPlanner"]["winningPlan"])
    assert (plan["executionStats"]["totalKeysExamined"], plan["executionStats"]["nReturned"]) == (2, 2)
