"""Helpers of all tests: waits for conditions, processes that end with their test, and a client of the API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import plain_http
import psutil
import uvicorn
from ports import free_port
from redis.asyncio import Redis
from starlette.types import ASGIApp
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gql_api.api.pubsub.mailbox import Mailbox
from gql_api.record.reads import TaskRecord

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
HELPERS = Path(__file__).parent
_POLL_SECONDS = 0.02


class NotWithinTimeError(AssertionError):
    """A condition was not met in time."""


def wait_until(condition: Callable[[], T], timeout: float = 20.0, why: str = "") -> T:
    """Return the value of the condition as soon as it is truthy; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    is_last = False
    while not (value := condition()):
        if is_last:
            raise NotWithinTimeError(f"not within {timeout:g} s: {why or condition}")
        time.sleep(_POLL_SECONDS)
        # One check begins after the deadline: this process may have stood still since the check before.
        is_last = time.monotonic() > deadline
    return value


async def wait_until_async(condition: Callable[[], Awaitable[T]], seconds: float = 20.0, why: str = "") -> T:
    """Do the same as :func:`wait_until` without blocking the event loop."""
    deadline = time.monotonic() + seconds
    is_last = False
    while not (value := await condition()):
        if is_last:
            raise NotWithinTimeError(f"not within {seconds:g} s: {why or condition}")
        await asyncio.sleep(_POLL_SECONDS)
        is_last = time.monotonic() > deadline
    return value


async def own_pubsub(redis: Redis) -> int:
    """Count the pub/sub connections of this process; servers of other tests use the same Redis."""
    ports = {connection.laddr.port for connection in psutil.Process().net_connections(kind="tcp")}
    clients = await redis.client_list(_type="pubsub")
    return sum(int(client["addr"].rpartition(":")[2]) in ports for client in clients)


async def taken(mailbox: Mailbox, seconds: float = 10.0) -> TaskRecord:
    """Return the next record in a mailbox, whose task must not be deleted."""
    record = await asyncio.wait_for(mailbox.take(), seconds)
    assert record is not None
    return record


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a group of its own, which is ended with the block."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


class _Server(uvicorn.Server):
    """A server that ends at once, and not up to a fifth of a second later, when no connection is left."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until the test ends."""
        ticking = asyncio.create_task(super().main_loop())
        await self.ended.wait()
        ticking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait until all connections are closed and all requests have ended."""
        assert sockets is None
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

        async def is_idle() -> bool:
            return not (self.server_state.connections or self.server_state.tasks)

        await asyncio.sleep(0)
        await wait_until_async(is_idle)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, **settings: Any) -> AsyncIterator[int]:
    """Serve a test application by uvicorn in this process; yield the port."""
    port = free_port()
    server = _Server(uvicorn.Config(app, port=port, lifespan="off", log_level="warning", **settings))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await wait_until_async(started)
    yield port
    server.ended.set()
    await serving


@dataclass(frozen=True)
class Api:
    """A running API, driven over HTTP. The token is for one with authentication."""

    url: str
    log: Path
    worker_log: Path
    token: str = field(default="", repr=False)

    @property
    def graphql(self) -> str:
        """The URL of GraphQL."""
        return f"{self.url}/graphql"

    @property
    def websocket(self) -> str:
        """The URL of GraphQL over WebSocket."""
        return self.graphql.replace("http://", "ws://")

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def is_ready(self) -> bool:
        """Return whether the API answers and reaches MongoDB."""
        try:
            return plain_http.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def post(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation and return the whole answer."""
        # In ASCII, for escapes can express lone surrogates, which UTF-8 cannot.
        content = json.dumps({"query": query, "variables": variables})
        headers = {"Content-Type": "application/json", **self.authorization}
        answer = plain_http.post(self.graphql, content=content, headers=headers, timeout=30)
        body: dict[str, Any] = answer.json()
        return body

    def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that must succeed and return its data."""
        body = self.post(query, **variables)
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    def refusal(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that must fail by the client's fault, and return its only error."""
        body = self.post(query, **variables)
        (error,) = body["errors"]
        assert "Internal error" not in error["message"], body
        result: dict[str, Any] = error
        return result

    def create(self, name: str, **rest: Any) -> str:
        """Create a task that must be accepted and return its id."""
        payload = self.data(CREATE, input={"name": name, **rest})["createTask"]
        assert payload["userErrors"] == []
        assert payload["created"] is True
        task_id: str = payload["task"]["id"]
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        """Return all fields of a task."""
        task: dict[str, Any] = self.data(TASK, id=task_id)["task"]
        return task

    def watch(self, subscription: str) -> Iterator[dict[str, Any]]:
        """Yield the data of a subscription until it completes."""
        protocols = [Subprotocol("graphql-transport-ws")]
        with connect(self.websocket, subprotocols=protocols, additional_headers=self.authorization) as socket:
            socket.send('{"type": "connection_init"}')
            socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": subscription}}))
            while (message := json.loads(socket.recv(timeout=30)))["type"] != "complete":
                if message["type"] == "next":
                    yield message["payload"]["data"]

    def finished(self, task_id: str, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until a task is final and return all its fields."""
        wait_until(lambda: self.task(task_id)["isFinal"], timeout, f"{task_id} to finish")
        return self.task(task_id)


FIELDS = """
  id name status isFinal revision args kwargs metadata result
  error { type message traceback } progress { current total percent message data }
  attempts queue priority worker createdAt startedAt finishedAt updatedAt
  history { revision status at worker message }
"""
TASK = f"query ($id: ID!) {{ task(id: $id) {{ {FIELDS} }} }}"
CREATE = """
mutation ($input: CreateTaskInput!) {
  createTask(input: $input) { created task { id status revision metadata } userErrors { code message field } }
}
"""
