"""The WebSockets of ``gql-api serve``, under a real uvicorn."""

from __future__ import annotations

import asyncio
import struct

import pytest
from sockets import HANDSHAKE, PROTOCOLS, socket_of
from starlette.types import Message, Receive, Scope, Send
from support import wait_until_async
from websockets.asyncio.client import connect

from gql_api.api.websocket.transport import EXTENSION
from gql_api.server.http_protocol import HttpProtocol

_FRAMES = b"\x81\x03one" + b"\x81\x03two" + b"\x88\x02" + struct.pack("!H", 4400)
_RESPONSE: Message = {"type": "websocket.http.response.start", "status": 403, "headers": []}


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_messages_are_written_between_the_handshake_and_the_end(http: type[HttpProtocol] | str) -> None:
    """Two messages of one write are two frames; those before the handshake or after the close are dropped."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][EXTENSION]["transport"]
        await receive()
        transport.write([b"early"])
        await send({"type": "websocket.accept"})
        transport.write([b"one", b"two"])
        await send({"type": "websocket.close", "code": 4400})
        transport.write([b"late"])
        await receive()

    async with socket_of(app, http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        frames = await reader.readexactly(len(_FRAMES))
        writer.write_eof()
        assert frames + await asyncio.wait_for(reader.read(), 10) == _FRAMES
        writer.close()


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_a_socket_that_is_gone_drops_what_is_written(
    http: type[HttpProtocol] | str, caplog: pytest.LogCaptureFixture
) -> None:
    """A write to it does not fail, and no writer waits for its client."""
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][EXTENSION]["transport"]
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for _ in range(10):
            transport.write([b"x" * 100_000])
        assert transport.is_writable
        gone.set()

    async with socket_of(app, http) as port:
        client = await connect(f"ws://127.0.0.1:{port}")
        client.transport.abort()
        await asyncio.wait_for(gone.wait(), 10)
    assert not caplog.records


async def test_a_client_that_does_not_read_pauses_its_wire() -> None:
    """The transport reports when the client has too much to read, and when it has read."""
    reports = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][EXTENSION]["transport"]
        transport.on_paused, transport.on_writable = (
            (lambda: reports.append("paused")),
            (lambda: reports.append("writable")),
        )
        await receive()
        await send({"type": "websocket.accept"})
        while transport.is_writable:
            transport.write([b"x" * 100_000])
        await receive()

    async def is_writable() -> bool:
        return reports == ["paused", "writable"]

    async with socket_of(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(HANDSHAKE)

        async def is_paused() -> bool:
            return reports == ["paused"]

        await wait_until_async(is_paused)
        reading = asyncio.create_task(_drain(reader))
        await wait_until_async(is_writable)
        writer.write_eof()
        await reading
        writer.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    # ``reader.read()`` would take the bytes one by one, for that is the limit of the reader.
    while await reader.read(1024 * 1024):
        pass


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_client_that_does_not_read_does_not_keep_the_server(*, is_closed: bool) -> None:
    """When the server stops, it waits a short time for the client, also if the application has closed the socket."""
    is_full = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][EXTENSION]["transport"]
        await receive()
        await send({"type": "websocket.accept"})
        # So few bytes remain that the close frame is written behind them.
        while not transport.unread_bytes:
            transport.write([b"x" * 10_000])
        if is_closed:
            await send({"type": "websocket.close"})
        is_full.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with socket_of(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(HANDSHAKE)
        await asyncio.wait_for(is_full.wait(), 10)
    writer.close()


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize(
    ("answer", "is_begun"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": "late"}], False),
        ([{"type": "websocket.close"}], False),
        ([_RESPONSE, {"type": "websocket.http.response.body", "body": b"late"}], False),
        ([_RESPONSE, {"type": "websocket.http.response.body", "body": b"late"}], True),
    ],
)
async def test_a_handshake_that_is_unanswered_when_the_server_stops_is_refused(
    http: type[HttpProtocol] | str, answer: list[Message], *, is_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told that the service is unavailable; what the application answers later is dropped silently."""
    has_begun = asyncio.Event()

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for event in answer[:is_begun]:
            await send(event)
        has_begun.set()
        await receive()
        for event in answer[is_begun:]:
            await send(event)

    async with socket_of(app, http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await asyncio.wait_for(has_begun.wait(), 10)
    response = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"HTTP" not in response[4:]
    assert not caplog.records
