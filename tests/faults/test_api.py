"""An API that is killed while it creates tasks."""

from __future__ import annotations

import sys
import threading

import httpx
import pytest
from fault_site import Site
from support import CREATE, Api, process, wait_until

from gql_api.servers import free_port
from jobs.record import fields
from jobs.record.fields import Status

pytestmark = pytest.mark.fault

_CALLERS = 8


def _create_until_it_dies(api: Api, acknowledged: list[str], called: threading.Event) -> None:
    variables = {"input": {"name": "fault_tasks.work", "metadata": {"from": "caller"}}}
    with httpx.Client(timeout=10) as client:
        while True:
            try:
                answer = client.post(api.graphql, json={"query": CREATE, "variables": variables})
            except httpx.TransportError:
                return
            acknowledged.append(answer.json()["data"]["createTask"]["task"]["id"])
            called.set()


def test_an_api_that_is_killed_while_it_creates(site: Site) -> None:
    """What it acknowledged runs; what it did not runs once or was never made; nothing is left half-made."""
    site.worker("worker")
    acknowledged: list[str] = []
    for round_ in range(3):
        port = free_port()
        log = site.folder / f"api{round_}.log"
        api = Api(f"http://127.0.0.1:{port}", log, log)
        command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}", "--no-access-log"]
        with process(command, log, site.environment) as running:
            wait_until(lambda api=api: "fault_tasks.work" in _definitions(api))  # type: ignore[misc] # a loop variable
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
    made = [document["_id"] for document in site.store._connections.database()[fields.TASKS].find({}, {"_id": 1})]  # noqa: SLF001
    assert set(acknowledged) <= set(made)
    for task_id in made:
        task = site.finished(task_id, 60)
        assert (task.status, task.metadata) == (Status.SUCCESS, {"from": "caller"})
    assert {site.runs("begin")[task_id] for task_id in made} == {1}


def _definitions(api: Api) -> str:
    try:
        return str(api.post("{ taskDefinitions { name } }"))
    except httpx.TransportError:
        return ""
