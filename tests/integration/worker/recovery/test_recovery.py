from __future__ import annotations

import contextlib
import functools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import chain, chord
from ports import free_port
from pymongo import MongoClient
from recovery_bench import HOUR_MS, LEASE_SECONDS, MAX_LOST_WORKERS, Bench, SteadyRecovery, recovery_bench
from support import process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, is_listening
from gql_api.record import fields
from gql_api.record.fields import VERSION_HEADER, Status
from gql_api.settings import Settings
from gql_api.worker.backend.messages import SENT_AT_HEADER
from gql_api.worker.recovery import leader_lock
from gql_api.worker.recovery.recovery import Recovery

# Several batches, the last of which is not full.
_MANY = 1_700


@contextlib.contextmanager
def _repeated(call: Callable[[], object]) -> Iterator[None]:
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.05):
            call()

    thread = threading.Thread(target=repeat)
    thread.start()
    yield
    over.set()
    thread.join()


def test_all_lost_messages_come_back_at_once(bench: Bench) -> None:
    """Scans send all of them again, each once, in the order in which the tasks were queued."""
    ids = bench.create(_MANY)
    recovery = bench.recovery()
    bench.scan(recovery)
    assert bench.queued() == ids


def test_lost_messages_come_back_once_from_many_workers(bench: Bench) -> None:
    """Workers that scan again and again at the same time send no message twice."""
    ids = bench.create(_MANY)
    for recovery in [bench.recovery() for _ in range(3)]:
        bench.workers.enter_context(_repeated(functools.partial(bench.scan, recovery)))
    wait_until(lambda: bench.redis.llen(bench.queue) >= len(ids), 30)
    bench.scan(bench.recovery())
    assert sorted(bench.queued()) == sorted(ids)


def test_a_message_that_was_sent_again_shows_when(bench: Bench) -> None:
    """A task that was queued before all others, and was sent again, does not hide that their messages are lost."""
    first, *lost = bench.create(3)
    bench.send_again(first)
    bench.scan(bench.recovery())
    assert bench.queued() == [first, *lost]


@pytest.mark.parametrize("status", [Status.REVOKED, Status.RETRY, Status.STARTED])
def test_a_task_that_does_not_wait_hides_no_lost_message(bench: Bench, status: Status) -> None:
    """A task was created after messages were lost, and does not wait any more: its message shows that they are."""
    lost, [head] = bench.create(2), bench.create(1)
    later = {"$add": ["$$NOW", HOUR_MS]}
    bench.send_as_a_caller(head)
    change = {fields.STATUS: status, fields.CREATED_AT: "$$NOW", fields.DUE_AT: later}
    bench.backend.collection.update_one({"_id": head}, [{"$set": change}])
    bench.scan(bench.recovery())
    assert bench.queued() == [head, *lost]


def test_a_queue_that_takes_no_message_breaks_no_contact(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The lost messages of another queue are sent all the same, and the log names some of the tasks."""
    refused, lost, other = bench.create(20), bench.create(2), f"q-{uuid.uuid4()}"
    state = {fields.STATUS: Status.SCHEDULED, fields.QUEUE: other}
    bench.backend.collection.update_many({"_id": {"$in": refused}}, {"$set": state})
    bench.redis.set(other, "not a list")
    bench.scan(bench.recovery())
    assert bench.queued() == lost
    [line] = [line for line in caplog.messages if "did not take" in line]
    assert [line.count(task_id) for task_id in refused] == [1] * 10 + [0] * 10


def test_a_search_that_takes_too_long_is_ended(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB ends it before the connection does, and the rest of the scan is done."""
    # In any other program, each command has a limit.
    monkeypatch.setattr("gql_api.worker.store.connections.is_worker", lambda: True)
    server = MongodbServer(tmp_path / "mongodb", free_port())
    command = [*server.command(tmp_path / "mongod.log"), "--setParameter=enableTestCommands=1"]
    with process(command, tmp_path / "log"):
        wait_until(lambda: is_listening(server.port))
        server.initiate()
        own = settings.model_copy(update={"mongodb_url": server.url})
        with recovery_bench(own) as bench, MongoClient[dict[str, object]](server.url) as client:
            bench.create(2)
            recovery = bench.recovery()
            # It ends the commands that have a limit.
            client.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="alwaysOn")
            bench.scan(recovery)
            assert bench.queued() == []
            assert any("did not find lost messages" in line for line in caplog.messages)
            client.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="off")
            bench.scan(recovery)
            assert len(bench.queued()) == 2


def test_an_honest_backlog_with_messages_sent_again(bench: Bench) -> None:
    """Tasks with two messages, among those with one, make no other task look lost until their second one is next."""
    ids = bench.create(6)
    bench.send_as_a_caller(*ids)
    bench.send_again(ids[0])
    bench.send_again(ids[3])
    recovery = bench.recovery()
    for taken in range(len(ids)):
        bench.scan(recovery)
        assert bench.queued() == [*ids[taken:], ids[0], ids[3]]
        assert bench.take_message() == ids[taken]
        # As a worker does: the task is not queued any more.
        bench.start([ids[taken]], **{fields.DUE_AT: None})
    bench.scan(recovery)
    assert bench.queued() == [ids[0], ids[3]]


def test_a_retry_has_no_time_of_the_message_before(bench: Bench) -> None:
    """Celery sends a retry with the headers of its request, and the time in them is another message's."""
    headers = {SENT_AT_HEADER: "2026-01-01T00:00:00+00:00", "mine": 1}
    task_id = bench.app.tasks["job"].apply_async(queue=bench.queue, headers=headers).id
    sent = json.loads(bench.redis.rpop(bench.queue))["headers"]  # type: ignore[arg-type] # not None, and not awaitable
    assert (sent["id"], sent["mine"], SENT_AT_HEADER in sent) == (task_id, 1, False)
    kept = bench.find(task_id)[0].message.headers
    assert kept == {"mine": 1, "ignore_result": False, VERSION_HEADER: sent[VERSION_HEADER]}


