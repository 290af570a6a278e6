"""The start of tasks at their due times, by workers whose scans are too rare for that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fault_site import Site
from pymongo import MongoClient
from support import wait_until

from gql_api.record import control, fields
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord

pytestmark = pytest.mark.fault

_RARELY = {"RECOVERY_INTERVAL_SECONDS": "600"}
# The scans of these workers would be ten minutes late. A worker of an idle machine needs 0.1 s, one of a machine that
# stalls some seconds.
_LATE_SECONDS = 10.0


def _locks(site: Site) -> list[str]:
    with MongoClient[dict[str, object]](site.settings.mongodb_url) as client:
        found = client[site.settings.mongodb_database][fields.LEADER_LOCKS].find({"_id": {"$regex": "^due:"}})
        return [str(document["_id"]) for document in found]


def _seconds_until_start(task: TaskRecord) -> list[float]:
    """Return for how long the task has waited each time it had to wait for its time."""
    waits = {Status.SCHEDULED, Status.RETRY}
    at = [(entry.status, entry.at) for entry in task.history if entry.status is not Status.QUEUED]
    return [(began - waited).total_seconds() for (status, waited), (_, began) in pairwise(at) if status in waits]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_tasks_start_at_their_due_times(site: Site, pool: str) -> None:
    """Delays, start times, retries and new start times are kept by idle workers that scan every ten minutes."""
    for name in ("first", "second"):
        site.worker(name, "-P", pool, environment=_RARELY)
    wait_until(lambda: _locks(site))
    delays = [0.2, 0.7, 0.75, 1.3]
    delayed = [site.record("work", 0.0, delay=delay) for delay in delays]
    moved = site.record("work", 0.0, delay=3600)
    retried = site.send("retry_once", 0.9)
    # Later than the next two writes: who records a task whose time has come has to send its message too.
    at = datetime.now(UTC) + timedelta(seconds=3)
    timed = site.record("work", 0.0, scheduled_for=at)
    assert site.store.change(control.reschedule(moved, at))
    for delay, task_id in zip(delays, delayed, strict=True):
        [waited] = _seconds_until_start(site.finished(task_id))
        assert delay <= waited < delay + _LATE_SECONDS
    [waited] = _seconds_until_start(site.finished(retried))
    assert 0.9 <= waited < 0.9 + _LATE_SECONDS
    for task_id in (timed, moved):
        started_at = site.finished(task_id).started_at
        assert started_at is not None
        assert 0 <= (started_at - at).total_seconds() < _LATE_SECONDS


def test_another_worker_goes_on_when_one_is_killed(site: Site) -> None:
    """One worker at a time sends the tasks that are due; some seconds after it was killed another one does."""
    first = site.worker("first", environment=_RARELY)
    wait_until(lambda: _locks(site))
    site.worker("second", environment=_RARELY)
    assert site.finished(site.record("work", 0.0, delay=0.3), 10).status is Status.SUCCESS
    first.kill()
    assert site.finished(site.record("work", 0.0, delay=0.3), 15).status is Status.SUCCESS
    assert len(_locks(site)) == 1
