"""The HTTP connections of ``gql-api serve``, under a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest.mock

import pytest
from sockets import HANDSHAKE, socket_of
from starlette.types import Receive, Scope, Send
from support import served, wait_until_async

from gql_api.api.http.streaming import STREAMED
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.server import http_protocol
from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.joined_head import JoinedHead

_PIECE = b"x" * 65536


class _Endless:
    """An application whose answer has no end, until its client disconnects."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pieces until the client disconnects."""
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        disconnecting = asyncio.create_task(_disconnect(receive))
        while not disconnecting.done():
            await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
            self.sent += len(_PIECE)
            await asyncio.sleep(0.001)
        self.ended = True


async def _is_unread() -> bool:
    return BACKLOG.size > 0


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    return client


async def test_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connected client that reads nothing does not keep its answer open for ever."""
    monkeypatch.setattr(HttpProtocol, "unread_seconds", 0.2)
    app = _Endless()
    async with served(app, http=HttpProtocol) as port:
        with _request(port):

            async def is_closed() -> bool:
                return app.ended

            await wait_until_async(is_closed)


async def test_who_reads_nothing_of_a_stream_does_not_keep_the_server() -> None:
    """When the server stops, it waits a short time until the client has read."""
    app = _Endless()

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        scope[STREAMED] = True
        await app(scope, receive, send)

    async with served(streaming, http=HttpProtocol) as port:
        client = _request(port)
        await wait_until_async(_is_unread)
    assert app.ended
    client.close()


async def test_who_reads_slowly_is_not() -> None:
    """The timer stops whenever the client has read what was waiting, and starts anew when it falls behind again."""
    app, read, stopped = _Endless(), 0, list[bool]()

    class Noting(HttpProtocol):
        def resume_writing(self) -> None:
            timer = self._abort_timer
            super().resume_writing()
            stopped.append(timer is not None and timer.cancelled() and self._abort_timer is None)

    async with served(app, http=Noting) as port, asyncio.timeout(60):
        with _request(port) as client:
            client.setblocking(False)
            for times in (1, 2, 3):
                await wait_until_async(_is_unread)
                while len(stopped) < times:
                    read += len(await asyncio.get_running_loop().sock_recv(client, len(_PIECE) // 4))
                    await asyncio.sleep(0)
            assert stopped == [True] * 3
            assert not app.ended
            assert app.sent > read > 0


async def test_a_handshake_behind_an_unread_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection closes: as a WebSocket it would stay in the backlog of the process for ever."""
    monkeypatch.setattr(HttpProtocol, "unread_seconds", 0.5)
    app = _Endless()
    async with socket_of(app) as port:
        with _request(port) as client:
            await wait_until_async(_is_unread)
            client.sendall(HANDSHAKE)

            async def is_closed() -> bool:
                return app.ended

            await wait_until_async(is_closed)

        async def is_forgotten() -> bool:
            return not BACKLOG._connections  # noqa: SLF001 - a connection that is gone has no size

        await wait_until_async(is_forgotten)


async def test_those_that_leave_the_most_unread_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together the clients that do not read leave no more unread than the limit of the process."""
    monkeypatch.setattr(BACKLOG, "max_bytes", 1024)
    apps = _Endless(), _Endless(), _Endless()
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            port = await stack.enter_async_context(served(app, http=HttpProtocol))
            stack.enter_context(_request(port))

        async def are_closed() -> bool:
            return all(app.ended for app in apps) and BACKLOG.size == 0

        await wait_until_async(are_closed)


async def test_the_head_and_the_body_of_an_answer_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the next answer on the same connection."""
    written: list[list[bytes]] = []

    def note(parts: list[bytes]) -> object:
        written.append(parts)
        return unittest.mock.DEFAULT  # then the transport's own method is called

    class Noting(JoinedHead):
        def __init__(self, transport: asyncio.Transport) -> None:
            noting = unittest.mock.Mock(wraps=transport)
            noting.writelines.side_effect = note
            super().__init__(noting)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    monkeypatch.setattr(http_protocol, "JoinedHead", Noting)
    async with served(answer, http=HttpProtocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert b"content-length: 2" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"ok"
        writer.close()
    assert [(head.startswith(b"HTTP/1.1 200"), body) for head, body in written] == [(True, b"ok")] * 2


async def test_the_answer_to_head_has_no_body_to_wait_for() -> None:
    """Its head announces the length of a body that does not follow."""

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b""})

    async with served(answer, http=HttpProtocol) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert b"content-length: 2" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
