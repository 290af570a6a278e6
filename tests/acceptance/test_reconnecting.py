"""Clients that people use watch a task while their connection is reset and their server is stopped."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import plain_http
import pytest
from gate import Gate, gate
from ports import free_port
from redis import Redis
from support import HELPERS, ROOT, Api, process, wait_until

_JAVASCRIPT = ["graphql-ws", "graphql-sse", "apollo-ws", "apollo-multipart", "urql-ws", "urql-sse", "urql-fetch"]


@dataclass(frozen=True)
class Watcher:
    """A client that writes down what it sees."""

    log: Path
    process: subprocess.Popen[bytes]

    def lines(self) -> list[str]:
        """What it has written, in whole lines."""
        return self.log.read_text().split("\n")[:-1]

    def seen(self) -> list[dict[str, Any]]:
        """The states it has seen."""
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def has_seen(self, status: str) -> bool:
        """Whether it has seen a state of a status."""
        return any(task["status"] == status for task in self.seen())

    def sees_more(self, than: int) -> bool:
        """Whether it has seen more states than so many."""
        assert self.process.poll() in {None, 0}, self.log.read_text()
        return len(self.seen()) > than


def _command(client: str) -> list[str]:
    if client == "gql":
        return [sys.executable, str(HELPERS / "watch_with_gql.py")]
    return ["node", str(ROOT / "tests" / "js" / "watch.mjs"), client]


@contextlib.contextmanager
def _replica(environment: dict[str, str], folder: Path) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """Serve the same tasks from another process, which takes its time to end if anything holds it up."""
    replica = Api(f"http://127.0.0.1:{free_port()}", folder / "replica.log", folder / "none")
    command = [sys.executable, "-m", "gql_api", "serve", f"--port={_port(replica)}", "--drain-seconds=60"]
    with process(command, replica.log, environment) as started:
        wait_until(replica.is_ready)
        yield replica, started


def _port(api: Api) -> int:
    return int(api.url.rpartition(":")[2])


@pytest.mark.usefixtures("node")
def test_clients_watch_through_resets_and_stops(
    api: Api, environment: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    """By its own retries a client gets the state anew after each loss, and sees the task to its end elsewhere."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])
    clients: dict[str, tuple[Watcher, Gate]] = {}
    with contextlib.ExitStack() as stack:
        replica, serving = stack.enter_context(_replica(environment, tmp_path))
        for client in (*_JAVASCRIPT, "gql"):
            door, log = stack.enter_context(gate(_port(replica))), tmp_path / client
            command = [*_command(client), f"{door.url}/graphql", task_id]
            clients[client] = Watcher(log, stack.enter_context(process(command, log))), door
        for client, (watcher, _) in clients.items():
            wait_until(functools.partial(watcher.has_seen, "STARTED"), 40, f"{client} to see the start")

        with _news(clients, "the state after a reset"):
            for _, door in clients.values():
                door.slam()
        with _news(clients, "the next state"):
            redis.lpush(key, 1)
        with _news(clients, "the state from another replica"):
            for _, door in clients.values():
                door.leads_to = _port(api)
            serving.terminate()
        serving.wait(15)
        redis.lpush(key, 0)
        for watcher, _ in clients.values():
            assert watcher.process.wait(20) == 0, watcher.log.read_text()

    for client, (watcher, _) in clients.items():
        assert watcher.lines()[-1] == "complete", client
        revisions = [task["revision"] for task in watcher.seen()]
        assert revisions == sorted(revisions), client
        assert (watcher.seen()[-1]["status"], watcher.seen()[-1]["result"]) == ("SUCCESS", "done"), client
    assert "Traceback" not in replica.log.read_text()


@contextlib.contextmanager
def _news(clients: dict[str, tuple[Watcher, Gate]], what: str) -> Iterator[None]:
    """Wait until each client has seen more after the block than before it."""
    seen = {client: len(watcher.seen()) for client, (watcher, _) in clients.items()}
    yield
    for client, (watcher, _) in clients.items():
        wait_until(functools.partial(watcher.sees_more, seen[client]), why=f"{client} to see {what}")


@pytest.mark.parametrize("accept", ["text/event-stream", 'multipart/mixed;subscriptionSpec="1.0"'])
def test_a_stopping_server_leaves_streams_unfinished(
    api: Api, environment: dict[str, str], tmp_path: Path, accept: str
) -> None:
    """Nothing says that the task has been watched to its end, and no client holds the server up."""
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    body = {"query": f'subscription {{ taskUpdated(id: "{task_id}") {{ status }} }}'}
    heard: list[bytes] = []
    with _replica(environment, tmp_path) as (replica, serving):
        with (
            plain_http.stream("POST", replica.graphql, json=body, headers={"Accept": accept}, timeout=30) as answer,
            # Cut off in the middle of a chunked answer, which is not the same as its end.
            pytest.raises(httpx.RemoteProtocolError),
        ):
            _stop_after(serving, b"SCHEDULED", answer, heard)
        serving.wait(15)
        with pytest.raises(httpx.ConnectError):
            replica.post("{ __typename }")
    assert not b"".join(heard).endswith((b"event: complete\ndata:\n\n", b"--graphql--\r\n"))
    assert "Traceback" not in replica.log.read_text()
    assert "ERROR" not in replica.log.read_text()


def _stop_after(serving: subprocess.Popen[bytes], mark: bytes, answer: httpx.Response, heard: list[bytes]) -> None:
    for chunk in answer.iter_raw():
        heard.append(chunk)
        if mark in b"".join(heard):
            serving.terminate()
