"""The messages and records that an adopted app makes when it sends a task."""

from __future__ import annotations

import base64
import contextlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery._state import _task_stack
from ports import free_port
from pymongo import MongoClient
from redis import Redis
from support import process, wait_until

from gql_api.adopt import DuplicateTaskIdError, adopt
from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.dispatch import ATTEMPTS, OperationalError, broker_errors, message_of
from gql_api.record import claims, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, NewTask
from gql_api.record.reads import Document, TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

_TAKING = Claim("m" * 32, "w", "run", 1, 60.0)


def _nothing() -> None:
    pass


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


@contextlib.contextmanager
def _after_a_function(app: Celery) -> Iterator[None]:
    """Send as a worker does after a task function: callbacks, steps of a chain, bodies of chords."""
    sender = app.tasks["celery.accumulate"]
    sender.push_request(id=str(uuid.uuid4()), called_directly=False)
    _task_stack.push(sender)
    try:
        yield
    finally:
        _task_stack.pop()
        sender.pop_request()


def _record(app: Celery, task_id: str) -> TaskRecord:
    record = app.backend.store.find(task_id)
    assert isinstance(record, TaskRecord)
    return record


def _messages(app: Celery) -> list[dict[str, Any]]:
    """The messages in the app's queue, oldest first."""
    with Redis.from_url(app.conf.broker_url) as redis:
        return [json.loads(raw) for raw in reversed(redis.lrange(app.conf.task_default_queue, 0, -1))]


