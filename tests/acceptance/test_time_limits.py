"""Time limits that clients and senders ask for, within the bounds of the deployment."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest
from malformed import encoded, valid
from redis import Redis
from support import Api, process, wait_until


def test_a_very_short_limit_of_a_message_is_raised(
    api: Api, redis: Redis, environment: dict[str, str], tmp_path: Path
) -> None:
    """It ends no process of the worker for a function that takes less than the minimum."""
    task_id, queue = str(uuid.uuid4()), f"{uuid.uuid4().hex}.queue"
    message = valid(task_id, "long_running_task", queue, timelimit=[0.001, None])
    redis.lpush(queue, json.dumps({**message, "body": encoded([["x"], {"seconds": 0.5}, {}])}))
    options = ["-c", "1", "-Q", queue, "-n", f"{queue}@limits", "--without-mingle"]
    command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", *options]
    # A worker of its own: within the minimum of the others, a busy machine may need a second for half of one.
    env = {**environment, "TIME_LIMIT_MIN_SECONDS": "60"}
    with process(command, tmp_path / "worker.log", env):
        wait_until(lambda: api.data("query ($id: ID!) { task(id: $id) { id } }", id=task_id)["task"], 60)
        assert api.finished(task_id)["status"] == "SUCCESS"


@pytest.mark.parametrize("seconds", [0.001, 0.999, -1, 1e300])
def test_a_limit_outside_the_bounds_is_refused(api: Api, seconds: float) -> None:
    """The error names the field and the bounds."""
    create = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"
    task = {"name": "long_running_task", "args": [1], "timeLimitSeconds": seconds}
    [error] = api.data(create, input=task)["createTask"]["userErrors"]
    assert error["message"].startswith("timeLimitSeconds: must be from 1 to ")
