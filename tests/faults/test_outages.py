"""MongoDB and Redis that go away, come back, and come back empty."""

from __future__ import annotations

import time

import pytest
from fault_site import LEASE_SECONDS, Site
from support import wait_until

from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_OUTAGE_SECONDS = 4 * LEASE_SECONDS


@pytest.mark.parametrize(("pool", "seconds"), [("prefork", 10.0), ("prefork", 60.0), ("gevent", 10.0)])
def test_mongodb_is_away_while_tasks_run_and_end(site: Site, pool: str, seconds: float) -> None:
    """An outage longer than a lease costs no result, records no failure, and makes no finished work run again."""
    site.worker("first", "-P", pool)
    site.worker("second", "-P", pool)
    short = [site.send("work", 1.0, n) for n in range(2)]
    long = [site.send("work", seconds + 2.0, n) for n in range(2)]
    for task_id in short + long:
        site.began(task_id)
    site.mongodb.kill()
    wait_until(lambda: all(site.runs("end")[task_id] for task_id in short))
    time.sleep(seconds)  # the fault itself
    site.mongodb.start()
    for tasks in (short, long):
        for number, task_id in enumerate(tasks):
            task = site.finished(task_id, 60)
            assert (task.status, task.result, task.attempts) == (Status.SUCCESS, number, 1)
    assert set(site.runs("begin").values()) == {1}


def test_tasks_that_arrive_while_mongodb_is_away_wait(site: Site) -> None:
    """A worker that cannot claim holds the message, fails nothing, and runs the task once MongoDB is back."""
    worker = site.worker("worker")
    tasks = [site.record("work", 0.0, n) for n in range(6)]
    records = [site.task(task_id) for task_id in tasks]
    site.mongodb.kill()
    for record in records:
        site.publish_message(record)
    time.sleep(_OUTAGE_SECONDS)  # the fault itself
    assert not site.runs("begin")
    site.mongodb.start()
    for number, task_id in enumerate(tasks):
        task = site.finished(task_id, 60)
        assert (task.status, task.result, task.attempts) == (Status.SUCCESS, number, 1)
    assert b"raised unexpected" not in worker.log.read_bytes()


def test_a_worker_that_dies_while_mongodb_is_away(site: Site) -> None:
    """The task of a worker that was lost in an outage runs again after it, and the outage itself expires no lease."""
    doomed, steady = site.worker("doomed"), site.worker("steady")
    tasks = [site.send("work", _OUTAGE_SECONDS + 4.0, n) for n in range(4)]
    for task_id in tasks:
        site.began(task_id)
    of_steady = {task_id for task_id in tasks if site.task(task_id).worker == f"steady@{site.host}"}
    assert len(of_steady) == 2
    site.mongodb.kill()
    doomed.kill()
    time.sleep(_OUTAGE_SECONDS)  # the fault itself
    site.mongodb.start()
    for task_id in tasks:
        assert site.finished(task_id, 60).attempts == (1 if task_id in of_steady else 2)
    assert steady.process.poll() is None


def test_redis_loses_everything(site: Site) -> None:
    """Of 40 tasks that wait in a Redis that comes back empty all run, none of them twice."""
    tasks = [site.send("work", 0.1, n) for n in range(40)]
    site.restart_redis(empty=True)
    with site.broker() as redis:
        assert redis.llen("celery") == 0
    site.worker("worker")
    for number, task_id in enumerate(tasks):
        assert site.finished(task_id, 60).result == number
    assert all(site.runs("begin")[task_id] == 1 for task_id in tasks)


def test_redis_loses_everything_under_running_workers(site: Site) -> None:
    """Workers come back to an empty Redis by themselves, end what they run, and take what was lost."""
    site.worker("first")
    site.worker("second")
    tasks = [site.send("work", 1.0, n) for n in range(12)]
    site.began(tasks[0])
    site.restart_redis(empty=True)
    for number, task_id in enumerate(tasks):
        assert site.finished(task_id, 60).result == number
    assert all(site.runs("end")[task_id] == 1 for task_id in tasks)


def test_redis_restarts_with_its_data(site: Site) -> None:
    """Tasks that wait in a Redis that is killed and starts on its data run once each."""
    site.worker("worker")
    tasks = [site.send("work", 0.5, n) for n in range(10)]
    site.began(tasks[0])
    site.restart_redis()
    for number, task_id in enumerate(tasks):
        assert site.finished(task_id, 60).result == number
    assert all(site.runs("end")[task_id] == 1 for task_id in tasks)


def test_redis_is_away_when_tasks_are_created(site: Site) -> None:
    """A task that is accepted while the broker is away runs when it is back; running tasks end meanwhile."""
    site.worker("worker")
    running = site.send("work", 1.0, "ran on")
    site.began(running)
    site.redis.kill()
    tasks = [site.send("work", 0.0, n) for n in range(5)]
    assert site.finished(running).result == "ran on"
    assert all(site.task(task_id).status is Status.QUEUED for task_id in tasks)
    site.redis.start()
    for number, task_id in enumerate(tasks):
        assert site.finished(task_id, 60).result == number


