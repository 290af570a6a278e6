"""Messages that are lost, and messages that only seem to be."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator

import pytest
from databases import create_all
from fault_site import LEASE_SECONDS, Site
from gate import gate
from ports import free_port
from support import wait_until

from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.model import NewTask

pytestmark = pytest.mark.fault

_BACKLOG = 6_000
_OUTAGE_SECONDS = 4 * LEASE_SECONDS

Outage = Callable[[Site], contextlib.AbstractContextManager[None]]


def test_redis_loses_a_long_backlog(site: Site) -> None:
    """All messages of a queue that no worker serves come back within seconds, each once, in their order."""
    tasks = [
        NewTask(id=f"waits-{n}", name="fault_tasks.work", args=[0.0, n], queue="unserved") for n in range(_BACKLOG)
    ]
    collection = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - many at once
    collection.create_indexes(fields.INDEXES)
    create_all(collection, tasks)
    site.dispatcher.publish(tasks)
    for name in ("first", "second"):
        site.worker(name, "-Q", "other")
    site.restart_redis(empty=True)
    with site.broker() as redis:
        wait_until(lambda: redis.llen("unserved") > 0, 30, "the first messages")
        began = time.monotonic()
        wait_until(lambda: redis.llen("unserved") >= _BACKLOG, 30, "all of the messages")
        print(f"{_BACKLOG} lost messages were sent again within {time.monotonic() - began:.1f} s")  # noqa: T201 - a figure for the docs
        site.wait_for_recovery(3)
        messages = [json.loads(message)["headers"]["id"] for message in redis.lrange("unserved", 0, -1)]
    assert sorted(messages) == sorted(task.id for task in tasks)


@contextlib.contextmanager
def _mongodb_is_killed(site: Site) -> Iterator[None]:
    site.mongodb.kill()
    yield
    site.mongodb.start()


@contextlib.contextmanager
def _mongodb_is_frozen(site: Site) -> Iterator[None]:
    [member] = site.mongodb.members
    member.freeze()
    yield
    member.thaw()


@pytest.mark.parametrize("outage", [_mongodb_is_killed, _mongodb_is_frozen])
def test_an_outage_of_mongodb_is_no_loss_of_messages(site: Site, outage: Outage) -> None:
    """A worker that could not claim for longer than a lease gets the time to claim: nothing is sent a second time."""
    worker, other = site.worker("worker", "-c", "2"), site.worker("other", "-Q", "other")
    records = [site.task(site.record("work", 0.0, n)) for n in range(2)]
    with outage(site):
        for record in records:
            site.publish_message(record)
        time.sleep(_OUTAGE_SECONDS)  # the fault itself
    for number, record in enumerate(records):
        task = site.finished(record.id, 60)
        assert (task.status, task.result, task.attempts) == (Status.SUCCESS, number, 1)
    site.wait_for_recovery(1)
    assert b"sent again" not in worker.log.read_bytes() + other.log.read_bytes()
    assert set(site.runs("begin").values()) == {1}


def test_a_worker_that_lost_mongodb_alone_sends_nothing_again(site: Site) -> None:
    """Its own outage does not make the only worker call the messages that it holds lost."""
    [member] = site.mongodb.members
    with gate(member.port) as way:
        url = f"{way.url.replace('http', 'mongodb')}/?directConnection=true"
        worker = site.worker("worker", "-c", "2", environment={"MONGODB_URL": url})
        site.finished(site.send("work", 0.0))
        way.leads_to = free_port()
        way.slam()
        tasks = [site.send("work", 0.0, n) for n in range(2)]
        time.sleep(_OUTAGE_SECONDS)  # the fault itself
        way.leads_to = member.port
        for number, task_id in enumerate(tasks):
            task = site.finished(task_id, 60)
            assert (task.status, task.result, task.attempts) == (Status.SUCCESS, number, 1)
        site.wait_for_recovery(1)
        assert b"sent again" not in worker.log.read_bytes()
    assert set(site.runs("begin").values()) == {1}


def test_an_honest_backlog_with_messages_that_were_sent_again(site: Site) -> None:
    """Messages sent by recovery, by callers, and twice, at two priorities: none makes another task look lost."""
    end = site.folder / "end"
    site.worker("worker", "-c", "1")
    blocker = site.send("hold", str(end))
    site.began(blocker)
    first = [site.record("work", 0.0, n) for n in range(10)]
    with site.broker() as redis:

        def depth() -> int:
            return sum(redis.llen(name) for name in redis.keys("celery*") if redis.type(name) == "list")

        # The worker holds one message.
        wait_until(lambda: depth() >= len(first) - 1, 30, "the tasks without a message to be sent")
        last = [site.send("work", 0.0, n) for n in range(10)]
        site.publish(last[4])
        # Recovery may send the first of them before the last has its record.
        before = depth()
        low = [site.record("work", 0.0, n, priority=5) for n in range(10)]
        wait_until(lambda: depth() >= before + len(low), 30, "the tasks of low priority to be sent")
        site.wait_for_recovery(4)
        assert not site.task(blocker).is_final
        # The task whose message the worker holds may be sent once more for that.
        assert depth() <= before + len(low) + 1
    end.touch()
    for task_id in [*first, *last, *low]:
        assert site.finished(task_id).attempts == 1
