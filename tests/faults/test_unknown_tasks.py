"""Workers that receive tasks that they do not know, beside workers that do, and alone."""

from __future__ import annotations

import base64
import json
import signal
import time
import uuid
import zlib
from datetime import datetime
from typing import Any

import pytest
from fault_site import Site, Worker
from proxy import Mode, Proxy
from pymongo import MongoClient
from support import wait_until

from gql_api.cli.embedded_servers import HOST
from gql_api.record import control, writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.worker.backend.messages import HOPS_HEADER, SENT_AT_HEADER

pytestmark = pytest.mark.fault

_BUNDLED = "long_running_task"
_PRIORITY_7 = "celery\x06\x167"


def _ignorant(site: Site, *options: str, **environment: str) -> Worker:
    """Start a worker that knows the bundled task function only."""
    return site.worker("ignorant", *options, environment={"TASK_MODULES": "jobs.tasks", **environment})


def _all_messages(site: Site) -> list[dict[str, Any]]:
    """Read the messages that wait in the queue or on a worker, as they are at one moment."""
    with site.broker() as redis, redis.pipeline() as pipeline:
        pipeline.lrange("celery", 0, -1).lrange(_PRIORITY_7, 0, -1).hvals("unacked")
        queued, urgent, taken = pipeline.execute()
    return [*map(json.loads, [*queued, *urgent]), *(json.loads(text)[0] for text in taken)]


def _messages(site: Site) -> dict[str, dict[str, Any]]:
    return {message["headers"].get("id"): message for message in _all_messages(site)}


def _has_copies(site: Site) -> bool:
    ids = [message["headers"]["id"] for message in _all_messages(site)]
    return len(ids) > len(set(ids))


def _hops(site: Site) -> dict[str, int]:
    return {task_id: message["headers"].get(HOPS_HEADER, 0) for task_id, message in _messages(site).items()}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_a_worker_leaves_what_it_does_not_know_to_one_that_does(site: Site, pool: str) -> None:
    """Of two workers on one queue only one knows a function: it runs all of its tasks, each once."""
    _ignorant(site, "-P", pool)
    site.worker("able", "-P", pool)
    tasks = [site.send("work", 0.02, n) for n in range(40)]
    # Their sender made no records.
    unrecorded = [NewTask(id=str(uuid.uuid4()), name="fault_tasks.work", args=[0.0, n], queue="celery") for n in (1, 2)]
    site.dispatcher.publish(unrecorded)
    for number, task_id in enumerate(tasks):
        task = site.finished(task_id)
        assert (task.status, task.result, task.attempts) == (Status.SUCCESS, number, 1)
        assert [entry.status for entry in task.history] == [Status.QUEUED, Status.STARTED, Status.SUCCESS]
    wait_until(lambda: all((found := site.store.find(task.id)) and found.is_final for task in unrecorded))
    assert all(site.runs("begin")[task_id] == 1 for task_id in [*tasks, *(task.id for task in unrecorded)])


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_task_that_no_worker_knows_waits_for_one_that_does(site: Site, pool: str) -> None:
    """The task stays QUEUED, its message goes around slower and slower, and a worker that knows it runs it at once."""
    sent_at = time.monotonic()
    tasks = [site.send("work", 0.0, n) for n in range(20)]
    _ignorant(site, "-P", pool)
    # More tasks wait than the worker has processes, and do not keep it from others.
    known = NewTask(id=str(uuid.uuid4()), name=_BUNDLED, args=["x", 0.0], queue="celery")
    assert site.store.change(writes.create(known), upsert=True)
    site.dispatcher.publish([known])
    assert site.finished(known.id, 10).status is Status.SUCCESS
    wait_until(lambda: (hops := _hops(site)).keys() == set(tasks) and min(hops.values()) >= 5)
    # At least half of 0.1 + 0.2 + 0.4 + 0.8 seconds, and of half a lease.
    assert max(_hops(site).values()) <= 5 or time.monotonic() - sent_at > 1.25
    for task_id in tasks:
        task = site.task(task_id)
        assert (task.status, task.revision, task.attempts) == (Status.QUEUED, 1, 0)
    site.worker("able")
    ready_at = time.monotonic()
    assert [site.finished(task_id).result for task_id in tasks] == list(range(20))
    assert time.monotonic() - ready_at < 10


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_loses_no_message_that_it_does_not_know(site: Site, number: signal.Signals) -> None:
    """Messages that wait on a worker when it is killed or stopped run on another one."""
    worker = _ignorant(site)
    tasks = [site.send("work", 0.0, n) for n in range(20)]
    wait_until(lambda: (hops := _hops(site)).keys() == set(tasks) and min(hops.values()) >= 2)
    worker.signal_all(signal.SIGKILL) if number is signal.SIGKILL else worker.send(number)
    worker.wait()
    if number is signal.SIGTERM:
        with site.broker() as redis:
            assert (redis.llen("celery"), redis.hlen("unacked")) == (20, 0)
    site.worker("able")
    assert [site.finished(task_id).result for task_id in tasks] == list(range(20))
    assert all(site.runs("begin")[task_id] == 1 for task_id in tasks)


