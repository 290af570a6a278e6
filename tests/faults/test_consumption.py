"""What workers report about their consumption, in the API and to their health check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_site import Site
from proxy import Mode, Proxy
from support import Api, wait_until

from gql_api.cli.embedded_servers import HOST
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_QUICK_HEARTBEAT = {"WORKER_HEARTBEAT_SECONDS": "0.5"}
_ALIVE_AND = "{ workers { hostname isConsuming } }"


def _wait_until(api: Api, *, consuming: bool) -> None:
    def reported() -> bool:
        workers = api.data(_ALIVE_AND)["workers"]
        return bool(workers) and all(worker["isConsuming"] is consuming for worker in workers)

    wait_until(reported, 60, f"isConsuming {consuming}")


def _is_healthy(site: Site, name: str) -> bool:
    command = [sys.executable, "-m", "gql_api", "check-worker", f"{name}@{site.host}", "--timeout", "3"]
    return subprocess.run(command, env={**os.environ, **site.environment}, check=False).returncode == 0


def test_a_worker_without_a_broker_does_not_consume(site: Site, tmp_path: Path) -> None:
    """An idle or busy worker stays alive, and consumes again when the broker is back."""
    api, gate = site.api(), tmp_path / "gate"
    worker = site.worker("worker", "-c", "1", environment=_QUICK_HEARTBEAT)
    _wait_until(api, consuming=True)
    assert _is_healthy(site, "worker")
    assert not _is_healthy(site, "nobody")
    task_id = site.send("log_lines", str(gate), 1)
    site.began(task_id)
    _wait_until(api, consuming=True)
    assert _is_healthy(site, "worker")
    site.redis.kill()
    _wait_until(api, consuming=False)
    assert not _is_healthy(site, "worker")
    site.redis.start()
    _wait_until(api, consuming=True)
    assert _is_healthy(site, "worker")
    gate.write_bytes(b".")
    assert site.finished(task_id).status is Status.SUCCESS
    assert worker.process.poll() is None


def test_a_worker_whose_broker_does_not_answer_does_not_consume(site: Site) -> None:
    """Its connections are open and its heartbeat goes on, but it would take no task."""
    api = site.api()
    with (site.folder / "proxy.log").open("wb") as log, Proxy({"redis": site.redis.port}, log) as proxy:
        broker = {"CELERY_BROKER_URL": f"redis://{HOST}:{proxy.port('redis')}/0"}
        site.worker("worker", environment={**_QUICK_HEARTBEAT, **broker})
        _wait_until(api, consuming=True)
        proxy.set("redis", Mode.HANG)
        _wait_until(api, consuming=False)
        proxy.set("redis", Mode.OK)
        _wait_until(api, consuming=True)


def test_a_worker_without_mongodb_consumes(site: Site) -> None:
    """It takes tasks as soon as it can claim them: its health check does not ask for a restart."""
    site.worker("worker", environment=_QUICK_HEARTBEAT)
    site.mongodb.kill()
    assert _is_healthy(site, "worker")
