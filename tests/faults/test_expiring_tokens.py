"""Clients whose tokens expire again and again while events flow."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from fault_site import Site
from ports import free_port
from support import HELPERS, Api, process, wait_until, wait_until_async
from token_app import token
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gql_api.record import writes
from gql_api.record.model import NewTask, Progress

pytestmark = pytest.mark.fault

_CLIENTS, _SECONDS = 12, 20.0
_EACH, _HOT = "each", "hot"
_SHARED = f'subscription {{ taskUpdated(id: "{_HOT}") {{ updatedAt progress {{ current }} }} }}'
_LIST = 'subscription {{ taskChanges(filter: {{names: ["{}"]}}{}) {{ kind taskId at task {{ updatedAt }} }} }}'


@dataclass
class _Client:
    """A client that connects with a new token whenever its last one expires, and resumes its list."""

    url: str
    random: random.Random
    seen: set[str] = field(default_factory=set)
    events: int = 0
    tokens: int = 0
    progress: int = 0
    late: list[Any] = field(default_factory=list)
    _since: str | None = None

    async def run(self, is_over: asyncio.Event) -> None:
        """Watch until the test is over."""
        while not is_over.is_set():
            token_ = token(self.random.uniform(0.7, 4.0))
            expires_at, self.tokens = float(token_.removeprefix("until-")), self.tokens + 1
            async with connect(
                self.url, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None
            ) as socket:
                reading = asyncio.create_task(self._read(socket, token_, expires_at))
                waiting = asyncio.create_task(is_over.wait())
                await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                await socket.close()
                await reading
            if not is_over.is_set():
                # Under load a token may have expired before the client was connected.
                assert socket.close_code == 4403
                assert socket.close_reason in {"Token expired", "Forbidden"}
                # A machine that stalls is late. A socket that the server forgets would stay open to the end.
                assert time.time() < expires_at + 15

    async def _subscribe(self, socket: ClientConnection, token_: str) -> None:
        since = "" if self._since is None else f', since: "{self._since}"'
        await _send(socket, "connection_init", payload={"token": token_})
        for id_, query in {"shared": _SHARED, "list": _LIST.format(_EACH, since)}.items():
            await _send(socket, "subscribe", id=id_, payload={"query": query})

    async def _read(self, socket: ClientConnection, token_: str, expires_at: float) -> None:
        try:
            await self._subscribe(socket, token_)
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "next":
                    self._receive(message["payload"]["data"], expires_at)
                else:
                    assert message["type"] == "connection_ack", message
        except ConnectionClosed:
            pass

    def _receive(self, data: dict[str, Any], expires_at: float) -> None:
        self.events += 1
        if (change := data.get("taskChanges")) is not None:
            if change["kind"] != "UPDATED":  # the other task has changed since then, and matches no filter
                return
            self.seen.add(change["taskId"])
            self._since = max(self._since or "", change["at"])
            record = change["task"]
        else:
            record = data["taskUpdated"]
            self.progress = max(self.progress, (record["progress"] or {}).get("current") or 0)
        # The clocks are one: an event of a change after the expiry was certainly sent after it.
        if datetime.fromisoformat(record["updatedAt"]).timestamp() > expires_at:
            self.late.append(data)


async def _send(socket: ClientConnection, kind: str, **rest: Any) -> None:
    await socket.send(json.dumps({"type": kind, **rest}))


class _Changes:
    """Changes of tasks, made by threads: new tasks, and progress of one task as fast as it goes."""

    def __init__(self, site: Site) -> None:
        self.created: list[str] = []
        self.progress = 0
        self._store = site.store
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._create, self._report)]
        self._store.change(writes.create(NewTask(id=_HOT, name="hot")), upsert=True)
        self._store.change(writes.start(_HOT, worker="w"))

    def _create(self) -> None:
        for number in itertools.count():
            if self._is_over.wait(0.02):
                return
            self._store.change(writes.create(NewTask(id=f"task {number}", name=_EACH)), upsert=True)
            self.created.append(f"task {number}")

    def _report(self) -> None:
        while not self._is_over.is_set():
            self.progress += 1
            self._store.change(writes.progress(_HOT, Progress(current=self.progress)))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()


async def _watched(url: str, changes: _Changes) -> list[_Client]:
    clients = [_Client(url, random.Random(seed)) for seed in range(_CLIENTS)]  # noqa: S311 - lifetimes of tokens
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(is_over))
        changes.start()
        try:
            await asyncio.sleep(_SECONDS)
        finally:
            await asyncio.to_thread(changes.stop)

        async def all_is_seen() -> bool:
            return all(
                client.seen == set(changes.created) and client.progress == changes.progress for client in clients
            )

        await wait_until_async(all_is_seen, 30, "every client to see every change")
        is_over.set()
    return clients


def test_tokens_that_expire_while_events_flow(site: Site) -> None:
    """No client receives a change that was made after its token expired, and none misses one between two tokens."""
    port = free_port()
    log = site.folder / "tokens.log"
    api = Api(f"http://127.0.0.1:{port}", log, log)
    environment = {**site.environment, "PYTHONPATH": str(HELPERS)}
    with process([sys.executable, "-m", "token_app", str(port)], log, environment):
        wait_until(api.is_ready)
        changes = _Changes(site)
        clients = asyncio.run(_watched(api.websocket, changes))
    assert [client.late for client in clients] == [[]] * _CLIENTS
    assert min(client.tokens for client in clients) > 3
    assert sum(client.events for client in clients) > 10 * len(changes.created)
    assert "Traceback" not in log.read_text()