def test_messages_of_ended_tasks_do_not_go_around(site: Site) -> None:
    """The message of a task that was cancelled, or deleted since, is dropped by a worker that does not know it."""
    cancelled, deleted, waiting = (site.send("work", 0.0) for _ in range(3))
    for task_id in (cancelled, deleted):
        assert site.store.change(control.cancel_waiting(task_id, "not wanted"))
    site.store.delete([deleted])
    sent_at = site.task(waiting).due_at
    assert sent_at is not None
    _ignorant(site)
    wait_until(lambda: _hops(site).get(waiting, 0) >= 3)
    wait_until(lambda: not {cancelled, deleted} & _messages(site).keys())
    # To recovery the message is as new as its place in the queue.
    message = wait_until(lambda: _messages(site).get(waiting))
    assert message is not None
    assert datetime.fromisoformat(message["headers"][SENT_AT_HEADER]) > sent_at


def test_a_forwarded_message_is_the_same(site: Site) -> None:
    """A message comes back to its queue and priority with the body, headers and properties of its sender."""
    task_id = str(uuid.uuid4())
    with site.broker() as redis:
        site.dispatcher.publish([NewTask(id=task_id, name="fault_tasks.work", args=["é"], queue="celery", priority=7)])
        sent = json.loads(redis.lpop(_PRIORITY_7))
        sent["body"] = base64.b64encode(zlib.compress(base64.b64decode(sent["body"]))).decode()
        sent["headers"]["compression"] = "application/x-gzip"
        sent["headers"]["tenant"] = "north"
        sent["properties"]["reply_to"] = "nobody"
        redis.lpush(_PRIORITY_7, json.dumps(sent))
    _ignorant(site)
    wait_until(lambda: _hops(site).get(task_id, 0) >= 2)
    back = wait_until(lambda: _messages(site).get(task_id))
    assert back is not None
    assert back["headers"].pop(HOPS_HEADER) >= 2
    for message in (back, sent):
        del message["properties"]["delivery_tag"]
    assert back == sent


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_messages_go_around_through_outages(site: Site, pool: str) -> None:
    """Redis and MongoDB are away while messages wait on a worker that does not know them: it goes on, and all run."""
    _ignorant(site, "-P", pool)
    tasks = [site.send("work", 0.0, n) for n in range(5)]
    wait_until(lambda: (hops := _hops(site)).keys() == set(tasks) and min(hops.values()) >= 2)
    site.restart_redis()
    site.mongodb.kill()
    seen = _hops(site)
    site.mongodb.start()
    wait_until(lambda: sum(_hops(site).values()) > sum(seen.values()) + 2, 40)
    site.worker("able")
    assert [site.finished(task_id, 60).result for task_id in tasks] == list(range(5))
    assert all(site.runs("begin")[task_id] == 1 for task_id in tasks)


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_messages_do_not_multiply_when_connections_are_cut(site: Site, pool: str) -> None:
    """Messages that wait on a worker while its connections are cut go around without copies, and all run once."""
    with (site.folder / "proxy.log").open("wb") as log, Proxy({"redis": site.redis.port}, log) as proxy:
        _ignorant(site, "-P", pool, CELERY_BROKER_URL=f"redis://{HOST}:{proxy.port('redis')}/0")
        # Their sender made no records, so that only the messages keep them.
        tasks = [NewTask(id=str(uuid.uuid4()), name="fault_tasks.work", args=[0.0], queue="celery") for _ in range(50)]
        site.dispatcher.publish(tasks)
        for _ in range(cuts := 4):
            seen = sum(_hops(site).values())
            wait_until(lambda seen=seen: sum(_hops(site).values()) > seen + 50)  # type: ignore[misc] # a loop variable
            with site.broker() as redis:
                wait_until(lambda redis=redis: redis.hlen("unacked") > 30)  # type: ignore[misc] # a loop variable
            proxy.set("redis", Mode.DROP)
            proxy.set("redis", Mode.OK)
        assert not _has_copies(site)
        site.worker("able")
        # A message that is under way to the worker at the cut waits until kombu restores it.
        wait_until(lambda: len(site.runs("end")) >= len(tasks) - cuts, 60)
        wait_until(lambda: len(_all_messages(site)) <= cuts)
        assert set(site.runs("begin").values()) == {1}


