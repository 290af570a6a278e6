"""Workers that are killed, frozen, shut down and poisoned."""

from __future__ import annotations

import os
import signal
import time

import pytest
from fault_site import LEASE_SECONDS, Site
from support import wait_until

from gql_api.record import fields, queries
from gql_api.record.fields import Status
from gql_api.settings import Settings

pytestmark = pytest.mark.fault

# Longer than any of these tests: nothing within them is recovered because a lease ended.
_LONG = {"LEASE_SECONDS": "60"}


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_killed_worker_loses_nothing(site: Site, pool: str) -> None:
    """Tasks whose worker is killed with SIGKILL run again elsewhere, with one end each."""
    go = site.folder / "go"
    first = site.worker("first", "-P", pool)
    tasks = [site.send("hold", str(go), n) for n in range(4)]
    site.began(tasks[0])
    site.began(tasks[1])
    first.kill()
    killed_at = time.monotonic()
    go.touch()
    site.worker("second", "-P", pool)
    for number, task_id in enumerate(tasks):
        assert site.finished(task_id).result == number
    assert time.monotonic() - killed_at < 30
    assert all(site.runs("end")[task_id] == 1 for task_id in tasks)
    lost = site.task(tasks[0])
    assert (lost.attempts, lost.lost_attempts, lost.lost_workers) == (2, 0, 1)
    assert "stopped answering" in str([entry.message for entry in lost.history])


def test_the_defaults_recover_within_half_a_minute(site: Site) -> None:
    """With the default settings a task of a killed worker begins again within 30 seconds of the kill."""
    defaults = {
        name.upper(): str(Settings.model_fields[name].default)
        for name in ("lease_seconds", "recovery_interval_seconds", "worker_heartbeat_seconds")
    }
    first = site.worker("first", environment=defaults)
    task_id = site.send("work", 60.0)
    site.began(task_id)
    site.worker("second", environment=defaults)
    first.kill()
    killed_at = time.monotonic()
    site.began(task_id, 2, timeout=30)
    assert time.monotonic() - killed_at < 30


def test_a_result_that_is_ignored_is_so_after_recovery_too(site: Site) -> None:
    """A task with ``ignore_result`` stores no result when another worker runs it from a new message."""
    go = site.folder / "go"
    first = site.worker("first")
    task_id = site.send("ignored", str(go))
    site.began(task_id)
    first.kill()
    go.touch()
    site.worker("second")
    task = site.finished(task_id)
    assert (task.status, task.result, task.attempts, task.forgotten) == (Status.SUCCESS, None, 2, True)


def test_a_killed_pool_process_gives_its_task_back_at_once(site: Site) -> None:
    """The worker itself is alive and requeues the task: no worker waits for a lease."""
    worker = site.worker("worker", environment=_LONG)
    go = site.folder / "go"
    task_id = site.send("hold", str(go), "done")
    site.began(task_id)
    running = site.store._connections.database()[fields.TASKS].find_one(queries.by_id(task_id))  # noqa: SLF001 - the pid is private
    assert running is not None
    os.kill(running[fields.PID], signal.SIGKILL)
    go.touch()
    task = site.finished(task_id, 20)
    assert (task.status, task.attempts, task.lost_attempts) == (Status.SUCCESS, 2, 1)
    assert worker.process.poll() is None


def test_a_new_pool_process_does_not_wait_for_a_thread_of_the_main_process(site: Site) -> None:
    """A process that replaces a killed one sends tasks, though a thread held the lock of publishing at the fork."""
    hold, held = site.folder / "lock.hold", site.folder / "lock.held"
    site.worker("worker", "-c", "1", environment={**_LONG, "HOLD_LOCK": str(hold)})
    site.finished(site.send("work"))
    pid = int((site.folder / "executions").read_text().split()[3])
    hold.touch()
    wait_until(held.exists)
    os.kill(pid, signal.SIGKILL)
    sent = site.finished(site.send("send_work"), 20)
    assert sent.status is Status.SUCCESS
    assert site.finished(str(sent.result), 20).status is Status.SUCCESS


def test_a_poison_task_stops(site: Site) -> None:
    """A task that takes its process down each time fails after MAX_LOST_ATTEMPTS, and others run."""
    site.worker("worker", environment=_LONG)
    poison, other = site.send("poison"), site.send("work", 0.1)
    task = site.finished(poison)
    assert task.status is Status.FAILURE
    assert task.error is not None
    assert (task.error.type, task.attempts) == ("WorkerLostError", 3)
    assert site.runs("begin")[poison] == 3
    assert site.finished(other).status is Status.SUCCESS


def test_a_poison_task_stops_when_it_takes_whole_workers(site: Site) -> None:
    """Attempts whose workers are found dead by others count by themselves: MAX_LOST_WORKERS, not MAX_LOST_ATTEMPTS."""
    task_id = site.send("work", 30.0)
    limits = {"MAX_LOST_ATTEMPTS": "1", "MAX_LOST_WORKERS": "3"}
    for attempt in range(1, 4):
        worker = site.worker(f"victim{attempt}", environment=limits)
        site.began(task_id, attempt)
        worker.kill()
    site.worker("last", environment=limits)
    task = site.finished(task_id)
    assert (task.status, task.attempts, task.lost_attempts) == (Status.FAILURE, 3, 0)
    assert site.runs("begin")[task_id] == 3


