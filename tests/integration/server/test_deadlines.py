"""The deadlines and sizes of requests under the HTTP protocol of ``gql-api serve``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from sockets import HANDSHAKE
from starlette.types import Receive, Scope, Send
from support import served

from gql_api.limits import LimitSettings
from gql_api.server.http_protocol import with_limits
from gql_api.server.websocket_protocol import WebSocketProtocol
from gql_api.telemetry.counters import LIMITS_EXCEEDED

_GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
_LIMITS = LimitSettings(
    header_seconds=0.3, body_seconds=0.3, header_max_bytes=1024, body_max_bytes=1024, create_body_max_bytes=1024
)
_SLOW_SECONDS = 1.0


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request once its body is complete; `/slow` waits longer than all deadlines first."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    if scope["path"] != "/unread":
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/slow":
        await asyncio.sleep(_SLOW_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Serve the application with short deadlines."""
    async with served(
        _app, http=with_limits(_LIMITS), ws=WebSocketProtocol, ws_per_message_deflate=False, timeout_keep_alive=1
    ) as port:
        yield port


async def _all_answers(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces, and return all that the server has sent when it closes the connection."""
    client = socket.create_connection(("127.0.0.1", port))
    # Before the server accepts the connection, from when on the deadline counts.
    client.sendall(b"".join(pieces[:1]))
    reader, writer = await asyncio.open_connection(sock=client)
    reading = asyncio.create_task(_read(reader))
    with contextlib.suppress(ConnectionError):
        for piece in pieces[1:]:
            if reading.done():
                break
            writer.write(piece)
            await asyncio.sleep(pause)
    answer = await asyncio.wait_for(reading, 20)
    writer.close()
    return answer


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read to the end, which is a reset when the server has not read all."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(4096):
            answer += piece
    return answer


def _exceeded(limit: str) -> float:
    (metric,) = LIMITS_EXCEEDED.collect()
    return sum(each.value for each in metric.samples if each.name.endswith("_total") and each.labels["limit"] == limit)


@pytest.mark.parametrize(
    ("pieces", "limit", "status"),
    [
        ([], "header seconds", b""),
        ([b"\r\n"], "header seconds", b""),
        ([b"GET"], "header seconds", b"408"),
        ([_GET[:-2]], "header seconds", b"408"),
        ([_POST + b"Content-Length: 5\r\n\r\n"], "body seconds", b"408"),
        ([_POST + b"Content-Length: 5\r\n\r\n1234"], "body seconds", b"408"),
        ([_POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"], "body seconds", b"408"),
        ([_POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x"], "body seconds", b"408"),
    ],
)
async def test_an_unfinished_request_has_a_deadline(port: int, pieces: list[bytes], limit: str, status: bytes) -> None:
    """A connection without a whole request is closed, and a request that has begun is answered with 408."""
    before = _exceeded(limit)
    answer = await _all_answers(port, *pieces)
    assert answer[9:12] == status
    assert _exceeded(limit) == before + 1


@pytest.mark.parametrize("piece", [b"\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20], ids=["line ends", "headers"])
async def test_a_trickle_does_not_extend_the_deadline(port: int, piece: bytes) -> None:
    """A client that sends a byte now and then has no more time, neither for its first request nor for a later one."""
    for first in ([], [_GET]):
        pieces = [*first, *(piece[number : number + 1] for number in range(len(piece)))] + [b""] * 20
        answer = await _all_answers(port, *pieces, pause=0.04)
        assert answer.count(b"HTTP/1.1 200") == len(first)


async def test_a_body_that_the_application_does_not_read_has_a_deadline(port: int) -> None:
    """A connection does not stay open for a body that trickles in behind its answer."""
    head = b"POST /unread HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n"
    answer = await _all_answers(port, head, *[b"x"] * 50, pause=0.04)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"408" not in answer


@pytest.mark.parametrize("followed_by", [b"", b"GET / HT"], ids=["alone", "half a request behind it"])
async def test_a_slow_answer_has_no_deadline(port: int, followed_by: bytes) -> None:
    """The deadlines are the client's: an application may take longer to answer a whole request."""
    answer = await _all_answers(port, b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n" + followed_by)
    assert answer.startswith(b"HTTP/1.1 200") is not bool(followed_by)


async def test_a_socket_has_no_deadline(port: int) -> None:
    """The deadlines of a request end with the handshake of a WebSocket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 4 * _LIMITS.header_seconds)
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
        _GET[:-2] + b"A: " + b"x" * 2000 + b"\r\n\r\n",
        _GET[:-2] + b"A: b\r\n" * 1000 + b"\r\n",
        _GET[:-2] + b"A: " + b"x" * 2000,
        HANDSHAKE[:-2] + b"A: " + b"x" * 2000 + b"\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 2000 + b"\r\n\r\n",
    ],
    ids=["target", "value", "many", "unfinished", "handshake", "trailer"],
)
async def test_headers_are_bounded(port: int, request_: bytes) -> None:
    """Headers over the limit are answered with 431, wherever they are, and counted."""
    before = _exceeded("header bytes")
    assert (await _all_answers(port, request_)).startswith(b"HTTP/1.1 431")
    assert _exceeded("header bytes") == before + 1


async def test_an_endless_message_is_refused(port: int) -> None:
    """A body that the parser keeps, or skips, for example as extensions of a chunk, does not go on for ever."""
    answer = await _all_answers(port, _POST + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"x" * 1024] * 100)
    assert answer.startswith(b"HTTP/1.1 413")