def test_recovery_does_not_take_waiting_messages_for_lost(site: Site) -> None:
    """A message waits on a worker for less than a lease, so that recovery elsewhere sends no copies of it."""
    # It recovers the tasks that it knows, but takes none from their queue.
    site.worker("able", "-Q", "elsewhere")
    tasks = [site.send("work", 0.0, n) for n in range(20)]
    _ignorant(site)
    wait_until(lambda: (hops := _hops(site)).keys() == set(tasks) and min(hops.values()) >= 8, 60)
    site.wait_for_recovery(2)
    assert not _has_copies(site)


def test_waiting_messages_cost_few_writes(site: Site) -> None:
    """Messages that come due one after the other are forwarded together."""
    with MongoClient[dict[str, Any]](site.mongodb.url) as client:

        def updates() -> int:
            return int(client.admin.command("serverStatus")["opcounters"]["update"])

        tasks = [site.send("work", 0.0, n) for n in range(100)]
        _ignorant(site)
        wait_until(lambda: (hops := _hops(site)).keys() == set(tasks) and min(hops.values()) >= 5)
        began, before = time.monotonic(), updates()
        wait_until(lambda: min(_hops(site).values()) >= 9)
        # At most ten per second, and those of heartbeats and of recovery, which scans three times a second here. One by
        # one, each message would cost one in half a lease: a hundred per second.
        assert (updates() - before) / (time.monotonic() - began) < 40


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_messages_that_no_celery_program_sends(site: Site, pool: str) -> None:
    """A worker sets messages without an id or a name aside, goes on, and forwards those of unknown functions."""
    worker = _ignorant(site, "-P", pool)
    site.dispatcher.publish([NewTask(id="there", name="x.y", args=[], queue="celery")])
    sent = wait_until(lambda: _messages(site).get("there"))
    assert sent is not None
    names: list[dict[str, Any]] = [{"task": "x.y"}, {"task": "x.y", "id": None}, {"task": "celery.x"}, {"task": 5}]
    with site.broker() as redis:
        for headers in names:
            for body in ("[[], {}, {}]", '"text"', "null", "{}", "}"):
                content = base64.b64encode(body.encode()).decode()
                properties = {**sent["properties"], "delivery_tag": str(uuid.uuid4())}
                hostile = {**sent, "headers": headers, "body": content, "properties": properties}
                redis.lpush("celery", json.dumps(hostile))
    known = NewTask(id=str(uuid.uuid4()), name=_BUNDLED, args=["x", 0.0], queue="celery")
    assert site.store.change(writes.create(known), upsert=True)
    site.dispatcher.publish([known])
    assert site.finished(known.id).status is Status.SUCCESS
    hops = wait_until(lambda: _hops(site).get("there", 0))
    wait_until(lambda: _hops(site).get("there", 0) > hops + 1)
    assert worker.process.poll() is None
    # The one that could be a task for another worker is still there, once.
    wait_until(lambda: len(_all_messages(site)) == 1)
    with site.broker() as redis:
        assert redis.llen("gql-api:rejected:celery") == len(names) * 5
    assert b"Unrecoverable error" not in worker.log.read_bytes()
