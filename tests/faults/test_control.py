"""Cancelled, scheduled, created in numbers and deleted, while workers are away, killed or late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from databases import create_all
from fault_site import Site, Worker
from redis import Redis
from support import ROOT, Api, wait_until

from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.model import NewTask

pytestmark = pytest.mark.fault

_CANCEL = """
mutation ($id: ID!, $force: Boolean, $cascade: Boolean) {
  cancelTask(id: $id, reason: "not wanted", force: $force, cascade: $cascade) {
    task { status } userErrors { code field message }
  }
}
"""


_RESCHEDULE = """
mutation ($id: ID!, $time: DateTime!) { rescheduleTask(id: $id, scheduledFor: $time) { userErrors { message } } }
"""


def _cancel(api: Api, task_id: str, **options: bool) -> list[str]:
    errors = api.data(_CANCEL, id=task_id, **options)["cancelTask"]["userErrors"]
    return [error["code"] for error in errors]


def _messages(site: Site) -> int:
    with site.broker() as redis:
        return int(redis.llen("celery"))


def test_a_task_cancelled_while_no_worker_is_online_never_runs(site: Site) -> None:
    """QUEUED, SCHEDULED and RETRY end at once; their messages mean nothing to the workers that come."""
    api = site.api()
    first = site.worker("first")
    retried = site.send("retry_once", 3600.0)
    wait_until(lambda: site.task(retried).status is Status.RETRY)
    wait_until(lambda: site.takers() > 0)
    first.kill()
    wait_until(lambda: site.takers() == 0)
    queued = site.send("work", 0.0)
    scheduled = site.record("work", 0.0, scheduled_for=datetime.now(UTC) + timedelta(seconds=1))
    for task_id in (queued, scheduled, retried):
        assert _cancel(api, task_id) == []
        task = site.task(task_id)
        assert task.status is Status.REVOKED
        assert task.error is not None
        assert task.error.message == "not wanted"
    assert _messages(site) > 0
    site.worker("second")
    site.finished(site.send("work", 0.0))
    wait_until(lambda: _messages(site) == 0)
    site.wait_for_recovery(2)
    runs = site.runs("begin")
    assert [runs[task_id] for task_id in (queued, scheduled, retried)] == [0, 0, 1]


def test_a_cancelled_task_whose_worker_dies_is_not_run_again(site: Site) -> None:
    """The task was cancelled while it ran: the worker that finds its attempt lost revokes it."""
    api = site.api()
    worker = site.worker("first")
    task_id = site.send("work", 60.0)
    site.began(task_id)
    assert _cancel(api, task_id) == []
    worker.kill()
    site.worker("second")
    task = site.finished(task_id)
    assert (task.status, task.attempts) == (Status.REVOKED, 1)
    assert site.runs("begin")[task_id] == 1


def test_a_cancelled_task_that_is_handed_back_is_not_run_again(site: Site) -> None:
    """A cold shutdown requeues running tasks, but not cancelled ones."""
    api = site.api()
    worker = site.worker("first")
    task_id = site.send("work", 60.0)
    site.began(task_id)
    assert _cancel(api, task_id) == []
    worker.send(signal.SIGQUIT)
    assert site.finished(task_id).status is Status.REVOKED
    worker.wait()
    site.worker("second")
    site.finished(site.send("work", 0.0))
    assert site.runs("begin")[task_id] == 1


def test_a_task_that_begins_while_it_is_cancelled(site: Site) -> None:
    """A cancel request may come at any moment of a start: each task is REVOKED, or ran to its end."""
    api = site.api()
    site.worker("worker", "-c", "1")
    tasks = [site.send("work", 0.05, n) for n in range(60)]
    refused = {task_id for task_id in reversed(tasks) if "ALREADY_FINAL" in _cancel(api, task_id)}
    for task_id in tasks:
        task = site.finished(task_id)
        assert task.status is (Status.SUCCESS if task_id in refused or site.runs("end")[task_id] else Status.REVOKED)
        assert site.runs("begin")[task_id] == site.runs("end")[task_id]
    assert len(refused) < len(tasks)


def test_a_chord_hears_of_a_member_that_was_cancelled(site: Site) -> None:
    """A member that was cancelled before it began fails the body, as any member that fails."""
    api = site.api()
    site.worker("worker", "-c", "1")
    starter = site.send("start_chord", 2.0, 4)
    body = site.finished(starter).result
    members = site.store._connections.database()[fields.TASKS].find({fields.PARENT_ID: starter})  # noqa: SLF001
    last = max(members, key=lambda member: member[fields.CREATED_AT])[fields.ID]
    assert _cancel(api, last) == []
    assert site.task(last).status is Status.REVOKED
    wait_until(lambda: site.store.find(body), 30, "the body")
    task = site.finished(body)
    assert task.error is not None
    assert (task.status, task.error.type) == (Status.FAILURE, "ChordError")


def test_the_other_pools_cannot_be_forced(site: Site) -> None:
    """Threads cannot be ended from outside: the caller gets an error, and the task does not change."""
    api = site.api()
    site.worker("threads", "-P", "threads")
    task_id = site.send("until_cancelled")
    site.began(task_id)
    wait_until(lambda: "threads" in str(site.store._connections.database()[fields.WORKERS].find_one()))  # noqa: SLF001
    assert _cancel(api, task_id, force=True) == ["INVALID_INPUT"]
    assert site.task(task_id).cancel_requested_at is None
    assert _cancel(api, task_id) == []
    assert site.finished(task_id).status is Status.REVOKED


@pytest.mark.parametrize("terminate", [False, True])
def test_celerys_own_revoke_is_a_cancel(site: Site, *, terminate: bool) -> None:
    """``app.control.revoke`` ends a waiting task though no worker is online, and reaches a running one."""
    waiting = site.send("work", 0.0)
    _revoke(site, waiting, terminate=False)
    assert site.task(waiting).status is Status.REVOKED
    site.worker("worker")
    running = site.send("work", 60.0) if terminate else site.send("until_cancelled")
    site.began(running)
    _revoke(site, running, terminate=terminate)
    task = site.finished(running, 15)
    assert (task.status, task.attempts) == (Status.REVOKED, 1)
    site.finished(site.send("work", 0.0))
    assert site.runs("begin")[waiting] == 0


def _revoke(site: Site, task_id: str, *, terminate: bool) -> None:
    code = f"from jobs.celery import app; app.control.revoke({task_id!r}, terminate={terminate})"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **site.environment}, cwd=ROOT, check=True, timeout=30
    )


def test_ten_thousand_are_due_at_once(site: Site) -> None:
    """All of them are sent within seconds, each once, though two workers scan for them."""
    workers: list[Worker] = [site.worker(name, "-Q", "other") for name in ("first", "second")]
    # Later than the end of their creation, however long that takes.
    later = datetime.now(UTC) + timedelta(hours=1)
    tasks = [
        NewTask(id=f"due-{n}", name="fault_tasks.work", args=[0.0, n], scheduled_for=later, queue="celery")
        for n in range(10_000)
    ]
    collection = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - many at once
    collection.create_indexes(fields.INDEXES)
    create_all(collection, tasks)
    with site.broker() as redis:
        assert redis.llen("celery") == 0
        collection.update_many({}, {"$set": {fields.DUE_AT: datetime.now(UTC)}})
        began = time.monotonic()
        wait_until(lambda: redis.llen("celery") >= len(tasks), 60, "all of the messages")
        print(f"10,000 due tasks went out within {time.monotonic() - began:.1f} s")  # noqa: T201 - a figure for the docs
        site.wait_for_recovery(2)
        ids = [message.split('"id": "')[1].split('"')[0] for message in redis.lrange("celery", 0, -1)]
    assert len(ids) == len(set(ids)) == len(tasks)
    assert all(worker.process.poll() is None for worker in workers)


def test_what_is_rescheduled_goes_on_as_it_would_have(site: Site) -> None:
    """A chain whose first step was moved to an earlier time keeps its other steps."""
    api = site.api()
    site.worker("worker")
    first, last = site.finished(site.send("start_late_chain", 3600.0)).result
    assert site.task(first).status is Status.SCHEDULED
    payload = api.data(_RESCHEDULE, id=first, time=datetime.now(UTC).isoformat())["rescheduleTask"]
    assert payload["userErrors"] == []
    wait_until(lambda: site.store.find(last), 30, "the last step")
    assert site.finished(last).result == 2
    assert site.runs("begin")[first] == 1


def test_rescheduling_at_the_head_of_a_backlog(site: Site) -> None:
    """A task that is moved to later and back leaves an old message behind, by which no other is taken for lost."""
    api = site.api()
    end = site.folder / "end"
    site.worker("worker", "-c", "1")
    blocker = site.send("hold", str(end))
    site.began(blocker)
    tasks = [site.send("work", 0.0, n) for n in range(50)]
    # Long enough that the others began to wait clearly before what is moved now.
    site.wait_for_recovery(4)
    for time_ in (datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC)):
        for task_id in tasks[:3]:
            api.data(_RESCHEDULE, id=task_id, time=time_.isoformat())
    site.wait_for_recovery(4)
    assert not site.task(blocker).is_final
    with site.broker() as redis:
        assert redis.llen("celery") <= len(tasks) + 4
    end.touch()
    for task_id in tasks:
        assert site.finished(task_id).attempts == 1


def test_a_deleted_task_is_not_revived(site: Site) -> None:
    """A message that turns up after its task was deleted runs nothing and makes no record."""
    site.worker("worker")
    task_id = site.send("work", 0.0)
    record = site.finished(task_id)
    site.store.delete([task_id])
    assert site.store.find(task_id) is None
    site.publish_message(record)
    site.finished(site.send("work", 0.0))
    wait_until(lambda: _messages(site) == 0)
    assert site.store.find(task_id) is None
    assert site.runs("begin")[task_id] == 1


def test_a_frozen_worker_does_not_revive_a_deleted_task(site: Site) -> None:
    """A result that comes after the task ended elsewhere and was deleted is dropped."""
    go = site.folder / "go"
    frozen = site.worker("frozen")
    task_id = site.send("hold", str(go))
    site.began(task_id)
    frozen.signal_all(signal.SIGSTOP)
    go.touch()
    site.worker("awake")
    site.finished(task_id)
    site.store.delete([task_id])
    frozen.signal_all(signal.SIGCONT)
    wait_until(lambda: site.runs("end")[task_id] == 2)
    wait_until(lambda: b"is not this attempt's any more" in frozen.log.read_bytes())
    assert site.store.find(task_id) is None


def test_what_is_kept_long_enough_is_deleted(site: Site) -> None:
    """With RETENTION_DAYS workers delete tasks that ended longer ago, announce that, and leave the rest alone."""
    site.worker("first")
    old, young = (site.finished(site.send("work", 0.0)).id for _ in range(2))
    long_ago = datetime.now(UTC) - timedelta(days=2)
    site.store._connections.database()[fields.TASKS].update_one(  # noqa: SLF001 - time itself
        {fields.ID: old}, {"$set": {fields.CREATED_AT: long_ago, fields.FINISHED_AT: long_ago}}
    )
    waiting = site.record("work", 0.0, scheduled_for=datetime.now(UTC) + timedelta(hours=1))
    # Events are not text.
    with Redis.from_url(site.redis_url) as redis, redis.pubsub() as subscriber:
        subscriber.psubscribe(site.store._connections.channels.all_tasks)  # noqa: SLF001 - of the deployment
        site.worker("second", environment={"RETENTION_DAYS": "1"})
        wait_until(lambda: site.store.find(old) is None)
        wait_until(lambda: old in str(subscriber.get_message()))
    assert site.task(young).status is Status.SUCCESS
    assert site.task(waiting).status is Status.SCHEDULED
    tombstones = site.store._connections.database()[fields.TOMBSTONES]  # noqa: SLF001 - what is left of it
    assert [document[fields.ID] for document in tombstones.find()] == [old]


def test_priorities_and_queues_outlive_their_messages(site: Site) -> None:
    """A task keeps its priority and its queue when it is sent again because Redis lost it, and 0 goes first."""
    tasks = [site.record("work", 0.0, n, queue="special", priority=9 - n) for n in range(10)]
    holder = site.worker("holder", "-c", "1", "-Q", "celery")
    with site.broker() as redis:
        wait_until(lambda: sum(redis.llen(_list(n)) for n in range(10)) == 10, 30, "all to be sent again")
        redis.flushall()
        wait_until(lambda: sum(redis.llen(_list(n)) for n in range(10)) == 10, 30, "all to be sent once more")
    holder.kill()
    site.worker("worker", "-c", "1", "-Q", "special")
    for task_id in tasks:
        site.finished(task_id)
    order = [line.split()[1] for line in (site.folder / "executions").read_text().splitlines() if "begin" in line]
    # The worker may have taken the first before it read the other lists.
    assert order[1:] == [task_id for task_id in reversed(tasks) if task_id != order[0]]


def _list(priority: int) -> str:
    return f"special\x06\x16{priority}" if priority else "special"
