"""A backlog that the broker has lost is sent again, all of it and each message once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from proxy import Mode, Proxy
from recovery_bench import HOUR_MS, Bench, SteadyRecovery, recovery_bench

from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.settings import Settings
from gql_api.worker.recovery import recovery as recovery_module
from gql_api.worker.recovery.backlog import Backlog
from gql_api.worker.recovery.recovery import Recovery
from gql_api.worker.sending.batches import Batch
from gql_api.worker.sending.republish import publish

_BATCH = 500


def _hurried(bench: Bench) -> SteadyRecovery:
    """Make the recovery of a worker each of whose scans sends one batch."""
    recovery = bench.recovery()
    recovery._lease = timedelta()  # noqa: SLF001 - as if it took that long
    return recovery


def _set_back(bench: Bench, ids: list[str]) -> None:
    """Let an hour pass for some tasks."""
    earlier = [{"$set": {fields.DUE_AT: {"$subtract": [f"${fields.DUE_AT}", HOUR_MS]}}}]
    bench.backend.collection.update_many({"_id": {"$in": ids}}, earlier)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of tasks in a batch, a few for this test."""
    monkeypatch.setattr(recovery_module, "_BATCH", 5)
    return 5


def test_scans_go_on_until_all_messages_are_sent(bench: Bench) -> None:
    """A scan that has sent messages for one lease says that there are more."""
    ids = bench.create(3 * _BATCH + 1)
    recovery = _hurried(bench)
    assert [bench.scan(recovery) for _ in range(4)] == [True, True, True, False]
    assert bench.queued() == ids


def test_two_workers_share_a_lost_backlog(bench: Bench) -> None:
    """After a flush both send, neither the same message, until all messages are back."""
    ids = bench.create(3_000)
    assert publish(bench.app, *bench.find(*ids))
    bench.redis.delete(bench.queue)

    def send_all(recovery: SteadyRecovery) -> None:
        while bench.scan(recovery) or bench.redis.llen(bench.queue) < len(ids):
            pass

    threads = [threading.Thread(target=send_all, args=[_hurried(bench)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(bench.queued()) == sorted(ids)


def test_a_backlog_of_many_queues_and_priorities(bench: Bench, small_batches: int) -> None:
    """Each queue gets its tasks in their order. A task that is due comes with them, one for later stays where it is."""
    tasks, other, places = bench.backend.collection, f"{bench.queue}-2", [0, 0, 3, 9]
    ids = [bench.create(2 * small_batches + 2, priority=priority) for priority in places]
    tasks.update_many({"_id": {"$in": ids[1]}}, {"$set": {fields.QUEUE: other}})
    for place, status in enumerate([Status.SCHEDULED, Status.RETRY]):
        tasks.update_many({"_id": {"$in": ids[place][:2]}}, {"$set": {fields.STATUS: status, fields.ATTEMPTS: place}})
    later = {fields.STATUS: Status.SCHEDULED, fields.DUE_AT: bench.find(ids[0][3])[0].updated_at + timedelta(hours=9)}
    tasks.update_one({"_id": ids[0].pop(3)}, {"$set": later})
    recovery = _hurried(bench)
    assert [bench.scan(recovery) for _ in range(4)] == [True, True, False, False]
    assert bench.queued() == ids[0]
    assert replace(bench, queue=other).queued() == ids[1]
    assert (bench.queued(3), bench.queued(9)) == (ids[2], ids[3])
    assert tasks.count_documents({fields.STATUS: Status.SCHEDULED}) == 1


@pytest.mark.usefixtures("small_batches")
def test_tasks_that_change_meanwhile_are_not_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others cancel, claim, send or delete tasks whose ids recovery has read already."""
    ids, tasks, take = bench.create(30), bench.backend.collection, Recovery._take_lost_messages  # noqa: SLF001 - to come before it
    changes: list[Any] = [{"$set": {fields.STATUS: status}} for status in (Status.REVOKED, Status.STARTED)]
    changes += [{"$currentDate": {fields.DUE_AT: True}}]
    changed = random.sample(ids, 12)
    by_id: dict[str, Any] = dict(zip(changed, [*changes, None] * 3, strict=True))

    def change_and_take(recovery: Recovery, batch: list[str], lost: dict[str, Any]) -> Any:
        for task_id in by_id.keys() & set(batch):
            if by_id[task_id] is None:
                tasks.delete_one({"_id": task_id})
            else:
                tasks.update_one({"_id": task_id}, by_id[task_id])
        return take(recovery, batch, lost)

    monkeypatch.setattr(Recovery, "_take_lost_messages", change_and_take)
    bench.scan(bench.recovery())
    assert bench.queued() == [task_id for task_id in ids if task_id not in by_id]


def test_a_broker_that_starts_empty_again_in_the_middle(
    bench: Bench, small_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message is sent to it before recovery knows that all are lost; then they are sent, each once."""
    ids, send, recovery, sent = bench.create(4 * small_batches), Batch.send, bench.recovery(), list[Batch]()

    def send_and_restart(batch: Batch) -> None:
        send(batch)
        sent.append(batch)
        if len(sent) == 2:
            bench.redis.delete(bench.queue)
            monkeypatch.setattr(Backlog, "run_id", lambda _: "the next run")

    monkeypatch.setattr(Batch, "send", send_and_restart)
    for _ in range(2):
        assert not bench.scan(recovery)
        assert len(sent) == 2
    recovery.keep_contact()
    _set_back(bench, ids)
    bench.scan(recovery)
    assert sorted(bench.queued()) == sorted(ids)


@pytest.fixture
def fragile(settings: Settings, tmp_path: Path) -> Iterator[tuple[Bench, Proxy]]:
    """A bench behind a proxy of its broker."""
    port = int(settings.celery_broker_url.rpartition(":")[2].partition("/")[0])
    with (tmp_path / "log").open("wb") as log, Proxy({"redis": port}, log) as proxy:
        url = f"redis://127.0.0.1:{proxy.port('redis')}/0"
        with recovery_bench(settings.model_copy(update={"celery_broker_url": url})) as bench:
            # Otherwise Celery would try to connect for six seconds.
            quick = {"max_retries": 1, "interval_start": 0}
            bench.app.conf.broker_transport_options = {**bench.app.conf.broker_transport_options, **quick}
            yield bench, proxy


def test_a_broker_that_dies_in_the_middle_gets_the_rest_later(
    fragile: tuple[Bench, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch before is in the queue. Recovery stops, and sends the others when they are known to be lost."""
    bench, proxy = fragile
    ids, send, sent = bench.create(3 * _BATCH), Batch.send, list[Callable[..., None]]()

    def send_until_the_broker_dies(batch: Batch) -> None:
        sent.append(send)
        if len(sent) == 2:
            proxy.set("redis", Mode.REFUSE)
        send(batch)

    monkeypatch.setattr(Batch, "send", send_until_the_broker_dies)
    recovery = bench.recovery()
    assert not bench.scan(recovery)
    proxy.set("redis", Mode.OK)
    assert bench.queued() == ids[:_BATCH]
    assert len(sent) == 2
    recovery.keep_contact()
    # An hour later: the next batch had been taken as well.
    _set_back(bench, ids[_BATCH:])
    bench.scan(recovery)
    assert sorted(bench.queued()) == sorted(ids)
