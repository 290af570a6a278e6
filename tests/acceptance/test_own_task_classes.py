"""An application with task classes of its own and with coroutine functions, run by a worker with each kind of pool."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from support import Api, process, wait_until

_LOG = "query ($id: ID!) { task(id: $id) { logs { nodes { message } } } }"
_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id) { userErrors { code } } }"
_POOLS = ("prefork", "threads", "solo", "gevent")


@pytest.fixture(scope="module", autouse=True)
def _workers(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a worker of the application for each kind of pool, with a queue of that name."""
    folder = tmp_path_factory.mktemp("classes")
    # Tasks are refused for the queue of a worker that is silent for three beats. These say so when they stop.
    env = {**environment, "WORKER_HEARTBEAT_SECONDS": "20"}
    with contextlib.ExitStack() as stack:
        started = []
        for pool in _POOLS:
            worker = [sys.executable, "-m", "celery", "-A", "class_tasks", "worker", "-P", pool, "-c", "2", "-Q", pool]
            command = [*worker, "-n", f"{pool}@%h", "--without-mingle", "--without-gossip"]
            started.append(stack.enter_context(process(command, folder / f"{pool}.log", env)))
        for running in started:
            # All of them stop at the same time.
            stack.callback(running.terminate)
        workers = "{ workers { hostname } }"
        wait_until(lambda: all(f"{pool}@" in str(api.data(workers)) for pool in _POOLS), 60)
        yield


