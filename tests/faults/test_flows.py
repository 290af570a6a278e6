"""Retries, replacements, chains, chords and times, while workers die around them."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery, chain
from fault_site import LEASE_SECONDS, Site
from support import wait_until

from gql_api.record import fields, queries
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault


def test_a_retry_outlives_its_worker(site: Site) -> None:
    """A retry with a countdown is in MongoDB, not in a worker's memory: any worker runs it when it is due."""
    first = site.worker("first")
    task_id = site.send("retry_once", 3.0)
    wait_until(lambda: site.task(task_id).status is Status.RETRY)
    first.kill()
    with site.broker() as redis:
        redis.flushall()
    site.worker("second")
    task = site.finished(task_id)
    assert (task.result, task.attempts, site.runs("begin")[task_id]) == ("retried", 2, 2)
    # By MongoDB's clock: the test may see the retry late.
    retried_at = next(entry.at for entry in task.history if entry.status is Status.RETRY)
    assert task.started_at is not None
    assert (task.started_at - retried_at).total_seconds() >= 2.99


def test_a_replacement_outlives_its_worker(site: Site) -> None:
    """A task that let a chain do its work ends under its own id, though the chain's worker is killed twice."""
    first = site.worker("first")
    task_id = site.send("replace_me", 1.5)
    site.began(task_id)
    wait_until(lambda: len(site.runs("begin")) == 2, why="the first step of the replacement")
    first.kill()
    second = site.worker("second")
    wait_until(lambda: site.runs("begin")[task_id] >= 2, 30, "the replacement with the task's own id")
    second.kill()
    site.worker("third")
    task = site.finished(task_id)
    assert (task.status, task.result) == (Status.SUCCESS, "replaced")


def test_a_chain_and_a_chord_outlive_their_workers(site: Site) -> None:
    """Each step of a chain runs to the end, and the body of a chord gets each member's result once."""
    first, go = site.worker("first"), site.folder / "go"
    first_step, last_step = site.finished(site.send("start_chain", str(go))).result
    site.began(first_step)
    first.kill()
    go.touch()
    second = site.worker("second")
    body = site.finished(site.send("start_chord", 0.5, 6)).result
    wait_until(lambda: sum(site.runs("end").values()) >= 6, 30)
    second.kill()
    site.worker("third")
    wait_until(lambda: site.store.find(last_step), 30)
    assert site.finished(last_step).result == 3
    wait_until(lambda: site.store.find(body), 30)
    assert site.finished(body).result == sum(range(6))
    assert site.runs("end")[body] == 1


@pytest.mark.parametrize("noted", [False, True], ids=["before it is noted", "before it is counted"])
def test_a_chord_whose_last_member_dies_before_it_sends_the_body(site: Site, noted: bool) -> None:
    """Between a member's end and the body's message a worker may die: recovery completes the chord."""
    site.worker("first")
    starter = site.send("start_chord", 0.0, 3)
    body = site.finished(starter).result
    wait_until(lambda: site.store.find(body))
    site.finished(body)
    database = site.store._connections.database()  # noqa: SLF001 - the fault itself
    # It is closed after its body is sent, and the body may end before that.
    wait_until(lambda: database[fields.CHORDS].count_documents({"done": True}), why="the chord to be closed")
    # As if the worker that finished the last member had died right after it stored the end, or noted the member.
    database[fields.TASKS].delete_one(queries.by_id(body))
    if not noted:
        database[fields.CHORD_PARTS].delete_one({"index": 2})
    database[fields.CHORDS].update_many({}, {"$set": {"finished": 2, "done": False}})
    wait_until(lambda: site.store.find(body), 30)
    assert site.finished(body).result == 3


def test_a_chord_member_that_ignores_its_result_dies_before_it_is_counted(site: Site) -> None:
    """Its result is stored with its end, so the body gets it, and is dropped once the body is sent."""
    site.worker("worker")
    body = site.finished(site.send("start_chord_of_dying", 3)).result
    wait_until(lambda: site.store.find(body), 30)
    task = site.finished(body)
    assert (task.result, site.runs_of("return_and_die"), site.runs("begin")[body]) == (3, 3, 1)
    tasks = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - what no client sees
    wait_until(lambda: not tasks.count_documents({fields.CHORD_RESULT: {"$exists": True}}))


def test_what_is_to_start_later_is_in_no_queue(site: Site) -> None:
    """A scheduled task is kept by MongoDB alone, and sent when it is due by the database's clock."""
    site.worker("worker")
    # Later than anything below, which may take its time.
    much_later = datetime.now(UTC) + timedelta(hours=1)
    tasks = [site.record("work", 0.0, n, scheduled_for=much_later) for n in range(50)]
    assert all(site.task(task_id).status is Status.SCHEDULED for task_id in tasks)
    with site.broker() as redis:
        assert redis.llen("celery") == 0
    due = datetime.now(UTC) + timedelta(seconds=2)
    collection = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - time itself
    collection.update_many({}, {"$set": {fields.DUE_AT: due}})
    for task_id in tasks:
        task = site.finished(task_id)
        assert task.started_at is not None
        assert task.started_at >= due - timedelta(milliseconds=10)
        assert task.attempts == 1
    assert set(site.runs("begin").values()) == {1}


