"""The records that a sender creates for the later steps of a chain and for the body of a chord."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signature
from celery._state import _task_stack
from celery.canvas import Signature
from front import Commands
from kombu.exceptions import OperationalError
from pymongo import MongoClient

from gql_api.adopt import DuplicateTaskIdError, adopt
from gql_api.record import canvas, claims, control, due, fields, queries, writes
from gql_api.record.fields import Status
from gql_api.record.model import Arguments, Claim, MessageParts, NewTask
from gql_api.record.past.former_states import state_before
from gql_api.record.reads import Document, TaskRecord
from gql_api.registry import queues
from gql_api.registry.redaction import Redaction
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.canvas import LaterSteps
from gql_api.worker.state.attempt import attempt_of


def _app(settings: Settings) -> Celery:
    app = adopt(Celery("sender", set_as_current=False, broker=settings.celery_broker_url))
    app.conf.task_default_queue = f"queue-{uuid.uuid4()}"
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    return app


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """An adopted app that sends to a queue of its own."""
    app = _app(settings)
    yield app
    app.backend.connections.close()
    app.close()


def _step(app: Celery, *args: Any, **options: Any) -> Signature:
    return app.signature("t", args=args, **options)


def _record(app: Celery, task_id: str) -> TaskRecord:
    record = app.backend.store.find(task_id)
    assert isinstance(record, TaskRecord)
    return record


def _next(task_id: str, **rest: Any) -> NewTask:
    return NewTask(id=task_id, name="t", args=[1, 2], queue="elsewhere", **rest)


@pytest.fixture
def waiting_id(app: Celery) -> str:
    """The second step of a chain whose first step was sent."""
    task_id: str = chain(_step(app), _step(app, 2), app=app)().id
    return task_id


def test_a_later_step_is_recorded_as_it_will_be_sent(app: Celery) -> None:
    """It has the arguments, metadata and queue of its own, the step before as parent, and the root of the chain."""
    own = {"queue": "other", "headers": {"metadata": {"tag": "x"}}}
    last = chain(_step(app, 1), _step(app, {"$gt": None}), _step(app, kwargs={"a": 1}).set(**own), app=app)()
    first, second, third = (_record(app, each.id) for each in (last.parent.parent, last.parent, last))
    assert [each.status for each in (first, second, third)] == [Status.QUEUED] * 3
    assert (second.args, second.queue, second.metadata) == ([{"$gt": None}], app.conf.task_default_queue, {})
    assert (third.kwargs, third.queue, third.metadata) == ({"a": 1}, "other", {"tag": "x"})
    assert (second.parent_id, third.parent_id) == (first.id, second.id)
    assert second.root_id == third.root_id == first.id
    assert (first.due_at is None, second.due_at, third.due_at) == (False, None, None)


def test_recovery_and_queue_depths_leave_out_what_waits(app: Celery, waiting_id: str) -> None:
    """A waiting step is neither due nor lost, cannot be rescheduled, and is in no queue."""
    tasks, later = app.backend.collection, datetime.now(UTC) + timedelta(days=1)
    assert {each["_id"] for each in tasks.find(due.before(Status.QUEUED, later, ["t"]))} == {
        _record(app, waiting_id).parent_id
    }
    assert app.backend.store.change(control.reschedule(waiting_id, later)) is None
    assert app.backend.store.note_sent_again([waiting_id]) == (set(), {})
    depths = {row.name: row.depth for row in map(queues.queue_from, tasks.aggregate(queues.depths()))}
    assert depths[app.conf.task_default_queue] == 1


def test_the_age_of_a_queue_begins_when_a_step_is_sent(app: Celery, waiting_id: str) -> None:
    """The time during which it waited for the step before does not count."""
    sent = app.backend.store.change(canvas.take_up(_next(waiting_id)))
    assert sent is not None
    rows = map(queues.queue_from, app.backend.collection.aggregate(queues.depths()))
    oldest = {row.name: row.oldest_queued_at for row in rows}["elsewhere"]
    assert oldest is not None
    assert oldest.replace(tzinfo=UTC) == sent.updated_at > sent.created_at
    before = state_before(sent)
    assert before is not None
    assert before.omitted >= {fields.QUEUE, fields.PARENT_ID}
    # It is sent once.
    assert app.backend.store.change(canvas.take_up(_next(waiting_id))) is None


def test_workers_of_earlier_versions_send_a_waiting_step(app: Celery) -> None:
    """They know nothing of such records, and store the message in them as that of a queued task, now or for later."""
    store, ids = app.backend.store, [chain(_step(app), _step(app, 2), app=app)().id for _ in range(2)]
    sent = store.note_one(claims.remember_message(_next(ids[0]), 5.0))
    assert sent is not None
    assert (sent.due_at is not None, sent.queue, sent.message.args) == (True, "elsewhere", [1, 2])
    begun = store.change(claims.claim(ids[0], Claim("m" * 32, "w", "run", 1, 60.0)))
    assert begun is not None
    delayed = store.change(claims.postpone(_next(ids[1], delay=60)))
    assert delayed is not None
    assert (delayed.status, delayed.due_at is not None) == (Status.SCHEDULED, True)


def test_the_id_of_a_waiting_step_is_taken(app: Celery, waiting_id: str) -> None:
    """A program cannot send another task under it."""
    with pytest.raises(DuplicateTaskIdError):
        app.send_task("t", task_id=waiting_id)


def test_what_exists_or_was_deleted_is_not_recorded_again(app: Celery) -> None:
    """A chain whose steps have ids that were used before leaves those tasks as they are."""
    ended, deleted = (app.send_task("t").id for _ in range(2))
    for task_id in (ended, deleted):
        app.backend.store.change(writes.succeed(task_id, 1))
    app.backend.store.delete([deleted])
    chain(_step(app), _step(app).set(task_id=deleted), _step(app).set(task_id=ended), app=app)()
    assert app.backend.store.find(deleted) is None
    assert _record(app, ended).status is Status.SUCCESS


def test_a_long_chain_costs_few_calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 1,000 later steps are recorded by one write; those behind them get their records when they are sent."""
    commands = Commands()
    connect = functools.partial(MongoClient[Document], event_listeners=[commands])
    monkeypatch.setattr("gql_api.worker.store.connections.MongoClient", connect)
    app = _app(settings)
    try:
        app.send_task("t")
        commands.sent.clear()
        chain([_step(app) for _ in range(1200)], app=app)()
        counts = commands.counts()
        assert (counts["findAndModify"], counts["update"], counts["find"]) == (1, 1, 1)
        assert app.backend.collection.count_documents(canvas.WAITING_STEP) == 1000
    finally:
        app.backend.connections.close()
        app.close()