@pytest.fixture(params=_POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    """A kind of pool, and the queue of its worker."""
    return str(request.param)


def _run(api: Api, name: str, pool: str, **rest: Any) -> dict[str, Any]:
    return api.finished(api.create(f"class_tasks.{name}", queue=pool, **rest))


def _log_of(api: Api, task_id: str) -> list[str]:
    return [line["message"] for line in api.data(_LOG, id=task_id)["task"]["logs"]["nodes"]]


def test_a_task_runs_in_the_class_of_its_application(api: Api) -> None:
    """The class enters its context, the function has progress, log and metadata, and the task is claimed."""
    task = _run(api, "in_context", "threads")
    assert (task["result"], task["attempts"]) == ("entered {'context': 'entered'} False", 1)
    assert (task["progress"]["message"], task["metadata"]) == ("half", {"context": "entered"})
    assert _log_of(api, task["id"]) == ["in context"]


def test_a_task_of_a_plain_class_reports(api: Api) -> None:
    """`shared_task(base=...)` of Celery's own class has the same methods, and cannot bypass the claim."""
    task = _run(api, "of_plain_class", "prefork", args=["tea"])
    assert (task["result"], task["attempts"]) == (["tea", {"value": "tea"}, "no context"], 1)
    assert (task["progress"]["message"], _log_of(api, task["id"])) == ("half", ["plain"])


def test_a_coroutine_function_has_everything(api: Api, pool: str) -> None:
    """A coroutine and its parts know their task, its context, and report; what it sends is the child of the task."""
    definitions = api.data("{ taskDefinitions { name inputSchema } }")["taskDefinitions"]
    schema = next(d["inputSchema"] for d in definitions if d["name"] == "class_tasks.does_everything")
    assert schema["properties"] == {"x": {"type": "integer"}}
    task = _run(api, "does_everything", pool, args=[4])
    assert (task["status"], task["attempts"]) == ("SUCCESS", 1), task["error"]
    sent = task["result"].pop("sent")
    places = {"model": True, "in place": {"number": 4}}
    assert task["result"] == {"own": True, "context": "entered", "metadata": {"x": 4}, **places}
    assert (task["progress"]["percent"], task["progress"]["message"]) == (40.0, "some")
    assert sorted(_log_of(api, task["id"])) == ["begins", "part 1", "part 2"]
    parent = api.data("query ($id: ID!) { task(id: $id) { parent { id } } }", id=sent)["task"]["parent"]
    assert parent == {"id": task["id"]}


@pytest.mark.parametrize(
    ("name", "kwargs", "attempts"),
    [("retries", {}, 3), ("retries", {"in_group": True}, 3), ("retried_by_celery", {}, 2)],
)
def test_a_coroutine_function_is_retried(api: Api, pool: str, name: str, kwargs: dict[str, Any], attempts: int) -> None:
    """`self.retry()` in a coroutine, also in one of a task group, and `autoretry_for`."""
    task = _run(api, name, pool, kwargs=kwargs)
    assert (task["status"], task["attempts"], task["result"]) == ("SUCCESS", attempts, attempts - 1), task["error"]


def test_a_coroutine_function_fails(api: Api, pool: str) -> None:
    """The traceback shows the function and not the machinery; a cancellation of its own is a failure too."""
    error = _run(api, "fails", pool, args=["error"])["error"]
    assert (error["type"], error["message"]) == ("ValueError", "no")
    frames = [line for line in error["traceback"].splitlines() if line.startswith("  File")]
    assert frames[-2].endswith("in fails")
    assert frames[-1].endswith("in inner")
    assert _run(api, "fails", pool, args=["cancelled"])["error"]["type"] == "CancelledError"


def test_a_coroutine_function_is_cancelled(api: Api, pool: str, redis: Redis) -> None:
    """A cancelled task gets the exception where it reports next, and may clean up."""
    key = str(uuid.uuid4())
    task_id = api.create("class_tasks.until_cancelled", args=[key], queue=pool)
    assert redis.blpop([key], timeout=30)
    api.data(_CANCEL, id=task_id)
    assert redis.blpop([key], timeout=30) == (key, f"cleaned {task_id}")
    assert api.finished(task_id)["status"] == "REVOKED"


def test_coroutines_of_a_process_share_a_loop(api: Api, redis: Redis) -> None:
    """Two tasks of a worker with threads run at the same time in one event loop, each with its own context."""
    key = str(uuid.uuid4())
    ids = {api.create("class_tasks.until_cancelled", args=[key], queue="threads") for _ in range(2)}
    started = [redis.blpop([key], timeout=30) for _ in range(2)]
    pairs = [text.split() for found in started if found is not None for text in found[1:]]
    assert {own for own, _ in pairs} == ids
    assert len({loop for _, loop in pairs}) == 1
    for task_id in ids:
        api.data(_CANCEL, id=task_id)
    assert {api.finished(task_id)["status"] for task_id in ids} == {"REVOKED"}


def test_other_functions_of_a_process_are_not_in_its_loop(api: Api, redis: Redis) -> None:
    """With gevent, which runs the loop and the other tasks in one thread, a function may run a loop of its own."""
    key = str(uuid.uuid4())
    coroutine = api.create("class_tasks.until_cancelled", args=[key], queue="gevent")
    assert redis.blpop([key], timeout=30)
    assert _run(api, "runs_a_loop", "gevent")["result"] == "done"
    api.data(_CANCEL, id=coroutine)
    assert api.finished(coroutine)["status"] == "REVOKED"


def test_a_soft_time_limit_cancels_the_coroutine(api: Api) -> None:
    """The coroutine cleans up and the task fails with the limit, or the function returns a result after all."""
    late, saved = (api.create("class_tasks.exceeds_limit", args=args, queue="prefork") for args in ([], ["saved"]))
    assert api.finished(late)["error"]["type"] == "SoftTimeLimitExceeded"
    assert _log_of(api, late) == ["cleaned"]
    assert api.finished(saved)["result"] == "saved"


def test_what_a_coroutine_leaves_behind_reports_for_no_other_task(api: Api) -> None:
    """A coroutine that goes on after its task has no task: the next one in its process has its own reports only."""
    left = _run(api, "leaves_behind", "solo")
    task = _run(api, "waits", "solo", args=[0.7])
    assert (_log_of(api, task["id"]), task["progress"]) == (["waits"], None)
    assert (_log_of(api, left["id"]), left["status"]) == ([], "SUCCESS")
