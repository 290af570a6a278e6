"""When, where, once and many: the options of createTask, on a real API and a real worker."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import plain_http
import pytest
from ports import free_port
from redis import Redis
from support import CREATE, FIELDS, Api, process, wait_until

MANY = """
mutation ($inputs: [CreateTaskInput!]!) {
  createTasks(inputs: $inputs) {
    results { created task { id status } userErrors { code field } } userErrors { code field }
  }
}
"""
TIMES = (
    "query ($id: ID!) { task(id: $id) { scheduledFor expiresAt idempotencyKey owner parent { id } priority queue } }"
)
RESCHEDULE = f"""
mutation ($id: ID!, $time: DateTime!) {{
  rescheduleTask(id: $id, scheduledFor: $time) {{ task {{ {FIELDS} scheduledFor }} userErrors {{ code field }} }}
}}
"""


def _create(api: Api, **rest: Any) -> dict[str, Any]:
    """Create a task that adds, and return the whole payload."""
    variables = {"name": "task_modules.add", "args": [1], **rest}
    payload: dict[str, Any] = api.data(CREATE, input=variables)["createTask"]
    return payload


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_task_starts_when_it_is_to(api: Api) -> None:
    """Until its time comes a task is SCHEDULED, whether that is given as a time or as a delay."""
    delay = timedelta(seconds=2)
    due = datetime.now(UTC) + delay
    at = _create(api, scheduledFor=due.isoformat())["task"]
    after = _create(api, delaySeconds=2)["task"]
    created = datetime.now(UTC)
    assert after["status"] == "SCHEDULED"
    # The time may come before the call where a machine stands still.
    assert at["status"] == "SCHEDULED" or created >= due
    for made in (at, after):
        task = api.finished(made["id"])
        asked = _time(api.data(TIMES, id=made["id"])["task"]["scheduledFor"])
        assert _time(task["startedAt"]) >= asked
        assert due - timedelta(milliseconds=1) <= asked <= created + delay  # MongoDB keeps milliseconds
        waited = ["SCHEDULED"] if made["status"] == "SCHEDULED" else []
        assert [entry["status"] for entry in task["history"]] == [*waited, "QUEUED", "STARTED", "SUCCESS"]
    past = _create(api, scheduledFor=(due - timedelta(days=1)).isoformat())["task"]
    assert past["status"] == "QUEUED"
    assert api.finished(past["id"])["result"] == 2


def test_a_task_is_rescheduled(api: Api) -> None:
    """A task far ahead can be let begin now, and one that has ended or begun cannot be moved any more."""
    task_id = _create(api, delaySeconds=3600, expiresInSeconds=60)["task"]["id"]
    before = api.data(TIMES, id=task_id)["task"]
    later = datetime.now(UTC) + timedelta(hours=2)
    moved = api.data(RESCHEDULE, id=task_id, time=later.isoformat())["rescheduleTask"]["task"]
    assert (moved["status"], moved["history"][-1]["message"]) == ("SCHEDULED", "rescheduled")
    after = api.data(TIMES, id=task_id)["task"]
    lifetimes = [_time(times["expiresAt"]) - _time(times["scheduledFor"]) for times in (before, after)]
    assert lifetimes == [timedelta(seconds=60)] * 2
    now = api.data(RESCHEDULE, id=task_id, time=datetime.now(UTC).isoformat())["rescheduleTask"]
    assert now["userErrors"] == []
    assert api.finished(task_id)["result"] == 2
    late = api.data(RESCHEDULE, id=task_id, time=later.isoformat())["rescheduleTask"]
    assert [error["code"] for error in late["userErrors"]] == ["ALREADY_FINAL"]
    unknown = api.data(RESCHEDULE, id="nope", time=later.isoformat())["rescheduleTask"]
    assert [error["code"] for error in unknown["userErrors"]] == ["NOT_FOUND"]


def test_a_task_that_nobody_starts_expires(api: Api, redis: Redis) -> None:
    """A task that waits longer than it may is REVOKED, and does not run."""
    key = uuid.uuid4().hex
    blockers = [api.create("task_modules.wait_for_key", args=[key]) for _ in range(4)]
    for _ in blockers:
        assert redis.blpop([f"{key}:started"], timeout=20)
    task_id = _create(api, expiresInSeconds=0.5)["task"]["id"]
    task = api.finished(task_id)
    assert (task["status"], task["error"]["message"], task["attempts"]) == ("REVOKED", "expired", 0)
    redis.lpush(key, *[1] * 4)
    for blocker in blockers:
        api.finished(blocker)


def test_a_time_limit_is_for_one_task(api: Api, redis: Redis) -> None:
    """A caller can limit how long the function of a task may take; others of its name take as long as they do."""
    key = uuid.uuid4().hex
    limited = api.create("task_modules.wait_for_key", args=[key], timeLimitSeconds=1)
    task = api.finished(limited)
    assert (task["status"], task["error"]["type"]) == ("FAILURE", "TimeLimitExceeded")
    redis.lpush(key, 1)
    assert api.finished(api.create("task_modules.wait_for_key", args=[key]))["result"] == "released"


def test_queue_priority_and_parent(api: Api) -> None:
    """The task has the options that its caller chose."""
    parent = _create(api)["task"]["id"]
    task_id = _create(api, queue="celery", priority=7, parentId=parent)["task"]["id"]
    assert api.finished(task_id)["result"] == 2
    task = api.data(TIMES, id=task_id)["task"]
    assert (task["queue"], task["priority"], task["parent"]) == ("celery", 7, {"id": parent})
    assert (task["idempotencyKey"], task["owner"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": 10}, "priority"),
        ({"priority": -1}, "priority"),
        ({"queue": "nobody serves this"}, "queue"),
        ({"delaySeconds": -1}, "delaySeconds"),
        ({"delaySeconds": 1e12}, "delaySeconds"),
        ({"delaySeconds": 1, "scheduledFor": "2030-01-01T00:00:00Z"}, "delaySeconds"),
        ({"expiresInSeconds": 0}, "expiresInSeconds"),
        ({"timeLimitSeconds": 0}, "timeLimitSeconds"),
        ({"timeLimitSeconds": 0.999}, "timeLimitSeconds"),
        ({"parentId": "nope"}, "parentId"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"idempotencyKey": "x" * 256}, "idempotencyKey"),
    ],
    ids=str,
)
def test_options_that_cannot_be(api: Api, options: dict[str, Any], field: str) -> None:
    """Each is refused, and the field that is wrong is named."""
    payload = _create(api, **options)
    assert (payload["task"], payload["created"]) == (None, False)
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("INVALID_INPUT", ["input", field])]


def test_the_extremes_of_time(api: Api) -> None:
    """Start times from the first second of year 1 to ten years from now are accepted; malformed times are refused."""
    assert _create(api, scheduledFor="0001-01-01T00:00:00Z")["task"]["status"] == "QUEUED"
    far, later = "9999-12-31T00:00:00Z", _create(api, delaySeconds=9)["task"]["id"]
    for refused in (
        _create(api, scheduledFor=far, expiresInSeconds=1e8),
        api.data(RESCHEDULE, id=later, time=far)["rescheduleTask"],
    ):
        assert [error["field"][-1] for error in refused["userErrors"]] == ["scheduledFor"]
    for time in ("2030-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now"):
        answer = api.post(CREATE, input={"name": "task_modules.add", "args": [1], "scheduledFor": time})
        assert "INTERNAL" not in str(answer["errors"])


def test_the_same_key_and_input_are_one_task(api: Api) -> None:
    """A call that is repeated answers with the task that it made first; with another input it is a conflict."""
    key = uuid.uuid4().hex
    first = _create(api, idempotencyKey=key, metadata={"n": 1})
    again = _create(api, idempotencyKey=key, metadata={"n": 1})
    assert (first["created"], again["created"]) == (True, False)
    assert again["task"]["id"] == first["task"]["id"]
    other = _create(api, idempotencyKey=key, metadata={"n": 2})
    assert [error["code"] for error in other["userErrors"]] == ["IDEMPOTENCY_CONFLICT"]
    elsewhere = api.data(CREATE, input={"name": "task_modules.echo", "idempotencyKey": key})["createTask"]
    assert elsewhere["created"] is True
    assert api.data(TIMES, id=first["task"]["id"])["task"]["idempotencyKey"] == key


def test_a_key_of_another_input_leads_to_no_arguments(api: Api) -> None:
    """The answer names the other task by its id, and has nothing else of it, whether one task or many are created."""
    key = uuid.uuid4().hex
    secret = {"args": [1], "kwargs": {}, "metadata": {"note": uuid.uuid4().hex}}
    first = _create(api, idempotencyKey=key, **secret)["task"]["id"]
    guess = {"name": "task_modules.add", "args": [2], "idempotencyKey": key}
    everything = f"created task {{ {FIELDS} }} userErrors {{ code message field }}"
    one = f"mutation ($input: CreateTaskInput!) {{ createTask(input: $input) {{ {everything} }} }}"
    many = (
        f"mutation ($inputs: [CreateTaskInput!]!) {{ createTasks(inputs: $inputs) {{ results {{ {everything} }} }} }}"
    )
    (of_many,) = api.data(many, inputs=[guess])["createTasks"]["results"]
    error = {
        "code": "IDEMPOTENCY_CONFLICT",
        "message": f"idempotencyKey: must be new or come with the same input, got the key of task {first}",
        "field": ["input", "idempotencyKey"],
    }
    for payload in (api.data(one, input=guess)["createTask"], of_many):
        assert payload == {"created": False, "task": None, "userErrors": [error]}


@pytest.fixture
def replica(request: pytest.FixtureRequest, api: Api, environment: dict[str, str], tmp_path: Path) -> Iterator[Api]:
    """One more API on the same databases, with settings of the test's own."""
    port = free_port()
    other = Api(f"http://127.0.0.1:{port}", tmp_path / "api.log", api.worker_log)
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", "--no-access-log", f"--port={port}"]
    with process(command, other.log, {**environment, **request.param}):
        wait_until(lambda: _answers(other), 60)
        yield other