def test_a_step_that_cannot_be_recorded_does_not_keep_the_first_back(app: Celery) -> None:
    """The sender gets no error, whatever MongoDB has against it, and the step is recorded when it is sent."""
    app.send_task("t")
    app.backend.database.command("collMod", fields.TASKS, validator={fields.WAITS_FOR: {"$exists": False}})
    last = chain(_step(app), _step(app), app=app)()
    assert _record(app, last.parent.id).status is Status.QUEUED
    assert app.backend.store.find(last.id) is None


def test_an_outage_while_a_step_is_described_does_not_keep_the_first_back(app: Celery) -> None:
    """MongoDB may be away when the sender looks up what a function that it does not know hides."""
    steps = LaterSteps(app, app.backend.store, app.backend.codec, app.backend.when_store_answers, _no_answer)
    chain_ = json.loads(json.dumps([_step(app).set(task_id="second")]))
    steps.record(NewTask(id="first", name="t", message=MessageParts(embed={"chain": chain_})))
    assert app.backend.store.find("second") is None


def _no_answer(name: str) -> Redaction | None:
    raise OperationalError(name)


def test_the_message_of_a_step_that_hides_no_more_is_its_own(app: Celery) -> None:
    """The process that sends it may have a version of the function without ``redact``: the record waits with others."""
    step = NewTask(id="step", name="t", args=[2], shown=Arguments(["hidden"], {}))
    app.backend.store.change(canvas.await_step(step, "first"), upsert=True)
    sent = app.backend.store.change(canvas.take_up(NewTask(id="step", name="t", args=[1, 2])))
    assert sent is not None
    assert (sent.hidden, sent.message.args, sent.args) == (None, None, [1, 2])


