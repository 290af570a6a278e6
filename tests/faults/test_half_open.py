"""Half-open connections: what is sent over them is swallowed, and they are never closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from fault_site import Site
from proxy import Mode, Proxy
from support import wait_until

from gql_api.cli.embedded_servers import HOST
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

# A worker notices within seconds; this is also for a machine that is busy.
_NOTICED_SECONDS = 60.0


@contextmanager
def _proxied(site: Site) -> Iterator[Proxy]:
    targets = {"redis": site.redis.port, "mongodb": site.mongodb.members[0].port}
    with (site.folder / "proxy.log").open("wb") as log, Proxy(targets, log) as proxy:
        yield proxy


def _environment(proxy: Proxy) -> dict[str, str]:
    return {
        "CELERY_BROKER_URL": f"redis://{HOST}:{proxy.port('redis')}/0",
        # Without discovery, which would find the server's own address.
        "MONGODB_URL": f"mongodb://{HOST}:{proxy.port('mongodb')}/?directConnection=true",
    }


def _leases(site: Site, tasks: list[str]) -> list[datetime | None]:
    return [site.task(task_id).due_at for task_id in tasks]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_an_idle_worker_whose_broker_connections_died(site: Site, pool: str) -> None:
    """It opens new connections and takes the next task."""
    with _proxied(site) as proxy:
        site.worker("worker", "-P", pool, environment=_environment(proxy))
        assert site.finished(site.send("work")).status is Status.SUCCESS
        proxy.set("redis", Mode.HALF_OPEN)
        assert site.finished(site.send("work"), _NOTICED_SECONDS).status is Status.SUCCESS


def test_a_function_that_sends_over_a_dead_connection(site: Site, tmp_path: Path) -> None:
    """It sends its task over another connection, and ends."""
    gate = tmp_path / "gate"
    with _proxied(site) as proxy:
        site.worker("worker", environment=_environment(proxy))
        parent = site.send("send_before_and_after", str(gate))
        site.began(parent)
        proxy.set("redis", Mode.HALF_OPEN)
        gate.touch()
        ended = site.finished(parent, _NOTICED_SECONDS)
        assert (ended.status, ended.attempts) == (Status.SUCCESS, 1)
        assert site.finished(ended.result, _NOTICED_SECONDS).status is Status.SUCCESS


def test_a_function_that_sends_while_the_broker_does_not_answer(site: Site, tmp_path: Path) -> None:
    """The record is enough: it ends before the broker answers, and its task runs after that."""
    gate = tmp_path / "gate"
    with _proxied(site) as proxy:
        site.worker("worker", environment=_environment(proxy))
        parent = site.send("send_before_and_after", str(gate))
        site.began(parent)
        proxy.set("redis", Mode.HANG)
        gate.touch()
        ended = site.finished(parent, _NOTICED_SECONDS)
        assert ended.status is Status.SUCCESS
        proxy.set("redis", Mode.OK)
        assert site.finished(ended.result, _NOTICED_SECONDS).status is Status.SUCCESS


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_running_task_whose_worker_lost_its_store_connections(site: Site, tmp_path: Path, pool: str) -> None:
    """Its lease is extended over a new connection before it ends, so the task runs once, and its result is stored."""
    lease = {"LEASE_SECONDS": "8"}
    with _proxied(site) as proxy:
        holder = site.worker("holder", "-P", pool, environment={**_environment(proxy), **lease})
        # More connections than one are open.
        for task_id in [site.send("work", 0.2) for _ in range(6)]:
            site.finished(task_id)
        tasks = [site.send("log_lines", str(tmp_path / "gate"), 1) for _ in range(2)]
        for task_id in tasks:
            site.began(task_id)
        site.worker("other", environment=lease)
        proxy.set("mongodb", Mode.HALF_OPEN)
        for _ in range(3):
            before = _leases(site, tasks)
            wait_until(lambda before=before: _leases(site, tasks) != before, _NOTICED_SECONDS)  # type: ignore[misc] # a loop variable
        (tmp_path / "gate").write_bytes(b".")
        for task_id in tasks:
            ended = site.finished(task_id, _NOTICED_SECONDS)
            assert (ended.status, ended.attempts) == (Status.SUCCESS, 1)
            assert site.runs("begin")[task_id] == 1
        assert holder.process.poll() is None