def test_each_priority_is_a_queue(bench: Bench) -> None:
    """A lost message returns to its priority; the messages of the other priorities say nothing about it."""
    honest, lost = bench.create(2), bench.create(2, priority=5)
    bench.send_as_a_caller(*honest)
    bench.scan(bench.recovery())
    assert (bench.queued(), bench.queued(5)) == (honest, lost)


def test_nothing_is_lost_before_contact_has_lasted(bench: Bench) -> None:
    """A worker that has just found MongoDB and the broker waits, for others may have to claim what they hold."""
    [waiting, started] = bench.create(2)
    bench.start([started])
    recovery = SteadyRecovery(bench.app, bench.backend)
    recovery.contacts.ask_store()
    recovery.contacts.ask_broker()
    bench.scan(recovery)
    assert bench.queued() == []
    recovery.keep_contact()
    recovery.contacts.broker.note_failure()
    bench.scan(recovery)
    assert bench.queued() == [started]
    recovery.keep_contact()
    recovery.contacts.store.note_failure()
    bench.scan(recovery)
    assert bench.queued() == [started]
    recovery.keep_contact()
    bench.scan(recovery)
    assert sorted(bench.queued()) == sorted([waiting, started])


def test_due_tasks_wait_while_the_broker_is_away(bench: Bench) -> None:
    """A task that is due stays SCHEDULED, and is sent as soon as the broker answers."""
    [task_id] = bench.create(1)
    bench.backend.collection.update_one({"_id": task_id}, {"$set": {fields.STATUS: Status.SCHEDULED}})
    recovery = bench.recovery()
    recovery.contacts.broker.note_failure()
    bench.scan(recovery)
    assert bench.find(task_id)[0].status is Status.SCHEDULED
    recovery.contacts.ask_broker()
    bench.scan(recovery)
    assert bench.queued() == [task_id]


def test_all_lost_attempts_are_given_back_at_once(bench: Bench) -> None:
    """One scan queues all of them again, and ends those that were cancelled or have lost too many workers."""
    ids = bench.create(_MANY)
    bench.start(ids)
    cancelled, poison = bench.create(1), bench.create(1)
    bench.start(cancelled, **{fields.CANCEL_REQUESTED_AT: bench.find(*cancelled)[0].created_at})
    bench.start(poison, **{fields.LOST_WORKERS: MAX_LOST_WORKERS - 1})
    unlucky = bench.create(1)
    bench.start(unlucky, **{fields.LOST_ATTEMPTS: 99})
    bench.scan(bench.recovery())
    queued = bench.queued()
    assert ([each for each in queued if each not in unlucky], len(queued)) == (ids, len(ids) + 1)
    lost = {(record.status, record.lost_workers, record.lost_attempts) for record in bench.find(*ids)}
    assert lost == {(Status.QUEUED, 1, 0)}
    assert bench.find(*cancelled)[0].status is Status.REVOKED
    assert bench.find(*poison)[0].status is Status.FAILURE


def test_all_expired_tasks_are_revoked_at_once(bench: Bench) -> None:
    """One scan revokes all tasks that were not started in time, whether MongoDB has answered for long or not."""
    ids = bench.create(_MANY)
    bench.backend.collection.update_many({}, [{"$set": {fields.EXPIRES_AT: "$$NOW"}}])
    Recovery(bench.app, bench.backend, threading.Event()).scan()
    records = bench.find(*ids)
    assert {record.status for record in records} == {Status.REVOKED}
    assert {record.error and record.error.message for record in records} == {"expired"}


def test_an_expensive_search_is_postponed(bench: Bench) -> None:
    """A lock that was postponed is taken by no worker before its time."""
    now, lease = bench.find(*bench.create(1))[0].updated_at, timedelta(seconds=1)
    assert leader_lock.take(bench.backend, "search", now, lease)
    assert not leader_lock.take(bench.backend, "search", now + lease / 2, lease)
    leader_lock.postpone(bench.backend, "search", 9 * lease)
    assert not leader_lock.take(bench.backend, "search", now + 9 * lease, lease)
    assert leader_lock.take(bench.backend, "search", now + 10 * lease, lease)


def test_what_follows_a_revoked_task_ends_though_no_worker_knows_its_function(bench: Bench) -> None:
    """The step of a chain and the body of a chord end; a worker that knows the functions has one lease to do that."""
    gone = functools.partial(bench.app.signature, "gone", queue=bench.queue)
    step, body = gone().set(task_id=str(uuid.uuid4())), gone().set(task_id=str(uuid.uuid4()))
    first = chain(gone(), step, app=bench.app).apply_async().parent.id
    members = [member.id for member in chord([gone(), gone()], app=bench.app)(body).parent]
    revoked, later = [first, *members], [step.id, body.id]
    bench.app.control.revoke(revoked)
    recovery = bench.recovery()
    bench.scan(recovery)
    assert {record.id for record in bench.backend.store.find_all(later) if record.is_final} == set()
    overdue = [{"$set": {fields.DUE_AT: {"$subtract": ["$$NOW", 1000 * (LEASE_SECONDS + 1)]}}}]
    bench.backend.collection.update_many({"_id": {"$in": revoked}}, overdue)
    bench.scan(recovery)
    assert [record.status for record in bench.find(*later)] == [Status.REVOKED, Status.FAILURE]
    assert bench.backend.collection.count_documents({"_id": {"$in": revoked}, fields.DUE_AT: {"$exists": True}}) == 0
