"""Tasks with a rate limit among others, on real workers."""

from __future__ import annotations

import uuid
from itertools import pairwise

import pytest
from fault_site import Site
from pymongo import MongoClient
from support import wait_until

from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord

pytestmark = pytest.mark.fault

_POOLS = ["prefork", "threads", "solo", "gevent"]
_LIMITED = "limited_to_twelve_per_minute"


def _status(site: Site, task_ids: list[str]) -> dict[str, Status]:
    return {task_id: site.task(task_id).status for task_id in task_ids}


def _waiting_messages(site: Site) -> int:
    with site.broker() as redis:
        return int(redis.llen("celery")) + int(redis.hlen("unacked"))


@pytest.mark.parametrize("pool", _POOLS)
def test_limited_tasks_keep_no_other_task_waiting(site: Site, pool: str) -> None:
    """Of many limited tasks, one runs and the others wait in their records; tasks behind them run at once."""
    # One per hour: no second one may run while the others do, however long they take.
    limited = [site.send("limited_to_one_per_hour") for _ in range(20)]
    others = [site.send("work", 0.0, n) for n in range(20)]
    site.worker("only", "-P", pool)
    assert [site.finished(task_id).result for task_id in others] == list(range(20))
    wait_until(lambda: _waiting_messages(site) == 0)
    states = _status(site, limited)
    assert sorted(states.values())[1:-1] == [Status.SCHEDULED] * 18
    ended = [site.finished(task_id) for task_id in limited if states[task_id] is not Status.SCHEDULED]
    assert len(ended) <= 2
    assert len([entry for entry in ended[0].history if entry.status is Status.STARTED]) == 1


def test_limited_tasks_keep_their_rate(site: Site) -> None:
    """Tasks start as often as the limit allows, each once, and those that wait again and again keep their history."""
    site.worker("only")
    tasks = [site.send(_LIMITED) for _ in range(4)]
    ended = sorted((site.finished(task_id, 60) for task_id in tasks), key=_started_at)
    gaps = [_started_at(later) - _started_at(earlier) for earlier, later in pairwise(ended)]
    # Five seconds, give or take what a claim takes on a machine that stalls.
    assert all(2.5 < gap < 20 for gap in gaps), gaps
    assert [task.attempts for task in ended] == [1, 1, 1, 1]
    expected = [Status.QUEUED, Status.SCHEDULED, Status.QUEUED, Status.STARTED, Status.SUCCESS]
    assert [[entry.status for entry in task.history] for task in ended[1:]] == [expected] * 3
    assert ended[-1].history[1].message == "held back by its rate limit"
    assert all(site.runs("begin")[task_id] == 1 for task_id in tasks)


def _started_at(task: TaskRecord) -> float:
    assert task.started_at is not None
    return task.started_at.timestamp()


def test_other_messages_of_limited_tasks(site: Site) -> None:
    """Retries, unrecorded, cancelled and ended tasks, and short waits, under a limit."""
    # Their sender made no records; a message may come twice.
    sent = [NewTask(id=str(uuid.uuid4()), name=f"fault_tasks.{_LIMITED}", queue="celery") for _ in range(3)]
    site.dispatcher.publish([*sent, sent[0]])
    site.worker("only")
    wait_until(lambda: sum(record is not None for record in (site.store.find(task.id) for task in sent)) == 3)
    # These wait in the worker, as in Celery.
    quick = [site.send("limited_to_five_per_second") for _ in range(4)]
    started = sorted(_started_at(site.finished(task_id, 10)) for task_id in quick)
    # 0.6 s, less what the first claim took: without the limit it is some milliseconds.
    assert started[-1] - started[0] > 0.1
    assert all(len(site.task(task_id).history) == 3 for task_id in quick)
    retried = site.finished(site.send("limited_retry"), 30)
    assert (retried.status, retried.attempts, retried.result) == (Status.SUCCESS, 3, 2)
    assert all(site.finished(task.id, 30).attempts == 1 for task in sent)
    assert all(site.runs("begin")[task.id] == 1 for task in sent)
    # A message is acknowledged after the end of its task is stored.
    wait_until(lambda: _waiting_messages(site) == 0)


def test_a_limit_is_changed_while_tasks_wait(site: Site) -> None:
    """``control rate_limit`` applies to tasks that wait already, soon after."""
    site.worker("only")
    tasks = [site.send("limited_to_one_per_hour") for _ in range(5)]
    wait_until(lambda: sorted(_status(site, tasks).values()).count(Status.SCHEDULED) == 4)
    assert "new rate limit set" in site.ask("control", "only", "rate_limit", "fault_tasks.limited_to_one_per_hour", "0")
    assert all(site.finished(task_id, 60).status is Status.SUCCESS for task_id in tasks)


def test_limited_tasks_survive_an_outage_of_mongodb(site: Site) -> None:
    """While MongoDB is away, limited tasks stay with the worker, and wait in their records when it is back."""
    site.worker("only")
    tasks = [site.record(_LIMITED) for _ in range(5)]
    site.mongodb.kill()
    site.dispatcher.publish([NewTask(id=each, name=f"fault_tasks.{_LIMITED}", queue="celery") for each in tasks])
    wait_until(lambda: b"rate limits wait in the worker" in (site.folder / "only.log").read_bytes())
    site.mongodb.start()
    with MongoClient[dict[str, object]](site.settings.mongodb_url) as client:
        records = client[site.settings.mongodb_database][fields.TASKS]
        wait_until(lambda: records.count_documents({"status": "SCHEDULED"}) >= 3, 40)
    assert all(site.finished(task_id, 60).attempts == 1 for task_id in tasks)
