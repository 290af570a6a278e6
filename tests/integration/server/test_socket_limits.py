"""The limits of one WebSocket, with the API behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from front import Commands
from sockets import socket_of
from support import wait_until_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gql_api.app import create_app, open_services
from gql_api.record.model import NewTask
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_PROTOCOL = Subprotocol("graphql-transport-ws")


@contextlib.asynccontextmanager
async def _socket(settings: Settings, **limits: Any) -> AsyncIterator[ClientConnection]:
    """Open a socket of the API with such limits, and acknowledge it."""
    limited = settings.model_copy(update=limits)
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        await services.store.create(NewTask(id="large", name="add", args=["x" * 1_000_000]))
        async with (
            socket_of(app) as port,
            connect(
                f"ws://127.0.0.1:{port}/graphql",
                subprotocols=[_PROTOCOL],
                max_size=None,
                max_queue=1,
                compression=None,
                close_timeout=0.1,  # a client that does not read receives no end of the closing handshake
            ) as socket,
        ):
            await socket.send('{"type": "connection_init"}')
            await socket.recv()
            yield socket


@contextlib.asynccontextmanager
async def _another(socket: ClientConnection) -> AsyncIterator[ClientConnection]:
    """Open another socket at the same server."""
    url = f"ws://127.0.0.1:{socket.remote_address[1]}/graphql"
    async with connect(url, subprotocols=[_PROTOCOL]) as other:
        yield other


async def _closed_by_server(socket: ClientConnection) -> None:
    """Wait, without reading, until the server has no connection with this port any more."""
    port = socket.local_address[1]

    async def is_closed() -> bool:
        connections = psutil.Process().net_connections("tcp")
        return not any(each.raddr and each.raddr.port == port and each.status == "ESTABLISHED" for each in connections)

    await wait_until_async(is_closed)


async def _subscribe(socket: ClientConnection, id_: str, query: str) -> None:
    await socket.send(json.dumps({"type": "subscribe", "id": id_, "payload": {"query": query}}))


@pytest.mark.parametrize(("at_once", "pause"), [(1, 0.0), (4, 0.5)], ids=["together", "one by one"])
async def test_no_query_begins_before_the_client_reads(
    commands: Commands, settings: Settings, at_once: int, pause: float
) -> None:
    """A client that asks and does not read gets one answer, and each other one when it has read those before."""
    lists = " ".join(f"a{number}: tasks(first: 1) {{ nodes {{ args }} }}" for number in range(10))
    async with _socket(settings, queries_per_socket=at_once) as socket:
        before = commands.counts()["find"]
        for number in range(4):
            await _subscribe(socket, str(number), f"{{ {lists} }}")
            await asyncio.sleep(pause)
        await asyncio.sleep(1 - pause)  # long enough for all of them, which must not begin
        # The buffers of the kernel may take the first answer.
        assert commands.counts()["find"] - before <= 20
        answered = [json.loads(await socket.recv()) for _ in range(8)]
    data = [answer["payload"]["data"] for answer in answered if answer["type"] == "next"]
    assert [len(each) for each in data] == [10, 10, 10, 10]


async def test_a_burst_of_messages_waits(settings: Settings) -> None:
    """Messages above the rate are read later, and all of them are answered."""
    async with _socket(settings, messages_per_second=200.0) as socket:
        began = time.monotonic()
        for _ in range(300):
            await socket.send('{"type": "ping"}')
        assert {await socket.recv() for _ in range(300)} == {'{"type":"pong"}'}
        assert time.monotonic() - began > 0.4


async def test_the_client_that_leaves_the_most_unread_is_closed(settings: Settings) -> None:
    """Above the limit of the process the connection with the largest answers is closed, and the others go on."""
    large = "{ " + " ".join(f'a{number}: task(id: "large") {{ args }}' for number in range(15)) + " }"
    async with _socket(settings, unread_max_bytes=1024 * 1024) as socket, _another(socket) as other:
        for number in range(3):  # the client's library takes the first answer
            await _subscribe(socket, str(number), large)
        await asyncio.wait_for(_closed_by_server(socket), 20)
        await other.send('{"type": "ping"}')
        assert await other.recv() == '{"type":"pong"}'


async def test_a_late_connection_init_closes_the_socket(settings: Settings) -> None:
    """The time for it is a setting."""
    limited = settings.model_copy(update={"connection_init_seconds": 0.1})
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        async with (
            socket_of(app) as port,
            connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[_PROTOCOL]) as socket,
        ):
            await asyncio.wait_for(socket.wait_closed(), 10)
    assert socket.close_code == 4408
