"""The WebSockets of ``gql-api serve``, under a real uvicorn."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AbstractAsyncContextManager

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from support import served, wait_until_async
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gql_api.uvicorn_http import UvicornHttp
from gql_api.uvicorn_socket import UvicornSocket
from gql_api.wire import EXTENSION, TransportWire

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PROTOCOLS = ["httptools", UvicornHttp]
"""Who begins: uvicorn, and then the websockets library reads the request, or ours, which has the plain handshake."""
_FRAMES = b"\x81\x03one" + b"\x81\x03two" + b"\x88\x02" + struct.pack("!H", 4400)


def _text(payload: bytes) -> bytes:
    """Frame a text as a client does, masked with nothing."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload


def _served(app: ASGIApp, http: type[UvicornHttp] | str = UvicornHttp) -> AbstractAsyncContextManager[int]:
    return served(app, http=http, ws=UvicornSocket, ws_per_message_deflate=False)


@pytest.mark.parametrize("http", _PROTOCOLS)
async def test_messages_are_written_between_the_handshake_and_the_end(http: type[UvicornHttp] | str) -> None:
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

    async with _served(app, http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # Written by hand, for a client would not look at what comes behind a close.
        writer.write(_HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        frames = await reader.readexactly(len(_FRAMES))
        writer.write_eof()
        assert frames + await asyncio.wait_for(reader.read(), 10) == _FRAMES
        writer.close()


@pytest.mark.parametrize("http", _PROTOCOLS)
async def test_a_socket_that_is_gone_drops_what_is_written(
    http: type[UvicornHttp] | str, caplog: pytest.LogCaptureFixture
) -> None:
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

    async with _served(app, http) as port:
        client = await connect(f"ws://127.0.0.1:{port}")
        client.transport.abort()
        await asyncio.wait_for(gone.wait(), 10)
    assert not caplog.records


async def test_a_client_that_does_not_read_pauses_its_wire() -> None:
    """Who writes is told when the client has had enough, and again when it has read."""
    told = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wire = scope["extensions"][EXTENSION]["wire"]
        wire.on_paused, wire.on_writable = (lambda: told.append("paused")), (lambda: told.append("writable"))
        await receive()
        await send({"type": "websocket.accept"})
        while wire.is_writable:
            wire.write([b"x" * 100_000])
        await receive()

    async def is_writable() -> bool:
        return told == ["paused", "writable"]

    async with _served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(_HANDSHAKE)

        async def is_paused() -> bool:
            return told == ["paused"]

        await wait_until_async(is_paused)
        reading = asyncio.create_task(reader.read())
        await wait_until_async(is_writable)
        writer.write_eof()
        await reading
        writer.close()


@pytest.mark.parametrize("target", ["/", "/a%20b/c?d=%C3%A4&e", "/?"])
@pytest.mark.parametrize("root_path", ["", "/api"])
async def test_an_application_is_told_the_same_of_either_handshake(target: str, root_path: str) -> None:
    """Its scope does not tell who read the request."""
    scopes = list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-one", b"1")]})
        await receive()
        await send({"type": "websocket.close"})

    for http in _PROTOCOLS:
        async with served(app, http=http, ws=UvicornSocket, root_path=root_path, ws_per_message_deflate=False) as port:
            url = f"ws://127.0.0.1:{port}{target}"
            async with connect(url, subprotocols=[Subprotocol("a"), Subprotocol("b")]) as client:
                assert client.subprotocol == "b"
                assert client.response is not None
                assert client.response.headers["x-one"] == "1"
    for scope in scopes:
        port = scope["server"][1]
        assert isinstance(scope["extensions"][EXTENSION].pop("wire"), TransportWire)
        scope["server"], scope["client"] = scope["server"][0], scope["client"][0]
        scope["headers"] = [
            (name, value.replace(str(port).encode(), b"port"))
            for name, value in scope["headers"]
            if name != b"sec-websocket-key"
        ]
    assert scopes[0] == scopes[1]


async def test_a_client_that_does_not_wait_for_the_answer_is_heard_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sends too early is kept, and not read as a request."""
    came, begun, heard = list[object](), asyncio.Event(), asyncio.Event()
    take = UvicornSocket.data_received

    def hear(socket: UvicornSocket, data: bytes) -> None:
        take(socket, data)
        heard.set()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.set()
        await heard.wait()
        await send({"type": "websocket.accept"})
        came.extend([(await receive())["text"], (await receive())["text"]])

    monkeypatch.setattr(UvicornSocket, "data_received", hear)
    async with _served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HANDSHAKE)
        await begun.wait()
        writer.write(_text(b"early"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(_text(b"late"))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    assert came == ["early", "late"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (("Version: 13", "Version: 8"), b"invalid Sec-WebSocket-Version header: 8"),
        (("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), b"invalid Sec-WebSocket-Key header: dGhl"),
        (("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"), b"multiple values"),
    ],
)
async def test_a_handshake_that_is_wrong_is_refused_with_what_is_wrong(
    changed: tuple[str, str], problem: bytes
) -> None:
    """The library has the words for it."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("it does not come here")

    async with _served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HANDSHAKE.decode().replace(*changed).encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 400")
        assert problem in answer
        writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        [{"type": "websocket.close"}],
        [
            {"type": "websocket.http.response.start", "status": 403, "headers": []},
            {"type": "websocket.http.response.body", "body": b"no"},
        ],
    ],
)
async def test_an_application_may_refuse_a_plain_handshake(answer: list[Message]) -> None:
    """The client is told so, over HTTP."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in answer:
            await send(message)

    async with _served(app) as port:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://127.0.0.1:{port}")


async def test_an_application_may_fail_at_a_plain_handshake(caplog: pytest.LogCaptureFixture) -> None:
    """The client hears of it, and the log says why."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("no reason")

    async with _served(app) as port:
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"ws://127.0.0.1:{port}")
    assert "no reason" in caplog.text
