"""The handshakes of ``gql-api serve``, under a real uvicorn: plain ones, and those of the websockets library."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging

import pytest
from sockets import HANDSHAKE, PROTOCOLS, socket_of
from starlette.types import Message, Receive, Scope, Send
from support import wait_until_async
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gql_api.api.websocket.transport import EXTENSION, DirectTransport
from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.websocket_protocol import WebSocketProtocol


def _text(payload: bytes) -> bytes:
    """Return a text frame of a client, with a mask of zeros."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload


async def _echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application that sends back the first message."""
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    if message["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
        await receive()


@pytest.mark.parametrize("target", ["/", "/a%20b/c?d=%C3%A4&e", "/?"])
@pytest.mark.parametrize("root_path", ["", "/api"])
async def test_an_application_is_told_the_same_of_either_handshake(target: str, root_path: str) -> None:
    """The application gets the same scope whichever code parsed the request."""
    scopes = list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-one", b"1")]})
        await receive()
        await send({"type": "websocket.close"})

    for http in PROTOCOLS:
        async with socket_of(app, http, root_path=root_path) as port:
            url = f"ws://127.0.0.1:{port}{target}"
            async with connect(url, subprotocols=[Subprotocol("a"), Subprotocol("b")]) as client:
                assert client.subprotocol == "b"
                assert client.response is not None
                assert client.response.headers["x-one"] == "1"
    for scope in scopes:
        port = scope["server"][1]
        assert isinstance(scope["extensions"][EXTENSION].pop("transport"), DirectTransport)
        scope["server"], scope["client"] = scope["server"][0], scope["client"][0]
        scope["headers"] = [
            (name, value.replace(str(port).encode(), b"port"))
            for name, value in scope["headers"]
            if name != b"sec-websocket-key"
        ]
    assert scopes[0] == scopes[1]


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_a_client_that_does_not_wait_for_the_answer_is_heard_after_it(
    http: type[HttpProtocol] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that come before the answer are kept, and not parsed as a request."""
    texts, begun, received = list[object](), asyncio.Event(), asyncio.Queue[None]()
    data_received = WebSocketProtocol.data_received

    def receive_data(socket: WebSocketProtocol, data: bytes) -> None:
        data_received(socket, data)
        received.put_nowait(None)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        while not received.empty():  # the library's protocol has received the handshake
            received.get_nowait()
        begun.set()
        await received.get()
        begun.set()
        await received.get()
        await send({"type": "websocket.accept"})
        texts.extend([(await receive())["text"], (await receive())["text"]])

    monkeypatch.setattr(WebSocketProtocol, "data_received", receive_data)
    async with socket_of(app, http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        for part in (_text(b"early")[:3], _text(b"early")[3:]):
            await begun.wait()
            begun.clear()
            writer.write(part)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(_text(b"late"))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    assert texts == ["early", "late"]


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
    """The library's answer names the invalid header."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("the application must not run")

    async with socket_of(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE.decode().replace(*changed).encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 400")
        assert problem in answer
        writer.close()


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"X-One: " + b"a" * 9000,
        b"\r\n".join(b"X-%d: a" % number for number in range(130)),
        b"Sec-WebSocket-Protocol: \xe4",
    ],
)
async def test_a_handshake_that_cannot_be_read_is_refused_and_forgotten(
    http: type[HttpProtocol] | str, header: bytes
) -> None:
    """Neither its client nor a stopping server waits for ever."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("the application must not run")

    async with socket_of(app, http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n"))
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_refusal_and_the_end_of_the_server_may_come_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client is refused once."""
    data_received = WebSocketProtocol.data_received

    def stop(socket: WebSocketProtocol, data: bytes) -> None:
        data_received(socket, data)
        socket.shutdown()

    monkeypatch.setattr(WebSocketProtocol, "data_received", stop)
    async with socket_of(_echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"))
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert not caplog.records


async def test_a_server_that_stops_knows_what_still_runs() -> None:
    """It waits for an application that a plain handshake has begun."""
    is_known = list[bool]()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        socket: WebSocketProtocol = send.__self__  # type: ignore[attr-defined]  # the connection itself
        is_known.append(asyncio.current_task() in socket.tasks)
        await send({"type": "websocket.close"})

    async with socket_of(app) as port:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://127.0.0.1:{port}")
    assert is_known == [True]


async def test_a_plain_handshake_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library does not parse the request, and reference counting frees all of it."""
    gc.collect()
    monkeypatch.setattr(ServerProtocol, "accept", None)
    async with socket_of(_echo) as port:
        gc.disable()
        try:
            async with connect(f"ws://127.0.0.1:{port}", ping_interval=None) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                assert client.response is not None
                assert "date" in client.response.headers
                assert not [object_ for object_ in gc.get_objects() if type(object_) is HttpProtocol]
        finally:
            gc.enable()


async def test_extensions_are_the_library_s() -> None:
    """A server with compression leaves its negotiation to the library."""
    async with (
        socket_of(_echo, ws_per_message_deflate=True) as port,
        connect(f"ws://127.0.0.1:{port}") as client,
    ):
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]


async def test_sockets_of_another_kind_begin_as_they_do() -> None:
    """A server with our HTTP protocol only has the WebSocket implementation that it configured."""
    extensions = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extensions.extend(scope["extensions"])
        await _echo(scope, receive, send)

    async with socket_of(app, ws="websockets-sansio") as port, connect(f"ws://127.0.0.1:{port}") as client:
        await client.send("hello")
        assert await client.recv() == "hello"
    assert extensions == ["websocket.http.response"]


async def test_a_socket_is_pinged_after_a_plain_handshake() -> None:
    """A ping detects a client whose machine is gone."""
    async with socket_of(_echo, ws_ping_interval=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(2), 10) == b"\x89\x04"
        writer.close()


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_an_answer_that_comes_too_late_is_none(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """The application receives the disconnect, and nothing fails."""
    received = list[Message]()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        socket: WebSocketProtocol = send.__self__  # type: ignore[attr-defined]  # the connection itself
        getattr(socket.transport, end)()
        await send({"type": "websocket.accept"})
        received.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.accept"})

    async with socket_of(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        with contextlib.suppress(ConnectionResetError):
            assert not (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 101")
        writer.close()
    assert received == [{"type": "websocket.disconnect", "code": 1006}]
    assert not caplog.records


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize(
    ("early", "leaves"), [(_text(b"early"), True), (b"\xff no frame", True), (bytes(70_000), False)]
)
async def test_a_client_that_did_not_wait_for_the_answer_may_go_before_it(
    http: type[HttpProtocol] | str, early: bytes, caplog: pytest.LogCaptureFixture, *, leaves: bool
) -> None:
    """The application receives the disconnect; a client that sends very much early is disconnected."""
    received, begun = list[Message](), asyncio.Event()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        begun.set()
        received.append(await receive())

    async def is_received() -> bool:
        return bool(received)

    async with socket_of(app, http) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await begun.wait()
        writer.write(early)
        if leaves:
            writer.close()
        await wait_until_async(is_received)
        writer.close()
    assert received == [{"type": "websocket.disconnect", "code": 1006}]
    assert not caplog.records


async def test_an_application_may_not_change_its_answer() -> None:
    """An answer that the application started over HTTP has to end as HTTP."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        with pytest.raises(RuntimeError, match=r"websocket\.http\.response\.body"):
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async with socket_of(app) as port:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://127.0.0.1:{port}")


async def test_an_application_may_not_add_lines_to_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A header with a line break fails before anything is written."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-one", b"1\r\nX-Evil: 1")]})

    async with socket_of(app) as port:
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"ws://127.0.0.1:{port}")
    assert "not a header" in caplog.text


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
async def test_an_application_may_refuse_a_plain_handshake(
    answer: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets the application's HTTP answer, which is no error of the server."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in answer:
            await send(message)

    async with socket_of(app) as port:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://127.0.0.1:{port}")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_application_may_fail_at_a_plain_handshake(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500, and the log has the reason."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("no reason")

    async with socket_of(app) as port:
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"ws://127.0.0.1:{port}")
    assert "no reason" in caplog.text
