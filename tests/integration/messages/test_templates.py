from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import signals
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis
from strategies import JSON_VALUES, OBJECTS

from gql_api.dispatch import Dispatcher, Transport, for_version, hiding, time_limited
from gql_api.record.model import Arguments, MessageParts, NewTask
from gql_api.settings import Settings

_QUEUE = f"queue-{uuid.uuid4()}"
_TAG = re.compile(rb'("delivery_tag": ")[-0-9a-f]{36}"')
_TEXTS = st.sampled_from(["t", "shop.tasks.t", "é", 'a"b', "\\", "x y", "\u2028", "place"])
_PARTS = st.builds(
    lambda seconds, version, hides: for_version(
        hiding(time_limited(seconds)) if hides else time_limited(seconds), version
    ),
    st.none() | st.sampled_from([1, 1.5, 3600.0]),
    st.none() | st.sampled_from(["t#1", "é#2"]),
    st.booleans(),
)
_TASKS = st.builds(
    NewTask,
    id=st.uuids().map(str) | _TEXTS,
    name=_TEXTS,
    args=st.lists(JSON_VALUES, max_size=3),
    kwargs=OBJECTS,
    queue=st.sampled_from([_QUEUE, f"{_QUEUE}.é"]),
    priority=st.integers(0, 9),
    parent_id=st.none() | _TEXTS,
    root_id=st.none() | _TEXTS,
    message=_PARTS,
    attempts=st.integers(0, 2),
    shown=st.none() | st.builds(Arguments, st.lists(JSON_VALUES, max_size=2), OBJECTS),
)


@contextlib.contextmanager
def _without_templates() -> Iterator[None]:
    """Let Celery make each message: a receiver of its signal may change it."""

    def receive(**_: Any) -> None:
        pass

    signals.before_task_publish.connect(receive, weak=False)
    try:
        yield
    finally:
        signals.before_task_publish.disconnect(receive)


@pytest.fixture
def dispatcher(settings: Settings) -> Iterator[Dispatcher]:
    """The API's publisher."""
    dispatcher = Dispatcher(settings)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """The broker."""
    with Redis.from_url(settings.celery_broker_url) as redis:
        yield redis


def _messages(
    redis: Redis, dispatcher: Dispatcher, tasks: list[NewTask], transport: Transport = ()
) -> dict[str, list[bytes]]:
    """Publish messages, and return those of each list of the broker, without their random tags."""
    dispatcher.publish(tasks, transport)
    found = {}
    for key in redis.scan_iter(f"*{_QUEUE}*", _type="list"):
        messages: list[Any] = redis.lrange(key, 0, -1)
        found[key.decode()] = [_TAG.sub(rb"\1", message) for message in messages]
        redis.delete(key)
    return found


@pytest.mark.parametrize("transport", [(), (("global_keyprefix", "shop."), ("sep", ":"))])
def test_a_message_is_byte_by_byte_the_one_of_celery(
    redis: Redis, dispatcher: Dispatcher, transport: Transport
) -> None:
    """Whatever a task is, its message and the list that it is in are those that Celery and kombu make."""

    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_TASKS, min_size=1, max_size=4))
    def are_equal(tasks: list[NewTask]) -> None:
        made = _messages(redis, dispatcher, tasks, transport)
        if not transport and made:
            ready = dispatcher.ready(tasks) or {}
            assert {key: [_TAG.sub(rb"\1", each.encode()) for each in ready[key][::-1]] for key in ready} == made
        with _without_templates():
            assert dispatcher.ready(tasks) is None
            assert made == _messages(redis, dispatcher, tasks, transport)
        assert sum(map(len, made.values())) == len(tasks)

    are_equal()