def test_a_task_that_ends_its_solo_worker_has_lost_a_worker(site: Site) -> None:
    """``WorkerShutdown`` in a function ends the worker, as in Celery, and the task after MAX_LOST_WORKERS."""
    worker = site.worker("worker", "-P", "solo", environment={**_LONG, "MAX_LOST_WORKERS": "1"})
    task_id = site.send("stop_worker")
    worker.wait()
    task = site.finished(task_id)
    assert task.error is not None
    assert (task.status, task.attempts, task.error.type) == (Status.FAILURE, 1, "WorkerLostError")


def test_a_signal_to_all_processes_of_a_worker_is_not_held_against_its_tasks(site: Site) -> None:
    """A stop that reaches the processes of the pool too, as that of systemd, is the loss of a worker."""
    first = site.worker("first", environment={**_LONG, "MAX_LOST_ATTEMPTS": "1"})
    task_id = site.send("work", 3.0, "done")
    site.began(task_id)
    first.signal_all(signal.SIGTERM)
    first.wait()
    site.worker("second", environment=_LONG)
    task = site.finished(task_id)
    assert (task.status, task.lost_attempts) == (Status.SUCCESS, 0)


def test_a_warm_shutdown_drains(site: Site) -> None:
    """SIGTERM lets running tasks end, however many leases that takes; none runs twice."""
    first = site.worker("first")
    tasks = [site.send("work", 3 * LEASE_SECONDS, n) for n in range(2)]
    for task_id in tasks:
        site.began(task_id)
    site.worker("second")
    first.send(signal.SIGTERM)
    assert first.wait() == 0
    for task_id in tasks:
        assert site.finished(task_id).attempts == 1
    assert [site.runs("begin")[task_id] for task_id in tasks] == [1, 1]


@pytest.mark.parametrize("pool", ["prefork", "gevent", "solo"])
def test_a_cold_shutdown_hands_its_tasks_back(site: Site, pool: str) -> None:
    """SIGQUIT takes tasks from their processes; they run elsewhere without waiting for a lease."""
    go = site.folder / "go"
    first = site.worker("first", "-P", pool, environment=_LONG)
    task_id = site.send("hold", str(go), "done")
    site.began(task_id)
    first.send(signal.SIGQUIT)
    first.wait()
    go.touch()
    site.worker("second", environment=_LONG)
    task = site.finished(task_id, 20)
    assert (task.status, task.attempts, task.lost_attempts) == (Status.SUCCESS, 2, 0)
    assert site.runs("end")[task_id] == 1


def test_a_frozen_worker_is_too_late(site: Site) -> None:
    """A worker that wakes after its lease can neither store a result nor send what would have followed."""
    go = site.folder / "go"
    frozen = site.worker("frozen")
    first_step, last_step = site.finished(site.send("start_chain", str(go))).result
    site.began(first_step)
    linked = site.finished(site.send("start_linked", str(go))).result
    site.began(linked)
    frozen.signal_all(signal.SIGSTOP)
    site.worker("awake")
    for task_id in (first_step, linked):
        site.began(task_id, 2)
    go.touch()
    assert site.finished(last_step).result == 3
    site.finished(linked)
    revisions = [site.task(task_id).revision for task_id in (first_step, linked)]
    frozen.signal_all(signal.SIGCONT)
    for task_id in (first_step, linked):
        wait_until(lambda task_id=task_id: site.runs("end")[task_id] == 2)  # type: ignore[misc] # a loop variable
    wait_until(
        lambda: frozen.log.read_bytes().count(b"taken away while it ran") == 2, why="both attempts to be refused"
    )
    site.finished(site.send("work", 0.0))
    assert [site.task(task_id).revision for task_id in (first_step, linked)] == revisions
    assert site.runs("begin")[last_step] == 1
    # The last step of the chain, and the callback once.
    assert site.runs_of("total") == 2


def test_many_short_tasks_survive_repeated_kills(site: Site) -> None:
    """Of 200 tasks that take no time not one is lost while workers die again and again."""
    tasks = [site.send("work", 0.0, n) for n in range(200)]
    for round_ in range(4):
        # Before the worker starts: it may end many while nobody counts.
        enough = min(len(site.runs("end")) + 10, len(tasks) - 1)
        worker = site.worker(f"victim{round_}")
        wait_until(lambda enough=enough: len(site.runs("end")) > enough, 30)  # type: ignore[misc] # a loop variable
        worker.kill()
    site.worker("survivor")
    for number, task_id in enumerate(tasks):
        task = site.finished(task_id)
        assert (task.status, task.result) == (Status.SUCCESS, number)


def test_a_redelivered_message_runs_nothing_twice(site: Site) -> None:
    """A second copy of a message, while its task runs and after it ended, is dropped."""
    site.worker("first")
    site.worker("second")
    task_id = site.send("work", 1.5, "once")
    site.began(task_id)
    for _ in range(3):
        site.publish(task_id)
    assert site.finished(task_id).attempts == 1
    site.publish(task_id)
    last = site.send("work", 0.0)
    site.finished(last)
    with site.broker() as redis:
        wait_until(lambda: redis.llen("celery") == 0 and redis.hlen("unacked") == 0)
    assert site.runs("begin")[task_id] == 1