def test_queues_and_workers_are_known_while_redis_is_away(site: Site) -> None:
    """Queues and workers are read from MongoDB: an operator sees them when the broker is gone."""
    api, end = site.api(), site.folder / "end"
    site.worker("worker")
    site.began(site.send("hold", str(end)))
    # The worker announces itself after its functions, while it takes tasks already.
    wait_until(lambda: api.data("{ workers { hostname } }")["workers"], why="the announcement")
    site.redis.kill()
    site.record("work", 0.0, 1)
    data = api.data("{ workers { hostname active } queues { name depth oldestQueuedAt } }")
    assert data["workers"] == [{"hostname": f"worker@{site.host}", "active": 1}]
    assert [(queue["name"], queue["depth"], bool(queue["oldestQueuedAt"])) for queue in data["queues"]] == [
        ("celery", 1, True)
    ]
    # The worker stops when its task has ended.
    end.touch()


def test_a_task_that_was_never_dispatched_runs(site: Site) -> None:
    """An API that dies after the insert leaves only a record: recovery sends the task, behind a backlog too."""
    forgotten = site.record("work", 0.0, "found")
    backlog = [site.send("work", 0.3, n) for n in range(30)]
    site.worker("worker")
    assert site.finished(forgotten).result == "found"
    for task_id in backlog:
        site.finished(task_id)
    runs = site.runs("begin")
    assert [runs[task_id] for task_id in [forgotten, *backlog]] == [1] * 31


def test_an_honest_backlog_is_not_sent_again_and_again(site: Site) -> None:
    """Tasks that wait for a long time because workers are busy have one message each."""
    end = site.folder / "end"
    site.worker("worker", "-c", "1")
    blocker = site.send("hold", str(end))
    site.began(blocker)
    tasks = [site.send("work", 0.0, n) for n in range(50)]
    site.wait_for_recovery(6)
    assert not site.task(blocker).is_final
    with site.broker() as redis:
        # The worker may hold one message, whose task is sent once more for that.
        assert redis.llen("celery") <= len(tasks) + 1
    end.touch()
    for task_id in tasks:
        site.finished(task_id)


def test_connections_that_are_cut_again_and_again(site: Site) -> None:
    """A worker whose connections to Redis are killed repeatedly goes on by itself."""
    worker = site.worker("worker")
    tasks = []
    for round_ in range(5):
        tasks += [site.send("work", 0.2, round_) for _ in range(4)]
        with site.broker() as redis:
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        site.finished(tasks[round_ * 4], 60)
    for task_id in tasks:
        assert site.finished(task_id, 60).status is Status.SUCCESS
    assert worker.process.poll() is None
    assert all(site.runs("end")[task_id] == 1 for task_id in tasks)


def _cut_until(site: Site, tasks: list[str], event: str) -> int:
    """Cut all connections to Redis after each event of these tasks, until all have it, and return how often."""
    cuts = 0
    with site.broker() as redis:
        while (before := site.runs(event).total()) < len(tasks):
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            cuts += 1
            wait_until(lambda before=before: site.runs(event).total() > before, 30)  # type: ignore[misc] # a loop variable
    return cuts


def _check_slots(site: Site, number: int) -> None:
    """Check that the workers still run as many tasks at once."""
    gate = site.folder / "gate"
    held = [site.send("log_lines", str(gate), 1) for _ in range(number)]
    for task_id in held:
        site.began(task_id)
    gate.write_bytes(b".")
    for task_id in held:
        site.finished(task_id)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_connections_that_are_cut_under_load(site: Site, pool: str) -> None:
    """A worker whose connections are cut just as tasks end goes on by itself, with as many tasks at once as before."""
    tasks = [site.send("work", 0.05) for _ in range(400)]
    worker = site.worker("worker", "-P", pool, "-c", "4")
    assert _cut_until(site, tasks, "end") > 20
    for task_id in tasks:
        assert site.finished(task_id, 60).status is Status.SUCCESS
    assert worker.process.poll() is None
    assert set(site.runs("begin").values()) == {1}
    _check_slots(site, 4)


def test_connections_that_are_cut_while_large_results_are_read(site: Site) -> None:
    """A worker that has read a part of a result when it loses Redis reads on: an error can be large."""
    worker = site.worker("worker", "-c", "4")
    tasks = [site.send("fail_at_length", 3_000_000) for _ in range(60)]
    _cut_until(site, tasks, "begin")
    for task_id in tasks:
        assert site.finished(task_id).status is Status.FAILURE
    _check_slots(site, 4)
    assert worker.process.poll() is None
    assert b"Unrecoverable" not in worker.log.read_bytes()
