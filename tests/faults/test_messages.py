"""Messages that come late or twice, and messages made by a process whose clock is wrong."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from fault_site import Site
from support import wait_until

from gql_api.record import fields, queries
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault


def _wait_until_taken(site: Site) -> None:
    """Wait until the workers have taken all messages, and have handled those before the last one."""
    with site.broker() as redis:
        wait_until(lambda: not redis.llen("celery"))
    site.finished(site.send("work"))


def test_a_late_message_starts_no_retry_before_it_is_due(site: Site) -> None:
    """A message of the first attempt neither starts a retry that is not due, nor takes a retry away from its task."""
    site.worker("worker")
    task_id = site.send("retry_once", 3600.0)
    first = site.task(task_id)
    wait_until(lambda: site.task(task_id).status is Status.RETRY)
    for _ in range(3):
        site.publish_message(first)
    _wait_until_taken(site)
    assert (site.task(task_id).status, site.runs("begin")[task_id]) == (Status.RETRY, 1)
    collection = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - time itself
    collection.update_one(queries.by_id(task_id), {"$set": {fields.DUE_AT: datetime.now(UTC)}})
    task = site.finished(task_id)
    assert (task.result, task.attempts, site.runs("begin")[task_id]) == ("retried", 2, 2)


def test_late_messages_cost_a_retry_no_attempt(site: Site) -> None:
    """Retries without a countdown run as often as they were asked for, whatever messages come between them."""
    site.worker("worker", "-c", "1")
    task_id = site.record("retry_once", 0.0)
    first = site.task(task_id)  # read before it starts: its messages follow no attempt
    for _ in range(4):
        site.publish_message(first)
    task = site.finished(task_id)
    _wait_until_taken(site)
    assert (task.result, task.attempts, site.runs("begin")[task_id]) == ("retried", 2, 2)


def test_a_late_message_does_not_run_a_replaced_function_again(site: Site) -> None:
    """The message of a task that has handed its work to a chain starts nothing while the chain runs."""
    site.worker("worker")
    task_id = site.send("replace_me", 1.5)
    first = site.task(task_id)
    wait_until(lambda: len(site.runs("begin")) == 2, why="the first step of the replacement")
    site.publish_message(first)
    _wait_until_taken(site)
    task = site.finished(task_id)
    assert (task.result, site.runs_of("replace_me"), task.attempts) == ("replaced", 1, 2)


def test_a_replacement_keeps_its_own_arguments(site: Site) -> None:
    """The last step of a replacement has no keyword arguments, also when its message is sent again."""
    first = site.worker("first")
    task_id = site.send("replace_keywords", kwargs={"seconds": 2.0})
    wait_until(lambda: site.runs("begin")[task_id] == 2, why="the last step of the replacement")
    first.kill()
    site.worker("second")
    task = site.finished(task_id)
    assert (task.status, task.result, task.kwargs) == (Status.SUCCESS, "replaced", {"seconds": 2.0})


def test_a_rejected_message_comes_back_at_once(site: Site) -> None:
    """``Reject(requeue=True)`` runs the task again, though the message of its first attempt starts nothing any more."""
    # It comes back long before a lease ends.
    site.worker("worker", environment={"LEASE_SECONDS": "60"})
    task = site.finished(site.send("reject_once", str(site.folder / "rejected")))
    assert (task.result, task.attempts) == ("accepted", 2)


def test_a_deleted_step_does_not_come_back(site: Site) -> None:
    """A step that was deleted stays deleted when the step before it lost its worker, runs again and sends it again."""
    site.worker("worker")
    go = site.folder / "go"
    first, second = site.finished(site.send("start_chain_of_dying", str(go))).result
    wait_until(lambda: site.store.find(second), why="the second step")
    site.finished(second)
    site.store.delete([second])
    go.touch()
    assert site.finished(first).attempts == 2
    _wait_until_taken(site)
    assert site.store.find(second) is None
    assert site.runs("begin")[second] == 1


@pytest.mark.parametrize("skew", ["+2h", "-2h"])
def test_times_relative_to_now_do_not_depend_on_the_clock_of_a_worker(site: Site, skew: str) -> None:
    """The countdown of a retry, and the countdown and the expiry of a call, count by the clock of MongoDB."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    # Waiting is by the monotonic clock, which no wrong clock changes.
    site.worker("wrong", under=["faketime", "-f", skew], environment={"FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    task = site.finished(site.send("retry_once", 3.0))
    retried = task.history[-2]
    assert task.started_at is not None
    waited = (task.started_at - next(e.at for e in task.history if e.status is Status.RETRY)).total_seconds()
    assert retried.status is Status.STARTED
    assert 2.9 < waited < 15.0
    later, expiring = site.finished(site.send("send_later", 3.0, 60.0)).result
    for task_id in (later, expiring):
        task = site.finished(task_id)
        assert task.status is Status.SUCCESS, task.error
    sent = site.task(later)
    assert sent.started_at is not None
    assert 2.9 < (sent.started_at - sent.created_at).total_seconds() < 15.0
