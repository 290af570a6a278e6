"""An API that is killed while it creates tasks."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import plain_http
import pytest
from fault_site import Site
from ports import free_port
from support import CREATE, Api, process, wait_until

from gql_api.record import fields
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_CALLERS = 8
_INPUT = {"name": "fault_tasks.work", "metadata": {"from": "caller"}}


@contextlib.contextmanager
def _running_api(site: Site, **environment: str) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """Start an API and wait until it knows the announced task functions."""
    port = free_port()
    log = site.folder / f"api{port}.log"
    api = Api(f"http://127.0.0.1:{port}", log, log)
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}", "--no-access-log"]
    with process(command, log, {**site.environment, **environment}) as running:
        wait_until(lambda: "fault_tasks.work" in _definitions(api))
        yield api, running


def _create_until_it_dies(api: Api, acknowledged: list[str], called: threading.Event) -> None:
    variables = {"input": _INPUT}
    with plain_http.Client(timeout=10) as client:
        while True:
            try:
                answer = client.post(api.graphql, json={"query": CREATE, "variables": variables})
            except httpx.TransportError:
                return
            acknowledged.append(answer.json()["data"]["createTask"]["task"]["id"])
            called.set()


def test_an_api_that_is_killed_while_it_creates(site: Site) -> None:
    """An acknowledged task runs; any other runs once or was never created; no record is left half-made."""
    site.worker("worker")
    acknowledged: list[str] = []
    for _ in range(3):
        with _running_api(site) as (api, running):
            called = threading.Event()
            callers = [
                threading.Thread(target=_create_until_it_dies, args=(api, acknowledged, called))
                for _ in range(_CALLERS)
            ]
            for caller in callers:
                caller.start()
            assert called.wait(20)
            running.kill()
            for caller in callers:
                caller.join()
    made = _recorded(site)
    assert set(acknowledged) <= set(made)
    for task_id in made:
        task = site.finished(task_id, 60)
        assert (task.status, task.metadata) == (Status.SUCCESS, {"from": "caller"})
    assert {site.runs("begin")[task_id] for task_id in made} == {1}


@pytest.mark.parametrize(("instant", "messages"), [("created", 0), ("published", 1)])
def test_an_api_that_dies_between_two_steps(site: Site, instant: str, messages: int) -> None:
    """Before or after it sends the message: there is one complete record, whose task runs exactly once.

    The caller, who got no answer, finds it by the idempotency key.
    """
    task_input = {**_INPUT, "idempotencyKey": "once"}
    announcing = site.worker("announcing")
    with _running_api(site, GQL_API_TESTS="1", FAIL_POINT=instant) as (api, running):
        # For a moment Redis would send the message to the killed worker.
        wait_until(lambda: site.takers() > 0)
        announcing.kill()
        wait_until(lambda: site.takers() == 0)
        with pytest.raises(httpx.TransportError):
            api.post(CREATE, input=task_input)
        assert running.wait(10) == -signal.SIGKILL
    [task_id] = _recorded(site)
    task = site.task(task_id)
    assert (task.status, task.metadata) == (Status.QUEUED, {"from": "caller"})
    with site.broker() as redis:
        assert redis.llen("celery") == messages
    site.worker("worker")
    task = site.finished(task_id)
    assert (task.status, task.metadata, task.attempts) == (Status.SUCCESS, {"from": "caller"}, 1)
    site.wait_for_recovery(2)
    with _running_api(site) as (api, _):
        payload = api.data(CREATE, input=task_input)["createTask"]
    assert (payload["created"], payload["task"]["id"]) == (False, task_id)
    assert site.runs("begin") == {task_id: 1}
    assert _recorded(site) == [task_id]


def _recorded(site: Site) -> list[str]:
    tasks = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - a test may read all of them
    return [document["_id"] for document in tasks.find({}, {"_id": 1})]


def _definitions(api: Api) -> str:
    try:
        return str(api.post("{ taskDefinitions { name } }"))
    except httpx.TransportError:
        return ""
