"""Time limits that clients and senders ask for, within the bounds of the deployment."""

from __future__ import annotations

import json
import uuid

import pytest
from malformed import encoded, valid
from redis import Redis
from support import Api, wait_until


def test_a_very_short_limit_of_a_message_is_raised(api: Api, redis: Redis) -> None:
    """It ends no process of the worker for a function that takes less than the minimum."""
    task_id = str(uuid.uuid4())
    message = valid(task_id, "long_running_task", timelimit=[0.001, None])
    redis.lpush("celery", json.dumps({**message, "body": encoded([["x"], {"seconds": 0.5}, {}])}))
    wait_until(lambda: api.data("query ($id: ID!) { task(id: $id) { id } }", id=task_id)["task"])
    assert api.finished(task_id)["status"] == "SUCCESS"


@pytest.mark.parametrize("seconds", [0.001, 0.999, -1, 1e300])
def test_a_limit_outside_the_bounds_is_refused(api: Api, seconds: float) -> None:
    """The error names the field and the bounds."""
    create = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"
    task = {"name": "long_running_task", "args": [1], "timeLimitSeconds": seconds}
    [error] = api.data(create, input=task)["createTask"]["userErrors"]
    assert error["message"].startswith("timeLimitSeconds: must be from 1 to ")
