"""The WebSockets of ``gql-api serve``, under a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from support import wait_until_async
from websockets.asyncio.client import connect

from gql_api.servers import free_port
from gql_api.uvicorn_socket import UvicornSocket
from gql_api.wire import EXTENSION

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_FRAMES = b"\x81\x03one" + b"\x81\x03two" + b"\x88\x02" + struct.pack("!H", 4400)


@contextlib.asynccontextmanager
async def _served(app: ASGIApp) -> AsyncIterator[int]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws=UvicornSocket, lifespan="off", log_level="warning"))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await wait_until_async(started)
    yield port
    server.should_exit = True
    await serving


async def test_messages_are_written_between_the_handshake_and_the_end() -> None:
    """Two written together are two frames; what is written before the socket is open or after its close is dropped."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wire = scope["extensions"][EXTENSION]["wire"]
        await receive()
        wire.write([b"early"])
        await send({"type": "websocket.accept"})
        wire.write([b"one", b"two"])
        await send({"type": "websocket.close", "code": 4400})
        wire.write([b"late"])
        await receive()

    async with _served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # Written by hand, for a client would not look at what comes behind a close.
        writer.write(_HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        frames = await reader.readexactly(len(_FRAMES))
        writer.write_eof()
        assert frames + await asyncio.wait_for(reader.read(), 10) == _FRAMES
        writer.close()


async def test_a_socket_that_is_gone_drops_what_is_written(caplog: pytest.LogCaptureFixture) -> None:
    """Writing to it is no error, and nobody waits for its client to read."""
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wire = scope["extensions"][EXTENSION]["wire"]
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for _ in range(10):
            wire.write([b"x" * 100_000])
        assert wire.is_writable
        gone.set()

    async with _served(app) as port:
        client = await connect(f"ws://127.0.0.1:{port}")
        client.transport.abort()
        await asyncio.wait_for(gone.wait(), 10)
    assert not caplog.records
