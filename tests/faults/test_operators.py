"""What operators do to an adopted application with Celery's own commands."""

from __future__ import annotations

import pytest
from fault_site import Site

from gql_api.record import due
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("how", ["command", "python", "worker"])
def test_purged_tasks_end(site: Site, how: str) -> None:
    """Tasks whose messages are purged become REVOKED with a reason, and never run; others are not touched."""
    waiting = [site.send("work", 0.0, priority=priority) for priority in (0, 5, 0)]
    held_back = site.record("work", 0.0)
    assert site.store.change_many(due.hold_back([held_back], 0, "t", 60.0, 60.0), due.held_back([held_back], "t"))
    later, elsewhere = site.record("work", 0.0, delay=2), site.send("work", 0.0, queue="elsewhere")
    if how == "command":
        assert "Purged 3 messages from 1 known task queue." in site.celery("purge", "-f")
    elif how == "python":
        assert site.python("print(app.control.purge())") == "3\n"
    site.worker("only", *(["--purge"] if how == "worker" else []))
    for task_id in [*waiting, held_back]:
        task = site.finished(task_id)
        assert task.error is not None
        assert (task.status, task.error.type) == (Status.REVOKED, "TaskRevokedError")
        assert task.error.message == task.history[-1].message == "queue celery was purged"
    assert site.finished(later).status is Status.SUCCESS
    site.wait_for_recovery(2)
    assert site.task(elsewhere).status is Status.QUEUED
    assert site.runs("begin").keys() == {later}


def test_time_limits_are_changed_in_a_running_worker(site: Site) -> None:
    """``control time_limit`` applies to the next task, hard and soft, and can be taken back."""
    site.worker("only")
    for soft, hard, error in (("30", "1", "TimeLimitExceeded"), ("1", "30", "SoftTimeLimitExceeded")):
        reply = site.ask("control", "only", "time_limit", "fault_tasks.work", soft, hard)
        assert "time limits set successfully" in reply
        task = site.finished(site.send("work", 60.0))
        assert task.error is not None
        assert (task.status, task.error.type) == (Status.FAILURE, error)
    site.ask("control", "only", "time_limit", "fault_tasks.work", "0", "0")
    assert site.finished(site.send("work", 1.5)).status is Status.SUCCESS


def test_a_worker_answers_what_operators_ask(site: Site) -> None:
    """Celery's inspect and control commands work on an adopted worker, also for the size of its pool and its queues."""
    end = site.folder / "end"
    site.worker("only", "-c", "1")
    running, waiting = (site.send("report_then_hold", str(site.folder), str(end)) for _ in range(2))
    site.began(running)
    elsewhere = site.send("work", 0.0, queue="elsewhere")
    assert running in site.ask("inspect", "only", "active")
    assert '"active"' in site.ask("inspect", "only", "query_task", running)
    assert "pool will grow" in site.ask("control", "only", "pool_grow", "1")
    site.began(waiting)
    site.ask("control", "only", "add_consumer", "elsewhere")
    end.touch()
    assert site.finished(elsewhere).status is Status.SUCCESS
    site.ask("control", "only", "cancel_consumer", "elsewhere")
    elsewhere = site.send("work", 0.0, queue="elsewhere")
    site.celery("control", "shutdown")
    assert {site.finished(task_id).status for task_id in (running, waiting)} == {Status.SUCCESS}
    assert site.task(elsewhere).status is Status.QUEUED
