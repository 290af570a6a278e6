"""What handlers of Celery's signals about sending add to a message, and when the signals are sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, signals
from redis import Redis

from gql_api.adopt import adopt
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.republish import publish

_NAME = "traced"
_OWN = {"traceparent": "00-1", "baggage": "tenant=7", "depth": 0, "empty": ""}


class _Handlers:
    """Handlers of the signals about sending: they change the message in place and count the signals."""

    def __init__(self) -> None:
        self.before: list[str] = []
        self.after: list[str] = []
        self.fails = False

    def add(self, headers: dict[str, Any], body: Any, properties: dict[str, Any], **_: Any) -> None:
        """Add headers as tracing does, and change the arguments and the priority."""
        self.before.append(headers["id"])
        headers.update(_OWN, metadata={"request": "r-1"})
        body[1]["tenant"] = 7
        properties["priority"] = 3
        if self.fails:
            raise ValueError("a handler's own error")

    def note(self, headers: dict[str, Any], **_: Any) -> None:
        """Note the task whose message was published."""
        self.after.append(headers["id"])


@pytest.fixture
def handlers() -> Iterator[_Handlers]:
    """Connected handlers."""
    handlers = _Handlers()
    signals.before_task_publish.connect(handlers.add, sender=_NAME)
    signals.after_task_publish.connect(handlers.note, sender=_NAME)
    yield handlers
    signals.before_task_publish.disconnect(handlers.add, sender=_NAME)
    signals.after_task_publish.disconnect(handlers.note, sender=_NAME)


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


def _record(app: Celery, task_id: str) -> TaskRecord:
    record = app.backend.store.find(task_id)
    assert isinstance(record, TaskRecord)
    return record


def _headers(app: Celery) -> list[dict[str, Any]]:
    """The headers of the messages in the app's queue at the handlers' priority, oldest first."""
    with Redis.from_url(app.conf.broker_url) as redis:
        queue = f"{app.conf.task_default_queue}\x06\x163"
        return [json.loads(raw)["headers"] for raw in reversed(redis.lrange(queue, 0, -1))]


@pytest.mark.parametrize(
    "options",
    [{}, {"countdown": 60}, {"eta": datetime.now(UTC) + timedelta(hours=1)}, {"expires": 60}],
    ids=["at once", "countdown", "eta", "expires"],
)
def test_what_handlers_add_is_in_the_record_and_in_each_message(
    app: Celery, handlers: _Handlers, options: dict[str, Any]
) -> None:
    """Headers, arguments, priority and metadata of handlers are stored, sent, and sent again without the signals."""
    task_id = app.send_task(_NAME, kwargs={"a": 1}, headers={"own": "mine"}, **options).id
    record = _record(app, task_id)
    waits = {"countdown", "eta"} & options.keys()
    assert record.status is (Status.SCHEDULED if waits else Status.QUEUED)
    assert (record.kwargs, record.priority, record.metadata) == ({"a": 1, "tenant": 7}, 3, {"request": "r-1"})
    assert len(_headers(app)) == (0 if waits else 1)
    publish(app, record)
    for headers in _headers(app):
        assert {name: headers[name] for name in _OWN} == _OWN
        assert headers["own"] == "mine"
    assert (handlers.before, handlers.after) == ([task_id], [task_id])


def test_a_handler_may_move_a_time(app: Celery, handlers: _Handlers) -> None:
    """A time that a handler sets counts instead of the sender's countdown."""
    at = datetime(2040, 1, 1, tzinfo=UTC)

    def move(headers: dict[str, Any], **_: Any) -> None:
        headers["eta"] = at.isoformat()

    signals.before_task_publish.connect(move, sender=_NAME)
    try:
        record = _record(app, app.send_task(_NAME, countdown=60).id)
    finally:
        signals.before_task_publish.disconnect(move, sender=_NAME)
    assert record.scheduled_for == at
    assert handlers.after == [record.id]


def test_an_error_of_a_handler_is_not_the_senders(app: Celery, handlers: _Handlers) -> None:
    """As in Celery, the message leaves with what the handler has added before its error."""
    handlers.fails = True
    record = _record(app, app.send_task(_NAME).id)
    assert record.message.headers["baggage"] == _OWN["baggage"]
    assert [headers["id"] for headers in _headers(app)] == [record.id]


def test_the_signals_do_not_depend_on_the_broker(settings: Settings, handlers: _Handlers) -> None:
    """While the broker is away the task is accepted all the same: both signals are sent, once."""
    app = _app(settings.model_copy(update={"celery_broker_url": "redis://127.0.0.1:1/0"}))
    app.conf.task_publish_retry = False
    # Celery would try to connect for six seconds.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "max_retries": 1, "interval_start": 0}
    record = _record(app, app.send_task(_NAME).id)
    assert record.message.headers["traceparent"] == _OWN["traceparent"]
    assert (handlers.before, handlers.after) == ([record.id], [record.id])
    app.backend.connections.close()
    app.close()


def test_the_older_signal_and_the_event_of_sending(app: Celery, handlers: _Handlers) -> None:
    """The signal ``task_sent`` and the event ``task-sent`` follow a message that waits, too."""
    sent: list[str] = []

    def note(task_id: str, **_: Any) -> None:
        sent.append(task_id)

    signals.task_sent.connect(note, sender=_NAME)
    app.conf.task_send_sent_event = True
    try:
        ids = [app.send_task(_NAME).id, app.send_task(_NAME, countdown=60).id]
    finally:
        signals.task_sent.disconnect(note, sender=_NAME)
    assert sent == handlers.after == ids
