"""A backlog that the broker has lost is sent again, all of it and each message once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from proxy import Mode, Proxy
from recovery_bench import HOUR_MS, Bench, SteadyRecovery, recovery_bench

from gql_api.record import fields
from gql_api.settings import Settings
from gql_api.worker.sending.batches import Batch
from gql_api.worker.sending.republish import publish

_BATCH = 500


def _hurried(bench: Bench) -> SteadyRecovery:
    """Make the recovery of a worker each of whose scans sends one batch."""
    recovery = bench.recovery()
    recovery._lease = timedelta()  # noqa: SLF001 - as if it took that long
    return recovery


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
    earlier = [{"$set": {fields.DUE_AT: {"$subtract": [f"${fields.DUE_AT}", HOUR_MS]}}}]
    bench.backend.collection.update_many({"_id": {"$in": ids[_BATCH:]}}, earlier)
    bench.scan(recovery)
    assert sorted(bench.queued()) == sorted(ids)
