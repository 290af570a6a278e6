"""Recovery while stock Celery workers share the queues of an adopted application."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from proxy import Mode, Proxy
from redis import Redis

from gql_api.adopt import adopt
from gql_api.record import claims, due, fields, queries, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, NewTask
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery.backlog import Backlog
from gql_api.worker.recovery.contact import Contacts
from gql_api.worker.recovery.recovery import Recovery
from gql_api.worker.recovery.stock_results import StockResults
from gql_api.worker.sending.republish import publish
from gql_api.worker.sending.sent import unsent

_LEASE_SECONDS = 60.0
_TAKING = Claim("m" * 32, "w", "run", 1, _LEASE_SECONDS)


def _job() -> None:
    """Do nothing: no worker runs."""


@dataclass
class Mixture:
    """An adopted application whose queue stock workers share, and a sender of it that can lose the broker."""

    app: Celery
    backend: Backend
    sender: Celery
    proxy: Proxy
    redis: Redis
    queue: str

    def messages(self) -> list[dict[str, Any]]:
        """Take all messages from the queue, as stock workers do, and return their headers."""
        taken: Any = self.redis.lrange(self.queue, 0, -1)
        self.redis.delete(self.queue)
        return [json.loads(message)["headers"] for message in taken]

    def record(self, task_id: str) -> TaskRecord:
        """Read a task."""
        found = self.backend.store.find(task_id)
        assert found is not None
        return found

    def scan_much_later(self) -> None:
        """Let an hour pass, and scan as a worker that has been in contact with both servers for that time."""
        is_left = {"$gte": [f"${fields.DUE_AT}", due.WITH_STOCK_WORKER]}
        earlier = {"$cond": [is_left, f"${fields.DUE_AT}", {"$subtract": [f"${fields.DUE_AT}", 3_600_000]}]}
        self.backend.collection.update_many({fields.QUEUE: self.queue}, [{"$set": {fields.DUE_AT: earlier}}])
        self.backend.database[fields.LEADER_LOCKS].delete_many({})
        seconds = 0.0
        recovery = Recovery(self.app, self.backend, threading.Event())
        recovery.contacts = Contacts(self.backend, Backlog(self.app), lambda: seconds)
        for _ in range(4):
            seconds += 0.4 * _LEASE_SECONDS
            recovery.contacts.ask_store()
            recovery.contacts.ask_broker()
        recovery.scan()


@contextlib.contextmanager
def _app(settings: Settings, broker: str, queue: str) -> Iterator[Celery]:
    app = adopt(Celery("mixture", set_as_current=False, broker=broker))
    app.conf.update(task_default_queue=queue, task_publish_retry=False)
    # Without a broker Celery would try to connect for six seconds.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "max_retries": 1, "interval_start": 0}
    app.task(name="mixed", shared=False)(_job)
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    app.backend.collection.create_indexes(fields.INDEXES)
    yield app
    app.backend.connections.close()
    app.close()


@pytest.fixture
def mixture(settings: Settings, tmp_path: Path) -> Iterator[Mixture]:
    """Start with an empty queue, and with results of stock workers in the broker."""
    broker, queue = settings.celery_broker_url, f"q-{uuid.uuid4()}"
    settings = settings.model_copy(update={"lease_seconds": _LEASE_SECONDS, "stock_result_backend": broker})
    with (
        Redis.from_url(broker) as redis,
        (tmp_path / "log").open("wb") as log,
        Proxy({"redis": redis.connection_pool.connection_kwargs["port"]}, log) as proxy,
        _app(settings, broker, queue) as app,
        _app(settings, f"redis://127.0.0.1:{proxy.port('redis')}/0", queue) as sender,
    ):
        yield Mixture(app, app.backend, sender, proxy, redis, queue)


def test_a_task_whose_message_did_not_leave_is_sent(mixture: Mixture) -> None:
    """Its sender had no broker, or died: the message comes from recovery, with its expiry, and that is noted."""
    mixture.proxy.set("redis", Mode.REFUSE)
    task_id = mixture.sender.send_task("mixed", expires=2 * 3600).id
    assert mixture.messages() == []
    mixture.scan_much_later()
    [headers] = mixture.messages()
    expires_at = mixture.record(task_id).expires_at
    assert expires_at is not None
    assert (headers["id"], headers["expires"]) == (task_id, expires_at.isoformat())
    mixture.scan_much_later()
    assert mixture.messages() == []


def test_a_message_that_left_its_queue_is_a_stock_workers(mixture: Mixture) -> None:
    """It is not sent again, and the result of the stock worker is stored in its record."""
    task_id = mixture.app.send_task("mixed").id
    assert len(mixture.messages()) == 1
    mixture.scan_much_later()
    assert mixture.messages() == []
    assert mixture.record(task_id).due_at == due.WITH_STOCK_WORKER
    meta = {"task_id": task_id, "status": "SUCCESS", "result": 42, "traceback": None, "children": []}
    mixture.redis.set(f"celery-task-meta-{task_id}", json.dumps(meta))
    StockResults(mixture.backend, threading.Event()).collect()
    assert (mixture.record(task_id).status, mixture.record(task_id).result) == (Status.SUCCESS, 42)


def test_a_result_that_cannot_be_read_stops_nothing(mixture: Mixture) -> None:
    """The next search goes on behind it, and recovery does not wait for any of them."""
    ids = sorted(mixture.app.send_task("mixed").id for _ in range(2))
    mixture.messages()
    mixture.scan_much_later()
    mixture.redis.set(f"celery-task-meta-{ids[0]}", "not JSON")
    meta = {"task_id": ids[1], "status": "SUCCESS", "result": 1, "traceback": None, "children": []}
    mixture.redis.set(f"celery-task-meta-{ids[1]}", json.dumps(meta))
    search = StockResults(mixture.backend, threading.Event())
    for _ in range(2):
        mixture.backend.database[fields.LEADER_LOCKS].delete_many({})
        search.collect()
    assert [mixture.record(task_id).status for task_id in ids] == [Status.QUEUED, Status.SUCCESS]


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_retry_is_sent_once(mixture: Mixture, is_sent: bool) -> None:
    """The message of a retry that has left is not sent again when the lease of the retry is over."""
    task = NewTask(id=str(uuid.uuid4()), name="mixed", queue=mixture.queue)
    store, backend = mixture.backend.store, mixture.backend
    assert store.change(unsent(backend, writes.create(task)), upsert=True)
    assert store.change(unsent(backend, claims.claim(task.id, _TAKING)))
    retry = store.change(writes.retry(task.id, None, due_in=_LEASE_SECONDS))
    assert retry is not None
    if is_sent:
        assert publish(mixture.app, retry)
    mixture.scan_much_later()
    assert [headers["id"] for headers in mixture.messages()] == [task.id]
    mixture.scan_much_later()
    assert mixture.messages() == []
    with_stock_workers = backend.collection.find(due.with_stock_workers(""), queries.ID_ONLY)
    assert [document[fields.ID] for document in with_stock_workers] == [task.id]