def test_a_task_that_is_too_late_is_revoked(site: Site) -> None:
    """A task that no worker took in time never runs, whether a worker meets its message or all are busy."""
    soon = datetime.now(UTC) + timedelta(seconds=1)
    met = site.send("work", 0.0, "late", expires_at=soon)
    wait_until(lambda: datetime.now(UTC) > soon)
    end = site.folder / "end"
    site.worker("worker", "-c", "1")
    assert site.finished(met).status is Status.REVOKED
    busy = site.send("hold", str(end))
    site.began(busy)
    unmet = site.send("work", 0.0, "late", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    task = site.finished(unmet)
    assert not site.task(busy).is_final
    assert task.status is Status.REVOKED
    assert task.error is not None
    assert task.error.message == "expired"
    end.touch()
    site.finished(busy)
    assert set(site.runs("begin")) == {busy}


def test_a_chain_from_an_app_without_records_goes_on(site: Site) -> None:
    """A chain from plain Celery keeps its callbacks when the worker of its first step is killed."""
    go = site.folder / "go"
    first = site.worker("first")
    elsewhere = Celery("elsewhere", broker=site.redis_url, set_as_current=False)
    steps = [elsewhere.signature("fault_tasks.hold", (str(go), n), immutable=True) for n in (1, 2)]
    last = chain(*steps, app=elsewhere).apply_async()
    site.began(last.parent.id)
    first.kill()
    go.touch()
    site.worker("second")
    wait_until(lambda: site.store.find(last.id), 30)
    assert site.finished(last.id).result == 2
    assert site.task(last.parent.id).attempts == 2
    elsewhere.close()


def test_a_single_replacement_that_the_broker_lost_is_sent_again(site: Site) -> None:
    """A task replaced by another function, now or later, ends though Redis forgets the message of the replacement."""
    first = site.worker("first")
    tasks = [site.send("replace_by_work", countdown) for countdown in (0.0, 2.0)]
    for task_id in tasks:
        site.began(task_id)
    wait_until(lambda: all(site.task(task_id).status in {Status.QUEUED, Status.SCHEDULED} for task_id in tasks))
    first.kill()
    with site.broker() as redis:
        redis.flushall()
    site.worker("second", "-Q", "celery,nobody")
    for task_id in tasks:
        task = site.finished(task_id)
        assert (task.name, task.result) == ("fault_tasks.replace_by_work", "by work")


def test_a_worker_two_hours_ahead_takes_nothing(site: Site) -> None:
    """Leases are by the database's clock: a worker that is ahead neither takes tasks over nor runs them early."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    site.worker("right")
    tasks = [site.send("work", 4 * LEASE_SECONDS, n) for n in range(2)]
    for task_id in tasks:
        site.began(task_id)
    # Waiting is by the monotonic clock, which no wrong clock changes.
    site.worker("ahead", under=["faketime", "-f", "+2h"], environment={"FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    later = site.record("work", 0.0, scheduled_for=datetime.now(UTC) + timedelta(hours=1))
    after = site.send("work", 0.0)
    site.finished(after)
    for task_id in tasks:
        assert site.finished(task_id).attempts == 1
    assert site.task(later).status is Status.SCHEDULED
    assert set(site.runs("begin").values()) == {1}


@pytest.mark.parametrize("limit", ["soft", "hard"])
def test_a_function_that_returned_in_time_is_a_success(site: Site, limit: str) -> None:
    """A time limit that passes while the result cannot be stored does not fail the task."""
    site.worker("worker")
    task_id = site.send(f"return_before_{limit}_limit", str(site.folder / "go"))
    site.began(task_id)
    site.mongodb.kill()
    (site.folder / "go").touch()
    wait_until(lambda: site.runs("end")[task_id])
    time.sleep(5.0)  # the limit passes
    site.mongodb.start()
    task = site.finished(task_id, 60)
    assert (task.result, task.attempts) == ("in time", 1)


def test_a_hard_time_limit_ends_a_function(site: Site) -> None:
    """A function that runs too long is ended with its process, once, and its worker goes on."""
    site.worker("worker", "-c", "1")
    task_id = site.send("runaway")
    task = site.finished(task_id)
    assert task.error is not None
    assert (task.status, task.error.type, task.attempts) == (Status.FAILURE, "TimeLimitExceeded", 1)
    assert site.finished(site.send("work", 0.0)).status is Status.SUCCESS
    assert site.runs("begin")[task_id] == 1


def test_a_hard_time_limit_is_for_its_own_task_only(site: Site) -> None:
    """A limit does not outlive its function: the next function of the same process has no limit."""
    site.worker("worker", "-c", "1")
    for _ in range(3):
        site.finished(site.send("short"))
    task = site.finished(site.send("work", 3.0, "unlimited"))
    assert (task.result, task.attempts) == ("unlimited", 1)


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_other_pools_hold_their_tasks(site: Site, pool: str) -> None:
    """Pools without processes, too, extend the lease of a task that runs longer."""
    site.worker("first", "-P", pool)
    task_id = site.send("work", 3 * LEASE_SECONDS, "held")
    site.began(task_id)
    site.worker("second")
    task = site.finished(task_id)
    assert (task.result, task.attempts, site.runs("begin")[task_id]) == ("held", 1, 1)


def test_a_busy_gevent_worker_takes_the_next_task_at_once(site: Site) -> None:
    """The worker sees that a task has ended at once, not seconds later: each of these waits for one before it."""
    tasks = [site.send("work", 0.0, n) for n in range(40)]
    site.worker("worker", "-P", "gevent")
    wait_until(lambda: all(site.task(task_id).is_final for task_id in tasks), 10)
