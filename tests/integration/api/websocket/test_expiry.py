"""The end of a token while its socket is open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from sockets import socket_of
from support import wait_until_async
from tokens import Site, Tokens, with_tokens
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.record import writes
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

pytestmark = pytest.mark.usefixtures("prepared")

_LIFETIME = 1.0
_UPDATED = 'subscription {{ taskUpdated(id: "{}") {{ revision }} }}'


@pytest.fixture
def tokens() -> Tokens:
    """A token without an end."""
    tokens = Tokens()
    tokens.issue("lasting")
    return tokens


@pytest.fixture
async def site(settings: Settings, tokens: Tokens) -> AsyncIterator[Site]:
    """An API that accepts the tokens."""
    async with with_tokens(settings, tokens) as site:
        yield site


@pytest.fixture
async def port(site: Site) -> AsyncIterator[int]:
    """Its port."""
    async with socket_of(site.app) as port:
        yield port


class _Client:
    """A client that writes down what it receives."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[Any] = []
        self.closed_at = 0.0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, token: str, query: str) -> _Client:
        """Connect, and subscribe, unless the token has expired by then."""
        url = f"ws://127.0.0.1:{port}/graphql"
        client = cls(await connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None))
        await client.send("connection_init", payload={"token": token})
        with contextlib.suppress(ConnectionClosed):
            await client.send("subscribe", id="1", payload={"query": query})
        return client

    async def send(self, kind: str, **rest: Any) -> None:
        """Send a message."""
        await self.socket.send(json.dumps({"type": kind, **rest}))

    async def _read(self) -> None:
        try:
            while True:
                message = json.loads(await self.socket.recv())
                if message["type"] == "next":
                    self.received.append(message["payload"]["data"])
                elif message["type"] in {"error", "complete", "pong"}:
                    self.received.append(message["type"])
        except ConnectionClosed:
            self.closed_at = time.time()

    async def has(self, count: int) -> None:
        """Wait until it has received so much."""

        async def enough() -> bool:
            return len(self.received) >= count

        await wait_until_async(enough)

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until its socket is closed, and return the code and the reason."""
        await asyncio.wait_for(self._reading, 20)
        return self.socket.close_code, self.socket.close_reason

    async def close(self) -> None:
        """Disconnect."""
        await self.socket.close()
        await self._reading


@pytest.mark.parametrize("ends_by", ["expiry", "revocation"])
async def test_a_socket_is_closed_with_its_token(
    port: int, site: Site, tokens: Tokens, worker: Store, task_id: str, ends_by: str
) -> None:
    """It receives nothing from then on; others go on in the execution that it shared."""
    if ends_by == "expiry":
        tokens.issue_from_first_use("short", _LIFETIME)
    else:
        tokens.issue("short")
    stays, leaves = [await _Client.open(port, token, _UPDATED.format(task_id)) for token in ("lasting", "short")]
    await stays.has(1)
    if ends_by == "expiry":
        # It may end before its first result: nobody knows how much of the time that takes.
        assert await leaves.closed() == (4403, "Token expired")
        expires_at = tokens.principals["short"].expires_at
        assert expires_at is not None
        ends_at = expires_at.timestamp()
    else:
        await leaves.has(1)
        ends_at = time.time()
        tokens.revoke("short")
        assert await leaves.closed() == (4403, "Token revoked")
    assert ends_at <= leaves.closed_at
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    await stays.has(2)
    assert len(leaves.received) <= 1
    assert site.services.executions.executed == 1
    await stays.close()
    assert tokens.watchers("short") == 0

    async def is_forgotten() -> bool:
        return len(site.services.executions) == 0 and tokens.watchers("lasting") == 0

    await wait_until_async(is_forgotten)


@pytest.mark.parametrize(
    "query",
    ['subscription {{ taskLogged(id: "{}") {{ message }} }}', 'subscription {{ taskChanges(since: "{}") {{ kind }} }}'],
    ids=["log", "list"],
)
async def test_what_is_not_shared_ends_with_the_token(
    port: int, site: Site, tokens: Tokens, task_id: str, query: str
) -> None:
    """Nothing watches for a client that is gone."""
    tokens.issue("short")
    argument = task_id if "taskLogged" in query else "2099-01-01T00:00:00Z"
    client = await _Client.open(port, "short", query.format(argument))
    await client.send("ping")
    await client.has(1)

    async def subscriptions() -> bool:
        return site.services.executions._personal_count == expected  # noqa: SLF001 - what the limit counts

    expected = 1
    await wait_until_async(subscriptions)
    tokens.revoke("short")
    assert (await client.closed())[0] == 4403
    expected = 0
    await wait_until_async(subscriptions)
    assert client.received == ["pong"]


async def test_a_token_that_expires_before_connection_init(port: int, tokens: Tokens) -> None:
    """A socket whose handshake had a valid token is closed as well."""
    tokens.issue_from_first_use("short", 0.5)
    headers = {"Authorization": "Bearer short"}
    url = f"ws://127.0.0.1:{port}/graphql"
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], additional_headers=headers) as socket:
        await asyncio.wait_for(socket.wait_closed(), 20)
        assert socket.close_code == 4403


async def test_what_a_client_has_not_read_is_not_sent_after_the_end(port: int, site: Site, tokens: Tokens) -> None:
    """The connection is dropped with what waits in it: a close frame would come behind that."""
    tokens.issue("short")
    await site.services.store.create(NewTask(id="large", name="add", args=["x" * 1_000_000]))
    url = f"ws://127.0.0.1:{port}/graphql"
    async with connect(
        url, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None, max_queue=1, compression=None
    ) as socket:
        await socket.send('{"type": "connection_init", "payload": {"token": "short"}}')
        await socket.recv()
        fields = " ".join(f'a{number}: task(id: "large") {{ args }}' for number in range(15))
        for id_ in ("1", "2", "3"):  # the buffers of the kernel and of the client's library take the first answer
            payload = {"query": f"{{ {fields} }}"}
            await socket.send(json.dumps({"type": "subscribe", "id": id_, "payload": payload}))

        async def waits() -> bool:
            return BACKLOG.size > 10_000_000

        await wait_until_async(waits)
        own = socket.local_address[1]
        tokens.revoke("short")

        async def is_dropped() -> bool:
            connections = psutil.Process().net_connections("tcp")
            return not any(
                each.raddr and each.raddr.port == own and each.status != "CLOSE_WAIT" for each in connections
            )

        await wait_until_async(is_dropped)
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
        assert socket.close_code == 1006


async def test_a_client_resumes_with_a_new_token(port: int, tokens: Tokens, worker: Store, task_id: str) -> None:
    """It receives what happened between its two tokens."""
    tokens.issue("first")
    changes = 'subscription {{ taskChanges(filter: {{ids: ["{}"]}}{}) {{ at task {{ status }} }} }}'
    client = await _Client.open(port, "first", changes.format(task_id, ""))
    await client.send("ping")
    await client.has(1)
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    await client.has(2)
    tokens.revoke("first")
    await client.closed()
    await asyncio.to_thread(worker.change, writes.succeed(task_id, 7))
    since = client.received[-1]["taskChanges"]["at"]
    tokens.issue("second")
    client = await _Client.open(port, "second", changes.format(task_id, f', since: "{since}"'))

    async def has_seen_the_end() -> bool:
        return any(each["taskChanges"]["task"]["status"] == "SUCCESS" for each in client.received)

    await wait_until_async(has_seen_the_end)
    await client.close()
