"""Soft time limits of functions, which count from their beginning."""

from __future__ import annotations

import time

import pytest
from fault_site import Site
from support import wait_until

pytestmark = pytest.mark.fault


def test_a_soft_limit_that_passes_before_the_function_begins_interrupts_it_later(site: Site) -> None:
    """The time for which a worker waits for its claim does not count, and does not use up the only signal."""
    worker = site.worker("worker")
    task = site.task(site.record("interrupted"))
    site.mongodb.kill()
    site.publish_message(task)
    wait_until(lambda: f"[{task.id}] received" in worker.log.read_text())
    time.sleep(3.0)  # the limit passes
    site.mongodb.start()
    ended = site.finished(task.id)
    assert (ended.result, ended.attempts) == (1, 1)
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert (ended.finished_at - ended.started_at).total_seconds() > 0.9


def test_a_soft_limit_of_the_worker_is_for_functions_without_their_own(site: Site) -> None:
    """``--soft-time-limit`` interrupts those only."""
    worker = site.worker("worker", "--soft-time-limit", "2")
    without, own = site.send("work", 60.0), site.send("interrupted")
    error = site.finished(without).error
    assert error is not None
    assert error.type == "SoftTimeLimitExceeded"
    assert site.finished(own).result == 1
    log = worker.log.read_text()
    assert f"Soft time limit (2.0s) exceeded for fault_tasks.work[{without}]" in log
    assert f"Soft time limit (1s) exceeded for fault_tasks.interrupted[{own}]" in log
