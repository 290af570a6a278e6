"""The owners in the records of tasks that a program, or a running task, sends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import gevent  # type: ignore[import-untyped] # it has no types
import pytest
from celery import Celery, chain, chord, signals
from celery._state import _task_stack
from celery.app.task import Context
from celery.exceptions import Reject
from front import Commands
from pymongo import MongoClient
from redis import Redis

from gql_api.access.owner_signature import HEADER, NOBODY, Owner, owner_headers
from gql_api.adopt import adopt, owned_by
from gql_api.dispatch import message_of
from gql_api.record import claims, fields
from gql_api.record.model import Claim
from gql_api.record.reads import Document, TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.state.attempt import attempt_of

_SECRET = "s" * 32
_ALICE = Owner("alice", "acme")
_TAKING = Claim("m" * 32, "w", "run", 1, 60.0)


def _nothing() -> None:
    """Do nothing, without a record."""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What the backend sends to MongoDB about tasks."""
    listener = Commands()
    connect = functools.partial(MongoClient[Document], event_listeners=[listener])
    monkeypatch.setattr("gql_api.worker.store.connections.MongoClient", connect)
    return listener


@pytest.fixture
def app(settings: Settings, commands: Commands) -> Iterator[Celery]:
    """An adopted app that sends to a queue of its own."""
    app = adopt(Celery("sender", set_as_current=False, broker=settings.celery_broker_url))
    app.conf.task_default_queue = f"queue-{uuid.uuid4()}"
    backend = Backend(app, settings.model_copy(update={"access_secret": _SECRET}))
    app._backend_cache = backend  # noqa: SLF001 - the backend would read the environment
    app.task(name="quiet", record=False)(_nothing)
    app.finalize()
    commands.sent.clear()
    yield app
    app.backend.connections.close()
    app.close()


def _record(app: Celery, task_id: str) -> TaskRecord:
    record = app.backend.store.find(task_id)
    assert isinstance(record, TaskRecord)
    return record


def _owner(app: Celery, task_id: str) -> Owner:
    record = _record(app, task_id)
    return Owner(record.owner, record.tenant)


def _headers(app: Celery) -> list[dict[str, Any]]:
    """The headers of the messages in the app's queue, oldest first."""
    with Redis.from_url(app.conf.broker_url) as redis:
        found: Any = redis.lrange(app.conf.task_default_queue, 0, -1)
    return [json.loads(raw)["headers"] for raw in reversed(found)]


@contextlib.contextmanager
def _running(app: Celery, task_id: str, *, in_function: bool = True, **request: Any) -> Iterator[None]:
    """Send as the function of a claimed task does, or as Celery does after the function."""
    claimed = app.backend.store.change(claims.claim(task_id, _TAKING))
    assert claimed is not None
    sender = app.tasks["celery.accumulate"]
    sender.push_request(id=task_id, called_directly=False, **request)
    attempt = attempt_of(sender.request)
    attempt.begin_claim()
    attempt.take_claim("m" * 32, claimed)
    attempt.enter_function()
    if not in_function:
        attempt.leave_function()
    _task_stack.push(sender)
    try:
        yield
    finally:
        _task_stack.pop()
        sender.pop_request()


def _alices(app: Celery) -> str:
    with owned_by("alice", tenant="acme"):
        return str(app.send_task("t").id)


def test_a_program_names_an_owner(app: Celery) -> None:
    """The innermost block counts, and outside of a block a task belongs to nobody."""
    with owned_by("alice", tenant="acme"):
        first = app.send_task("t").id
        with owned_by("bob"):
            second = app.send_task("t").id
        with owned_by(None):
            third = app.send_task("t").id
        fourth = app.send_task("t").id
    last = app.send_task("t").id
    found = [_owner(app, each) for each in (first, second, third, fourth, last)]
    assert found == [_ALICE, Owner("bob"), NOBODY, _ALICE, NOBODY]


@pytest.mark.parametrize("owner", ["", "a\0b", "\ud800", 7])
def test_an_owner_is_checked(owner: Any) -> None:
    """What cannot be an owner is an error at once."""
    with pytest.raises((TypeError, ValueError), match="owner: must be a text"), owned_by(owner):
        pass


