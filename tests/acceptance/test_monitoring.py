"""Queues and workers over the API, with a worker that serves a queue of its own and is killed."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis
from support import Api, process, wait_until

_WORKERS = "{ workers { hostname pool concurrency active lastHeartbeatAt missedHeartbeats isConsuming } }"
_QUEUES = "{ queues { name depth oldestQueuedAt } }"
_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id) { userErrors { code } } }"


def _worker(api: Api, hostname: str) -> dict[str, Any] | None:
    found = api.data(_WORKERS)["workers"]
    assert [worker["hostname"] for worker in found] == sorted(worker["hostname"] for worker in found)
    return next((worker for worker in found if worker["hostname"] == hostname), None)


def _queue(api: Api, name: str) -> dict[str, Any] | None:
    found = api.data(_QUEUES)["queues"]
    assert [queue["name"] for queue in found] == sorted(queue["name"] for queue in found)
    return next((queue for queue in found if queue["name"] == name), None)


def _depth(api: Api, name: str) -> int:
    queue = _queue(api, name)
    return -1 if queue is None else int(queue["depth"])


def test_a_worker_and_its_queue(api: Api, redis: Redis, environment: dict[str, str], tmp_path: Path) -> None:
    """Workers report active tasks, queues depth and age; a killed worker disappears, and its tasks remain."""
    key = uuid.uuid4().hex
    hostname, queue = f"{key}@monitored", f"{key}.queue"
    options = ["-c", "1", "-Q", queue, "-n", hostname, "--without-mingle", "-P", "prefork"]
    command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", *options]
    began = datetime.now(UTC)
    # A worker on a busy machine may miss three beats, and is not listed then: each look waits for it.
    with process(command, tmp_path / "worker.log", environment) as started:
        worker = wait_until(lambda: _worker(api, hostname), 60)
        assert worker is not None
        assert (worker["pool"], worker["concurrency"], worker["active"]) == ("prefork", 1, 0)
        assert began < datetime.fromisoformat(worker["lastHeartbeatAt"]) < datetime.now(UTC)
        assert worker["missedHeartbeats"] <= 2
        empty = {"name": queue, "depth": 0, "oldestQueuedAt": None}
        wait_until(lambda: _queue(api, queue) == empty)

        running = api.create("task_modules.wait_for_key", args=[key], queue=queue)
        assert redis.blpop([f"{key}:started"], timeout=20)
        waiting = api.create("task_modules.wait_for_key", args=[key], queue=queue)
        task = wait_until(lambda: api.task(running))
        assert (task["status"], task["worker"]) == ("STARTED", hostname)
        worker = wait_until(lambda: _worker(api, hostname))
        assert worker is not None
        assert (worker["active"], worker["isConsuming"]) == (1, True)
        assert _queue(api, queue) == {"name": queue, "depth": 1, "oldestQueuedAt": api.task(waiting)["createdAt"]}

        os.killpg(started.pid, signal.SIGKILL)
        wait_until(lambda: _worker(api, hostname) is None)
    # Recovery by the other worker gives the task back to a queue that nobody serves now.
    wait_until(lambda: _depth(api, queue) == 2)
    for task_id in (running, waiting):
        assert api.data(_CANCEL, id=task_id)["cancelTask"]["userErrors"] == []
    assert _queue(api, queue) is None


def test_a_task_shows_whether_a_worker_knows_its_function(
    api: Api, environment: dict[str, str], tmp_path: Path
) -> None:
    """A task whose function no live worker knows stays QUEUED and names the reason; another function's task runs."""
    queue, definition = (
        f"{uuid.uuid4().hex}.queue",
        "query ($id: ID!) { task(id: $id) { definition { name workers } } }",
    )
    (tmp_path / "late_tasks.py").write_text(
        f"from celery import shared_task\n@shared_task(queue='{queue}')\ndef late():\n    return 'late'\n"
    )
    options = ["-c", "1", "-Q", queue, "-n", f"{queue}@late", "--without-mingle"]
    command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", *options]
    path = f"{tmp_path}:{environment['PYTHONPATH']}"
    able = {**environment, "TASK_MODULES": "late_tasks", "PYTHONPATH": path}
    with process(command, tmp_path / "able.log", able):
        wait_until(lambda: "late_tasks.late" in str(api.data("{ taskDefinitions { name } }")), 60)
    ignorant = {**environment, "TASK_MODULES": "jobs.tasks"}
    # Tasks are refused for the queue of a worker that is silent for three beats.
    ignorant["WORKER_HEARTBEAT_SECONDS"] = "20"
    with process(command, tmp_path / "ignorant.log", ignorant):
        wait_until(lambda: _worker(api, f"{queue}@late"), 60)
        waiting = api.create("late_tasks.late")
        known = api.create("long_running_task", args=["x", 0], queue=queue)
        assert api.finished(known)["status"] == "SUCCESS"
        log = tmp_path / "ignorant.log"
        wait_until(lambda: "no live worker knows late_tasks.late" in log.read_text())
        assert api.task(waiting)["status"] == "QUEUED"
        assert api.data(definition, id=waiting)["task"]["definition"] == {"name": "late_tasks.late", "workers": 0}
    with process(command, tmp_path / "able.log", able):
        assert api.finished(waiting, 60)["result"] == "late"
