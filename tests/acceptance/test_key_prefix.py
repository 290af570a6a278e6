"""An adopted application whose queues have a prefix in Redis, other priorities and routes of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from support import ROOT, Api, process, wait_until

_APP = """
from celery import Celery
from kombu import Exchange, Queue
from gql_api.adopt import adopt
app = adopt(Celery("prefixed", broker={broker!r}))
app.conf.update(
    broker_transport_options={{"global_keyprefix": "shop.", "sep": ":", "queue_order_strategy": "priority"}},
    task_queues=[Queue("prefixed-films", Exchange("media"), routing_key="video")],
    task_default_queue="prefixed-films",
    task_routes={{"prefixed.cut": {{"exchange": "media", "routing_key": "video"}}}},
    task_default_priority=3,
)

@app.task(name="prefixed.cut")
def cut(seconds): return seconds
"""


@pytest.fixture(scope="module")
def prefixed(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker of the application, and its folder."""
    folder: Path = tmp_path_factory.mktemp("prefixed")
    (folder / "prefixed.py").write_text(_APP.format(broker=environment["CELERY_BROKER_URL"]))
    # Recovery would hide that a message is where no worker takes it from.
    env = {**environment, "PYTHONPATH": f"{folder}:{ROOT}", "RECOVERY_INTERVAL_SECONDS": "600"}
    command = [sys.executable, "-m", "celery", "-A", "prefixed", "worker", "-P", "solo", "-n", "prefixed@%h"]
    with process([*command, "--without-mingle"], folder / "worker.log", env, cwd=folder):
        wait_until(lambda: "prefixed.cut" in str(api.data("{ taskDefinitions { name } }")), 60)
        yield folder


def test_the_api_publishes_as_the_application_would(api: Api, prefixed: Path, redis: Redis) -> None:
    """The task runs at once, and no list without the prefix is made."""
    assert prefixed.exists()
    task = api.finished(api.create("prefixed.cut", args=[2]))
    assert (task["status"], task["result"], task["queue"], task["priority"]) == ("SUCCESS", 2, "prefixed-films", 3)
    assert [entry["status"] for entry in task["history"]] == ["QUEUED", "STARTED", "SUCCESS"]
    assert [*redis.scan_iter("prefixed-films*")] == []
    assert "CELERY_BROKER_URL: set" not in api.log.read_text()