def test_an_owner_is_of_one_thread_coroutine_or_greenlet(app: Celery) -> None:
    """Others that run at the same time have theirs."""
    sent: dict[str, str] = {}
    both = threading.Barrier(2)

    def by_thread(owner: str) -> None:
        with owned_by(owner):
            both.wait(10)
            sent[owner] = app.send_task("t").id

    async def by_coroutine(owner: str) -> None:
        with owned_by(owner):
            await asyncio.sleep(0)
            sent[owner] = app.send_task("t").id

    async def by_coroutines() -> None:
        await asyncio.gather(by_coroutine("third"), by_coroutine("fourth"))

    def by_greenlet(owner: str) -> None:
        with owned_by(owner):
            gevent.sleep(0)
            sent[owner] = app.send_task("t").id

    threads = [threading.Thread(target=by_thread, args=(owner,)) for owner in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(by_coroutines())
    gevent.joinall([gevent.spawn(by_greenlet, owner) for owner in ("fifth", "sixth")])
    assert {owner: _owner(app, task_id) for owner, task_id in sent.items()} == {
        owner: Owner(owner) for owner in ("first", "second", "third", "fourth", "fifth", "sixth")
    }


def test_a_running_task_knows_its_owner(app: Celery, commands: Commands) -> None:
    """MongoDB is not asked for it: a child costs the same as without owners."""
    parent = _alices(app)
    with _running(app, parent):
        commands.sent.clear()
        child = app.send_task("t").id
        assert commands.counts() == {"findAndModify": 1}
        commands.sent.clear()
        later = chain(app.signature("t"), app.signature("t", immutable=True), app=app)()
        assert commands.counts() == {"findAndModify": 1, "update": 1, "find": 1}
    assert [_owner(app, each) for each in (child, later.id, later.parent.id)] == [_ALICE] * 3


def test_a_program_continues_a_task(app: Celery, commands: Commands) -> None:
    """Outside of a task, the owner is that of the parent, which is read in part; a sender's own word counts more."""
    parent = _alices(app)
    commands.sent.clear()
    child = app.send_task("t", parent_id=parent).id
    assert commands.counts() == {"find": 1, "findAndModify": 1}
    assert fields.HISTORY not in commands.sent[0]["projection"]
    with owned_by("bob"):
        other = app.send_task("t", parent_id=parent).id
    assert [_owner(app, each) for each in (child, other)] == [_ALICE, Owner("bob")]
    assert _owner(app, app.send_task("t", parent_id="gone").id) == NOBODY


def test_a_parent_that_does_not_fit_has_no_owner(app: Celery) -> None:
    """A record of a wrong type gives no owner to others."""
    parent = _alices(app)
    app.backend.collection.update_one({"_id": parent}, {"$set": {fields.OWNER: 5}})
    assert _owner(app, app.send_task("t", parent_id=parent).id) == NOBODY


def test_a_step_keeps_the_owner_that_it_was_recorded_with(app: Celery) -> None:
    """Whoever sends it: the record has the owner of the first step."""
    with owned_by("alice", tenant="acme"):
        first = chain(app.signature("t"), app.signature("t", task_id="later"), app=app)().parent.id
    with _running(app, first, in_function=False), owned_by("bob"):
        app.send_task("t", task_id="later")
    record = _record(app, "later")
    assert (record.owner, record.tenant, record.waits_for) == (*_ALICE, None)
    assert record.as_sent().owner == "alice"


def test_the_body_of_a_chord_belongs_to_its_maker(app: Celery) -> None:
    """It is recorded with the owner; sent by recovery, outside of any task, it has the owner too."""
    for body, is_known in (("known", True), ("new", False)):
        with owned_by("alice", tenant="acme"):
            made = chord([app.signature("t")], app=app)(app.signature("t", task_id=body))
        assert _owner(app, body) == _ALICE
        if not is_known:
            # As if it could not be recorded in advance.
            app.backend.collection.delete_one({"_id": body})
        member = made.parent.results[0].id
        app.backend.collection.update_one({"_id": member}, {"$set": {fields.STATUS: "SUCCESS", fields.RESULT: None}})
    found = app.backend.database[fields.CHORDS].find()
    assert {(each[fields.OWNER], each[fields.TENANT]) for each in found} == {_ALICE}
    latest = max(each[fields.UPDATED_AT] for each in app.backend.database[fields.CHORDS].find())
    app.backend.repair_chords(latest.replace(year=latest.year + 1))
    for body in ("known", "new"):
        record = _record(app, body)
        assert (Owner(record.owner, record.tenant), record.waits_for) == (_ALICE, None)


def test_a_signed_header_is_taken_from_any_sender(app: Celery) -> None:
    """Also by the handler that a plain program had; the record has the owner, and the message has no header."""
    task_id = str(uuid.uuid4())
    with owned_by("bob"):
        app.send_task("t", task_id=task_id, headers=owner_headers(task_id, "t", "alice", "acme", secret=_SECRET))

    def sign(headers: dict[str, Any], **_: Any) -> None:
        headers.update(owner_headers(headers["id"], headers["task"], "carol", secret=_SECRET))

    signals.before_task_publish.connect(sign, sender="t", weak=False)
    try:
        by_handler = app.send_task("t").id
    finally:
        signals.before_task_publish.disconnect(sign, sender="t")
    assert [_owner(app, each) for each in (task_id, by_handler)] == [_ALICE, Owner("carol")]
    assert len(_headers(app)) == 2
    for record, headers in zip((_record(app, task_id), _record(app, by_handler)), _headers(app), strict=True):
        assert HEADER not in {**headers, **message_of(app, record.as_sent()).headers}


def test_a_forged_header_is_an_error_of_its_sender(app: Celery) -> None:
    """Nothing is recorded or sent, and the error does not repeat the header."""
    forged = owner_headers("another", "t", "victim", secret=_SECRET)
    with pytest.raises(ValueError, match=f"headers: {HEADER}: the owner was signed for another task") as refused:
        app.send_task("t", headers=forged)
    assert forged[HEADER] not in str(refused.value)
    assert app.backend.collection.count_documents({}) == 0
    assert _headers(app) == []


def test_a_forged_header_of_a_later_step_does_not_fail_the_step_before(app: Celery) -> None:
    """A worker that sends the step drops the header: the owner is that of the task before."""
    parent = _alices(app)
    with _running(app, parent, in_function=False):
        step = app.send_task("t", headers={HEADER: "v1.forged.header"}).id
    assert _owner(app, step) == _ALICE
    assert not [headers for headers in _headers(app) if HEADER in headers]


def test_a_retry_drops_the_header_of_its_message(app: Celery) -> None:
    """It may be signed with a secret that is gone by then: the record has the owner."""
    task_id = _alices(app)
    assert app.backend.store.change(claims.claim(task_id, _TAKING)) is not None
    assert app.backend.store.change(claims.requeue(task_id, claims.held_by(1), "replaced")) is not None
    sender = app.tasks["celery.accumulate"]
    sender.push_request(id=task_id, task="t", called_directly=False, headers={HEADER: "v1.gone.gone"})
    _task_stack.push(sender)
    try:
        app.send_task("t", task_id=task_id, replaced_task_nesting=1)
    finally:
        _task_stack.pop()
        sender.pop_request()
    assert _owner(app, task_id) == _ALICE
    assert [HEADER in headers for headers in _headers(app)] == [False, False]


@pytest.mark.parametrize(
    "value", ["victim", "v1.a.b", ["victim"], owner_headers("x", "t", "victim", secret=_SECRET)[HEADER]]
)
def test_no_arrival_has_a_forged_owner(app: Celery, value: Any) -> None:
    """Even past the check of the consumer, a message with such a header makes no record."""
    request = Context(id="new", task="t", args=[], kwargs={}, gql_api_owner=value)
    with pytest.raises(Reject, match=HEADER):
        app.backend.record_arrival(request)
    assert app.backend.store.find("new") is None


def test_headers_inside_headers_name_no_owner(app: Celery) -> None:
    """Only the place that the consumer checks counts."""
    forged = {HEADER: owner_headers("new", "t", "victim", secret="x" * 32)[HEADER]}
    app.backend.record_arrival(Context(id="new", task="t", args=[], kwargs={}, headers=forged))
    record = _record(app, "new")
    assert record.owner is None
    assert HEADER not in record.message.headers


def test_the_steps_behind_a_task_that_ended_elsewhere_have_its_owner(app: Celery) -> None:
    """A main process that fails a chain outside of a task records the steps of stock senders with the owner."""
    first = _alices(app)
    step = app.backend.codec.json_form(app.signature("t", task_id="unrecorded step", immutable=True))
    request = Context(id=first, task="t", chain=[step], args=[], kwargs={})
    app.backend.mark_as_failure(first, ValueError("x"), request=request)
    assert _owner(app, "unrecorded step") == _ALICE


def test_a_task_without_a_record_carries_its_owner(app: Celery) -> None:
    """The owner that a program names is signed, for no record has it; a plain task carries none."""
    with owned_by("alice", tenant="acme"):
        app.send_task("quiet")
    app.send_task("quiet")
    first, second = _headers(app)
    assert app.backend.owners.of_message(first, None) == _ALICE
    assert HEADER not in second
    assert app.backend.collection.count_documents({}) == 0


def test_a_task_without_a_record_that_is_given_to_nobody_is_not_its_parents(app: Celery) -> None:
    """What it sends is for administrators only, although the record of its parent has an owner."""
    parent = _alices(app)
    with _running(app, parent):
        app.send_task("quiet", parent_id=parent)
        with owned_by(None):
            app.send_task("quiet", parent_id=parent)
    _, inherited, nobodys = _headers(app)
    assert [app.backend.owners.of_message(each, parent) for each in (inherited, nobodys)] == [_ALICE, NOBODY]
    assert HEADER not in inherited