def test_ordinary_messages_are_made_from_templates(
    redis: Redis, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery makes the first message of a kind only."""
    dispatcher.publish([_task("a")])
    monkeypatch.setattr("gql_api.dispatch.message_of", lambda *_, **__: pytest.fail("Celery makes a message"))
    dispatcher.publish([_task("b"), _task("c")])
    messages = [json.loads(message) for message in redis.lrange(_QUEUE, 0, -1)]
    assert [message["headers"]["id"] for message in reversed(messages)] == ["a", "b", "c"]
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 3
    redis.delete(_QUEUE)


@pytest.mark.parametrize(
    "parts",
    [
        MessageParts(embed={"callbacks": [{"task": "next"}]}),
        MessageParts(task="other"),
        MessageParts(args=[2]),
        MessageParts(kwargs={}),
    ],
)
def test_messages_with_parts_of_their_own_are_those_of_celery(
    redis: Redis, dispatcher: Dispatcher, parts: MessageParts
) -> None:
    """A callback, or what replaces the function or its arguments, is in the message."""
    tasks = [_task("a"), _task("b", message=parts)]
    made = _messages(redis, dispatcher, tasks)
    with _without_templates():
        assert made == _messages(redis, dispatcher, tasks)


def test_compressed_messages_are_those_of_celery(redis: Redis, dispatcher: Dispatcher) -> None:
    """A body that is no JSON text has no place for arguments."""
    dispatcher._app_for(()).conf.task_compression = "zlib"  # noqa: SLF001 - as a later setting might have it
    tasks = [_task("a"), _task("b")]
    made = _messages(redis, dispatcher, tasks)
    with _without_templates():
        assert made == _messages(redis, dispatcher, tasks)
    (messages,) = made.values()
    assert all(b'"compression": "application/x-gzip"' in message for message in messages)


def test_messages_for_stock_workers_have_an_expiry(redis: Redis, settings: Settings) -> None:
    """While stock workers share the queues, each message has the expiry of its own task."""
    dispatcher = Dispatcher(settings.model_copy(update={"stock_result_backend": "disabled"}))
    times = [datetime(2030, 1, day, tzinfo=UTC) for day in (1, 2)]
    (messages,) = _messages(redis, dispatcher, [_task(str(time.day), expires_at=time) for time in times]).values()
    dispatcher.close()
    for message, time in zip(reversed(messages), times, strict=True):
        assert f'"expires": "{time.isoformat()}"'.encode() in message


def test_a_queue_is_bound_as_celery_binds_it(redis: Redis, settings: Settings) -> None:
    """The sets of kombu name the queue once a connection of kombu, which messages from templates share."""

    def bindings() -> list[set[Any]]:
        found, dispatcher, key = [], Dispatcher(settings), f"_kombu.binding.{_QUEUE}"
        for names in ("a", "bc", "d"):
            dispatcher.publish([_task(name) for name in names])
            found.append(redis.smembers(key))
            redis.delete(key)
            # Connections are lost when Redis restarts.
            redis.client_kill_filter(_type="normal")
        dispatcher.close()
        assert redis.llen(_QUEUE) == 4
        redis.delete(_QUEUE)
        return found

    bound = bindings()
    with _without_templates():
        assert bound == bindings()
    assert bound[0]


def test_the_receivers_of_signals_see_each_message(redis: Redis, dispatcher: Dispatcher) -> None:
    """A program that changes messages as Celery lets it, such as one that traces tasks, changes these too."""

    def mark(headers: dict[str, Any], **_: Any) -> None:
        headers["mark"] = headers["id"]

    signals.before_task_publish.connect(mark, weak=False)
    try:
        dispatcher.publish([_task("a"), _task("b")])
    finally:
        signals.before_task_publish.disconnect(mark)
    assert [json.loads(message)["headers"]["mark"] for message in redis.lrange(_QUEUE, 0, -1)] == ["b", "a"]
    redis.delete(_QUEUE)


def _task(task_id: str, **values: Any) -> NewTask:
    return NewTask(id=task_id, name="t", args=[1], kwargs={"x": "é"}, queue=_QUEUE, **values)
