"""Clients that people use watch a task while their connection is reset and their server is stopped."""

from __future__ import annotations

import contextlib
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
from gate import gate
from redis import Redis
from support import HELPERS, ROOT, Api, process, wait_until

from gql_api.cli.embedded_servers import free_port

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


@pytest.mark.parametrize("client", [*_JAVASCRIPT, "gql"])
@pytest.mark.usefixtures("node")
def test_a_client_watches_through_resets_and_stops(
    api: Api, environment: dict[str, str], redis: Redis, tmp_path: Path, client: str
) -> None:
    """By its own retries a client gets the state anew after each loss, and sees the task to its end elsewhere."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])
    with (
        _replica(environment, tmp_path) as (replica, serving),
        gate(_port(replica)) as door,
        process([*_command(client), f"{door.url}/graphql", task_id], tmp_path / "seen") as started,
    ):
        watcher = Watcher(tmp_path / "seen", started)
        wait_until(lambda: any(task["status"] == "STARTED" for task in watcher.seen()), why="its start")

        seen = len(watcher.seen())
        door.slam()
        wait_until(lambda: watcher.sees_more(seen), why="the state after a reset")
        seen = len(watcher.seen())
        redis.lpush(key, 1)
        wait_until(lambda: watcher.sees_more(seen), why="the next state")

        seen = len(watcher.seen())
        door.leads_to = _port(api)
        serving.terminate()
        wait_until(lambda: watcher.sees_more(seen), why="the state from another replica")
        serving.wait(15)
        redis.lpush(key, 0)
        assert started.wait(20) == 0, watcher.log.read_text()

    assert watcher.lines()[-1] == "complete"
    revisions = [task["revision"] for task in watcher.seen()]
    assert revisions == sorted(revisions)
    assert (watcher.seen()[-1]["status"], watcher.seen()[-1]["result"]) == ("SUCCESS", "done")
    assert "Traceback" not in replica.log.read_text()


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