def _answers(api: Api) -> bool:
    try:
        return plain_http.get(f"{api.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("replica", [{}], indirect=True, ids=["the same settings"])
def test_a_hundred_calls_at_once_make_one_task(api: Api, replica: Api) -> None:
    """However many calls with one key meet on two replicas, exactly one of them creates."""
    key = uuid.uuid4().hex
    payloads: list[dict[str, Any]] = []
    barrier = threading.Barrier(100)

    def call(where: Api) -> None:
        barrier.wait()
        payloads.append(_create(where, idempotencyKey=key))

    callers = [threading.Thread(target=call, args=((api, replica)[n % 2],)) for n in range(100)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(payloads) == 100
    assert sum(payload["created"] for payload in payloads) == 1
    assert {payload["task"]["id"] for payload in payloads} == {payloads[0]["task"]["id"]}
    assert api.finished(payloads[0]["task"]["id"])["attempts"] == 1


@pytest.mark.parametrize("replica", [{"IDEMPOTENCY_KEY_SECONDS": "1"}], indirect=True, ids=["short memory"])
def test_a_key_is_forgotten_in_time(api: Api, replica: Api) -> None:
    """After its lifetime a key creates a new task, and the old task has lost it."""
    key = uuid.uuid4().hex
    first = _create(api, idempotencyKey=key)["task"]["id"]
    payload = wait_until(lambda: (made := _create(replica, idempotencyKey=key))["created"] and made)
    assert payload["task"]["id"] != first
    assert api.data(TIMES, id=first)["task"]["idempotencyKey"] is None


def test_many_tasks_are_created_at_once(api: Api) -> None:
    """Each input has an outcome of its own: those that can be are created, and all of these run."""
    key = uuid.uuid4().hex
    add = {"name": "task_modules.add"}
    inputs = [
        *({**add, "args": [n], "metadata": {"n": n}} for n in range(50)),
        {"name": "nope"},
        {**add, "args": ["one"]},
        {**add, "args": [1], "idempotencyKey": key},
        {**add, "args": [1], "idempotencyKey": key},
        {**add, "args": [2], "idempotencyKey": key},
        {**add, "args": [1], "delaySeconds": 3600},
    ]
    payload = api.data(MANY, inputs=inputs)["createTasks"]
    results = payload["results"]
    assert payload["userErrors"] == []
    assert [result["created"] for result in results] == [True] * 50 + [False, False, True, False, False, True]
    assert [[error["code"] for error in result["userErrors"]] for result in results[50:]] == [
        ["UNKNOWN_TASK_NAME"], ["INVALID_INPUT"], [], [], ["IDEMPOTENCY_CONFLICT"], [],
    ]  # fmt: skip
    assert results[51]["userErrors"][0]["field"] == ["input", "args", "0"]
    assert results[52]["task"]["id"] == results[53]["task"]["id"]
    assert results[55]["task"]["status"] == "SCHEDULED"
    for n, result in enumerate(results[:50]):
        task = api.finished(result["task"]["id"])
        assert (task["result"], task["metadata"], task["attempts"]) == (n + 1, {"n": n}, 1)


def test_more_than_a_thousand_are_too_many(api: Api) -> None:
    """The error names the bound, and nothing is created."""
    payload = api.data(MANY, inputs=[{"name": "task_modules.add", "args": [1]}] * 1001)["createTasks"]
    assert (payload["results"], payload["userErrors"]) == ([], [{"code": "INVALID_INPUT", "field": ["inputs"]}])
    assert api.data(MANY, inputs=[])["createTasks"] == {"results": [], "userErrors": []}