def _body(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def test_times_relative_to_now_are_by_the_clock_of_mongodb(app: Celery) -> None:
    """A countdown and an expiry count from the moment at which MongoDB stores the record, to the millisecond."""
    record = _record(app, app.send_task("t", countdown=60, expires=90).id)
    assert record.status is Status.SCHEDULED
    assert record.scheduled_for == record.created_at + timedelta(seconds=60)
    assert record.expires_at == record.created_at + timedelta(seconds=90)
    assert _messages(app) == []


def test_absolute_times_are_kept(app: Celery) -> None:
    """MongoDB, not the sender, decides whether a time is in the past."""
    eta, expires = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) + timedelta(hours=2)
    later = _record(app, app.send_task("t", eta=eta, expires=expires).id)
    assert (later.status, later.expires_at) == (
        Status.SCHEDULED,
        expires.replace(microsecond=expires.microsecond // 1000 * 1000),
    )
    past = _record(app, app.send_task("t", eta=datetime(2020, 1, 1, tzinfo=UTC), countdown=0).id)
    assert past.status is Status.QUEUED
    assert [message["headers"]["id"] for message in _messages(app)] == [past.id]


def test_a_deleted_task_is_not_sent_again(app: Celery) -> None:
    """A step that was deleted does not come back when the step before it runs again and sends it again."""
    task_id = app.send_task("t").id
    assert app.backend.store.change(writes.succeed(task_id, None)) is not None
    app.backend.store.delete([task_id])
    with _after_a_function(app):
        app.send_task("t", task_id=task_id)
    assert app.backend.store.find(task_id) is None
    assert len(_messages(app)) == 1


def test_the_next_message_of_a_task_follows_its_attempt(app: Celery) -> None:
    """A replacement is sent with its own arguments, even none, and with the number of the attempt that it follows."""
    task_id = app.send_task("t", kwargs={"a": 1}).id
    assert app.backend.store.change(claims.claim(task_id, _TAKING)) is not None
    assert app.backend.store.change(claims.requeue(task_id, claims.held_by(1), "replaced")) is not None
    with _after_a_function(app):
        app.send_task("other", args=(5,), task_id=task_id, replaced_task_nesting=1)
    first, second = _messages(app)
    assert ATTEMPTS not in first["headers"]
    assert second["headers"][ATTEMPTS] == 1
    again = message_of(app, _record(app, task_id).as_sent())
    assert (again.headers["task"], again.headers[ATTEMPTS]) == ("other", 1)
    assert [list(again.body[0]), again.body[1]] == _body(second)[:2] == [[5], {}]


@pytest.mark.parametrize("countdown", [None, 60])
@pytest.mark.parametrize("state", ["retry", "replaced", "given back"])
def test_a_step_that_is_sent_again_changes_nothing(app: Celery, state: str, countdown: int | None) -> None:
    """A step keeps its retry or its replacement when the step before runs again and sends it again."""
    task_id, store, held = app.send_task("t").id, app.backend.store, claims.held_by(1)
    assert store.change(claims.claim(task_id, _TAKING)) is not None
    if state == "retry":
        assert store.change(writes.retry(task_id, None, due_in=600.0, fence=held)) is not None
    else:
        assert store.change(claims.requeue(task_id, held, state)) is not None
    if state == "replaced":
        with _after_a_function(app):
            app.send_task("other", task_id=task_id, replaced_task_nesting=1)
    sent, before = _messages(app), app.backend.collection.find_one({"_id": task_id})
    with _after_a_function(app):
        app.send_task("t", args=(1,), task_id=task_id, countdown=countdown)
    assert app.backend.collection.find_one({"_id": task_id}) == before
    assert _messages(app) == sent


def test_a_message_for_a_running_task_is_not_sent(app: Celery) -> None:
    """A second message of a task that runs, or is over, could start nothing."""
    task_id = app.send_task("t").id
    assert app.backend.store.change(claims.claim(task_id, _TAKING)) is not None
    with _after_a_function(app):
        app.send_task("t", task_id=task_id)
    assert len(_messages(app)) == 1


@pytest.mark.parametrize("ignore_result", [None, False, True])
def test_a_message_that_is_sent_again_says_the_same(app: Celery, ignore_result: bool | None) -> None:
    """Headers of the caller's own are kept whatever their values are; a default is not taken for a caller's choice."""
    own = {"empty": "", "none": [], "zero": 0, "no": False}
    task_id = app.send_task("t", headers=own, ignore_result=ignore_result).id
    (sent,) = _messages(app)
    again = message_of(app, _record(app, task_id).as_sent())
    for name in (*own, "ignore_result", "retries", "timelimit", "group"):
        assert again.headers[name] == sent["headers"][name], name


def test_a_channel_that_was_closed_is_an_error_of_the_broker(app: Celery) -> None:
    """What kombu raises when it publishes over the channel of a lost connection is not an error of the sender."""
    with app.producer_or_acquire() as producer:
        channel = producer.channel
        # As kombu does when it has to connect again to declare a queue.
        producer.connection.collect()
        with pytest.raises(OperationalError), broker_errors():
            channel.basic_publish(channel.prepare_message("{}"), exchange="", routing_key="t")
        with pytest.raises(AttributeError, match="other"), broker_errors():
            channel.other()


def test_a_record_of_an_earlier_version_has_empty_kwargs(app: Celery) -> None:
    """Earlier versions left the empty kwargs of a replacement out of its record."""
    task_id = app.send_task("t", kwargs={"a": 1}).id
    replacement = NewTask(id=task_id, name="other")
    record = app.backend.store.note_one(claims.remember_message(replacement, 0.0))
    assert record is not None
    app.backend.collection.update_one({"_id": task_id}, {"$unset": {"message_parts.kwargs": 1}})
    assert message_of(app, _record(app, task_id).as_sent()).body[1] == {}


def test_a_sender_recognizes_its_own_record(settings: Settings, tmp_path: Path) -> None:
    """A sender may try again with the same id after an error, although MongoDB has stored the record; then no more."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    command = [*server.command(tmp_path / "mongod.log"), "--setParameter=enableTestCommands=1"]
    lost = {"failCommands": ["findAndModify"], "writeConcernError": {"code": 64, "errmsg": "not replicated"}}
    with process(command, tmp_path / "log"), MongoClient[Document](server.url) as client:
        wait_until(lambda: is_listening(server.port))
        server.initiate()
        app = _app(settings.model_copy(update={"mongodb_url": server.url}))
        for countdown, sent in ((60, 0), (None, 1)):
            task_id = str(uuid.uuid4())
            client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=lost)
            with pytest.raises(OperationalError):
                app.send_task("t", task_id=task_id, countdown=countdown)
            assert app.backend.store.find(task_id) is not None
            app.send_task("t", task_id=task_id, countdown=countdown)
            assert len(_messages(app)) == sent
            with pytest.raises(DuplicateTaskIdError, match=task_id):
                app.send_task("t", task_id=task_id, countdown=countdown)
        app.backend.connections.close()
        app.close()


@pytest.mark.parametrize(
    ("option", "value"),
    [("serializer", "yaml"), ("serializer", "pickle"), ("serializer", "msgpack"), ("compression", "brotli")],
)
def test_a_call_that_cannot_be_encoded_is_an_error_at_the_sender(app: Celery, option: str, value: str) -> None:
    """Nothing is recorded and nothing is sent, whether the option is the call's, its task's or its signature's."""
    task = app.task(name="t", shared=False, **{option: value})(_nothing)
    plain = app.task(name="plain", shared=False)(_nothing)
    calls = [
        task.delay,
        lambda: plain.apply_async(**{option: value}),
        lambda: app.send_task("t", **{option: value}),
        plain.si().set(**{option: value}).delay,
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f'{option}="{value}"'):
            call()
    assert app.backend.collection.count_documents({}) == 0
    assert _messages(app) == []
