"""``celery purge``: the tasks of the removed messages end, and no others."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from celery import Celery
from malformed import malformed, not_messages
from pymongo.errors import WriteError
from redis import Redis

from gql_api.adopt import adopt
from gql_api.record import claims, due, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.republish import publish

_TAKING = Claim("m" * 32, "w", "run", 1, 60.0)
_HOUR = 3600.0
# Several batches, the last of which is not full.
_BATCH, _MANY = 50, 110


@pytest.fixture
def make_app(settings: Settings) -> Iterator[Callable[..., Celery]]:
    """Makes adopted apps with one database, one broker and one queue name, and functions of the given names."""
    queue = f"queue-{uuid.uuid4()}"
    with ExitStack() as apps:

        def make(prefix: str, *names: str) -> Celery:
            app = adopt(Celery("sender", set_as_current=False, broker=settings.celery_broker_url))
            app.conf.update(task_default_queue=queue, broker_transport_options={"global_keyprefix": prefix})
            for name in names:
                app.task(name=name, shared=False)(_nothing)
            app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
            apps.callback(app.close)
            apps.callback(app.backend.connections.close)
            return app

        yield make


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    """An adopted app."""
    return make_app("one.", "purge-tests.job")


def _nothing() -> None:
    pass


def _record(app: Celery, task_id: str) -> TaskRecord:
    record = app.backend.store.find(task_id)
    assert isinstance(record, TaskRecord)
    return record


def _status(app: Celery, task_id: str) -> Status:
    return _record(app, task_id).status


def _hold_back(app: Celery, task_id: str) -> None:
    write, taken = due.hold_back([task_id], 0, "t", 60.0, 60.0), due.held_back([task_id], "t")
    assert app.backend.store.change_many(write, taken)


def _key(app: Celery) -> str:
    return f"{app.conf.broker_transport_options['global_keyprefix']}{app.conf.task_default_queue}"


def _messages(app: Celery) -> Any:
    with Redis.from_url(app.conf.broker_url) as redis:
        return redis.lrange(_key(app), 0, -1)


def _take_message(app: Celery) -> None:
    with Redis.from_url(app.conf.broker_url) as redis:
        assert redis.rpop(_key(app)) is not None


def test_every_message_is_purged(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues of any length end, at every priority, and the number of their messages is returned."""
    monkeypatch.setattr("gql_api.worker.sending.purge._BATCH", _BATCH)
    ids = [app.send_task("purge-tests.job", priority=priority).id for priority in (0, 9) for _ in range(_MANY // 2)]
    ids += [app.send_task("purge-tests.job").id for _ in range(_MANY // 2)]
    assert app.control.purge() == len(ids)
    assert {_status(app, task_id) for task_id in ids} == {Status.REVOKED}
    assert app.control.purge() == 0


def test_a_retry_whose_message_is_in_the_queue_is_purged(app: Celery) -> None:
    """A retry without a countdown is in the queue, though recovery would send it only later."""
    retried, waiting = app.send_task("purge-tests.job").id, app.send_task("purge-tests.job").id
    for task_id in (retried, waiting):
        _take_message(app)
        assert app.backend.store.change(claims.claim(task_id, _TAKING)) is not None
        assert app.backend.store.change(writes.retry(task_id, None, due_in=_HOUR, fence=claims.held_by(1))) is not None
    assert publish(app, _record(app, retried))
    assert app.control.purge() == 1
    assert (_status(app, retried), _status(app, waiting)) == (Status.REVOKED, Status.RETRY)


def test_tasks_without_a_message_in_the_queue_are_kept(app: Celery) -> None:
    """A task that waits for its replacement, one that a worker has taken, and one that was rescheduled are kept."""
    replaced, taken = app.send_task("purge-tests.job").id, app.send_task("purge-tests.job").id
    for _ in range(2):
        _take_message(app)
    assert app.backend.store.change(claims.claim(replaced, _TAKING)) is not None
    assert app.backend.store.change(claims.requeue(replaced, claims.held_by(1), "replaced")) is not None
    assert app.backend.store.note(claims.exclude_from_recovery(replaced, claims.returned_by(1)))
    assert app.control.purge() == 0
    assert (_status(app, replaced), _status(app, taken)) == (Status.QUEUED, Status.QUEUED)


def test_a_message_of_an_earlier_attempt_ends_nothing(app: Celery) -> None:
    """A second message that would start nothing is removed, and its task goes on."""
    task_id = app.send_task("purge-tests.job").id
    assert app.backend.store.change(claims.claim(task_id, _TAKING)) is not None
    assert app.backend.store.change(claims.requeue(task_id, claims.held_by(1), "replaced")) is not None
    assert app.control.purge() == 1
    assert _status(app, task_id) is Status.QUEUED


def test_another_application_is_not_purged(make_app: Callable[..., Celery]) -> None:
    """Of two applications with one database and one queue name, a purge ends the tasks of its own broker only."""
    app, other = make_app("one.", "purge-tests.job"), make_app("two.", "purge-tests.other")
    own, others = app.send_task("purge-tests.job").id, other.send_task("purge-tests.other").id
    own_held, others_held = app.send_task("purge-tests.job").id, other.send_task("purge-tests.other").id
    for each, task_id in ((app, own_held), (other, others_held)):
        _hold_back(each, task_id)
    assert app.control.purge() == 2
    assert (_status(app, own), _status(app, own_held)) == (Status.REVOKED, Status.REVOKED)
    assert (_status(app, others), _status(app, others_held)) == (Status.QUEUED, Status.SCHEDULED)
    assert other.control.purge() == 2
    assert (_status(app, others), _status(app, others_held)) == (Status.REVOKED, Status.REVOKED)


def test_messages_stay_if_mongodb_refuses(app: Celery) -> None:
    """A purge that cannot end the tasks leaves their messages in the queue, in their order."""
    ids = [app.send_task("purge-tests.job").id for _ in range(3)]
    before = _messages(app)
    database = app.backend.database
    database.command("collMod", fields.TASKS, validator={fields.STATUS: {"$ne": Status.REVOKED}})
    try:
        with pytest.raises(WriteError):
            app.control.purge()
    finally:
        database.command("collMod", fields.TASKS, validator={})
    assert _messages(app) == before
    assert {_status(app, task_id) for task_id in ids} == {Status.QUEUED}
    assert app.control.purge() == 3


def test_other_messages_are_purged_too(app: Celery) -> None:
    """Messages that belong to no task are removed with the others, whose tasks end."""
    task_id = app.send_task("purge-tests.job").id
    contents = [*not_messages(), b'{"headers": null}', *(raw for _, raw in malformed("purge-tests.job", _key(app)))]
    with Redis.from_url(app.conf.broker_url) as redis:
        redis.rpush(_key(app), *contents)
    assert app.control.purge() == 1 + len(contents)
    assert (_status(app, task_id), _messages(app)) == (Status.REVOKED, [])