def test_the_body_of_a_chord_is_recorded_when_its_members_are_sent(app: Celery) -> None:
    """So are the steps after it; a chord with a member that cannot be sent leaves no body behind."""
    last = chain(group(_step(app), _step(app)), _step(app, "body"), _step(app, "last"), app=app)()
    body = _record(app, last.parent.id)
    assert (body.status, body.parent_id, _record(app, last.id).parent_id) == (Status.QUEUED, None, body.id)
    broken = _step(app).set(headers={"metadata": "none"})
    with pytest.raises(ValueError, match="metadata"):
        chord([broken, _step(app)], _step(app), app=app)()
    waiting = app.backend.collection.find(canvas.WAITING_STEP, queries.ID_ONLY)
    assert {each["_id"] for each in waiting} == {body.id, last.id}


def test_while_stock_workers_share_the_queues_steps_are_recorded_when_they_are_sent(settings: Settings) -> None:
    """A step that a stock worker sends and a stock worker runs would keep its record waiting for ever."""
    app = _app(settings.model_copy(update={"stock_result_backend": "disabled"}))
    try:
        last = chain(_step(app), group(_step(app), _step(app)), _step(app), app=app)()
        assert _record(app, last.parent.parent.id).status is Status.QUEUED
        chord([_step(app)], _step(app), app=app)()
        assert app.backend.collection.count_documents(canvas.WAITING_STEP) == 0
    finally:
        app.backend.connections.close()
        app.close()


def test_what_follows_a_cancelled_step_ends_at_the_latest_when_that_would_be_sent(app: Celery) -> None:
    """A worker of an earlier version may have settled the cancelled step, and ends nothing that was not sent."""
    last = chain(_step(app), _step(app), _step(app), app=app)()
    second = last.parent.id
    assert app.backend.store.change(control.cancel_waiting(second, "enough")) is not None
    app.backend.store.note(due.settled(second))
    sender = app.tasks["celery.accumulate"]
    sender.push_request(id=str(uuid.uuid4()), called_directly=False)
    _task_stack.push(sender)
    try:
        app.send_task("t", task_id=second, chain=[dict(_step(app).set(task_id=last.id))])
    finally:
        _task_stack.pop()
        sender.pop_request()
    ended = _record(app, last.id)
    assert ended.error is not None
    assert (ended.status, ended.error.message) == (Status.REVOKED, "enough")


def test_a_function_sends_a_later_step_of_its_own_chain(app: Celery) -> None:
    """It skips the steps before, as Celery programs do with ``signature(self.request.chain[0])``."""
    last = chain(_step(app), _step(app), _step(app, 2), app=app)()
    first, second = last.parent.parent, last.parent
    claimed = app.backend.store.change(claims.claim(first.id, Claim("m" * 32, "w", "run", 1, 60.0)))
    assert claimed is not None
    # Any function that this process has.
    sender = app.tasks["celery.accumulate"]
    sender.push_request(id=first.id, called_directly=False, chain=list(claimed.message.embed["chain"]))
    _task_stack.push(sender)
    attempt = attempt_of(sender.request)
    attempt.begin_claim()
    attempt.take_claim("m" * 32, claimed)
    attempt.enter_function()
    try:
        signature(sender.request.chain[0], app=app).apply_async((1,))
        with pytest.raises(DuplicateTaskIdError):
            app.send_task("t", task_id=app.send_task("t").id)
        sender.request.chain = None
        attempt.leave_function()
        app.backend.unsent_steps.end_dropped(sender.request)
    finally:
        _task_stack.pop()
        sender.pop_request()
    sent = _record(app, last.id)
    assert (sent.status, sent.args, sent.due_at is not None) == (Status.QUEUED, [1, 2], True)
    assert _record(app, second.id).status is Status.REVOKED
