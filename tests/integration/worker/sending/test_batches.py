"""Messages that are sent together, compared with those that Celery and kombu make of each by itself."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery
from databases import create_all
from kombu.entity import Exchange, Queue
from recovery_bench import HOUR_MS, recovery_bench
from redis import Redis

from gql_api.adopt import adopt
from gql_api.record import fields
from gql_api.record.model import Arguments, MessageParts, NewTask
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.republish import publish

_STEP = {"task": "next", "args": [1], "kwargs": {}, "options": {"task_id": "step"}, "subtask_type": None}
_AT = datetime(2040, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
# One task of each kind, by what is different about its message.
_TASKS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "arguments": {
        "args": [1, 2.5, None, True, "é\u2028\U0001f600", [], {"$a.b": {}}],
        "kwargs": {"k": [1], "é": '\\"'},
    },
    "typed values": {"args": [{"__type__": "uuid", "__value__": {"hex": "0" * 32}}], "kwargs": {"big": 2**70}},
    "hidden arguments": {"args": ["secret"], "kwargs": {"a": 1}, "shown": Arguments(["***"], {})},
    "parent and root": {"parent_id": "parent", "root_id": "root"},
    "priority": {"priority": 7},
    "expiry": {"expires_at": _AT},
    "headers": {"message": MessageParts(headers={"mine": [1], "timelimit": [5, None], "retries": 3, "lang": "js"})},
    "chain and callbacks": {"message": MessageParts(embed={"chain": [_STEP], "callbacks": [_STEP], "errbacks": None})},
    "chord": {"message": MessageParts(headers={"group": "g"}, embed={"chord": _STEP})},
    "another function": {"message": MessageParts(task="replaced", args=[9], kwargs={"z": {}})},
    "tenant": {"owner": "ann", "tenant": "acme", "metadata": {"a": 1}},
}


_TAG = re.compile(rb'"delivery_tag": "[0-9a-f-]{36}"')


@contextlib.contextmanager
def _adopted(settings: Settings, **configuration: Any) -> Iterator[Celery]:
    app = Celery("batches", set_as_current=False, broker=settings.celery_broker_url)
    app.conf.update(configuration)
    adopt(app)
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


def _queue(name: str, exchange: dict[str, Any], **options: Any) -> Any:
    return Queue(name, Exchange(**exchange), **options)  # type: ignore[no-untyped-call] # kombu


def _records(app: Celery, queue: str) -> list[TaskRecord]:
    """Create a task of each kind."""
    tasks = [NewTask(id=str(uuid.uuid4()), name="job", queue=queue, **changes) for changes in _TASKS.values()]
    create_all(app.backend.collection, tasks)
    found = {record.id: record for record in app.backend.store.find_all([task.id for task in tasks])}
    return [found[task.id] for task in tasks]


def _take(redis: Redis, queue: str) -> dict[bytes, list[bytes]]:
    """Take all messages out of the lists of a queue, the oldest first, without their unique tags."""
    lists: Any = [key for key in redis.keys(f"*{queue}*") if redis.type(key) == b"list"]
    messages: dict[bytes, Any] = {key: redis.lrange(key, 0, -1) for key in lists}
    for key in lists:
        redis.delete(key)
    return {key: [_TAG.sub(b"", message) for message in reversed(found)] for key, found in messages.items()}


@pytest.mark.parametrize("shares_queues", [False, True])
@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"broker_transport_options": {"global_keyprefix": "mine:"}},
        {"task_default_delivery_mode": "transient"},
        {"task_compression": "zlib"},
        {"exchange": {"name": "topics", "type": "topic"}, "routing_key": "sent"},
        {"exchange": {"name": "own", "type": "direct", "delivery_mode": 1}, "routing_key": "other"},
        {"exchange": {"name": "", "type": "direct"}, "expires": 60.0},
    ],
    ids=["plain", "prefix", "transient", "compression", "topic", "direct", "expires"],
)
def test_a_batch_has_the_messages_of_its_tasks(
    settings: Settings, configuration: dict[str, Any], shares_queues: bool
) -> None:
    """Each has the same bytes, in the same list and place, as when it is sent by itself, also with stock workers."""
    queue = f"q-{uuid.uuid4()}"
    if shares_queues:
        settings = settings.model_copy(update={"stock_result_backend": settings.celery_broker_url})
    if "exchange" in configuration:
        configuration = {"task_queues": [_queue(queue, **configuration)]}
    with _adopted(settings, **configuration) as app, Redis.from_url(settings.celery_broker_url) as redis:
        records = _records(app, queue)
        for record in records:
            assert publish(app, record)
        alone = _take(redis, queue)
        assert publish(app, *records)
        assert _take(redis, queue) == alone
        assert sum(map(len, alone.values())) == len(records)


def test_lost_messages_come_back_as_they_are_sent_one_by_one(settings: Settings) -> None:
    """Recovery reads the part of a record that its message is made of: nothing of any kind of task is missing."""
    with recovery_bench(settings) as bench:
        ids = [record.id for record in _records(bench.app, bench.queue)]
        bench.backend.collection.update_many(
            {"_id": {"$in": ids}}, [{"$set": {fields.DUE_AT: {"$subtract": ["$$NOW", HOUR_MS]}}}]
        )
        bench.scan(bench.recovery())
        together = _take(bench.redis, bench.queue)
        for record in bench.find(*ids):
            assert publish(bench.app, record)
        alone = _take(bench.redis, bench.queue)
    assert {key: sorted(messages) for key, messages in together.items()} == {
        key: sorted(messages) for key, messages in alone.items()
    }
    assert sum(map(len, together.values())) == len(ids)
