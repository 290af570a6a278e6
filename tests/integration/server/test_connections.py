"""How many connections, sockets and streams there may be, under a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import plain_http
import pytest
from sockets import HANDSHAKE, socket_of
from starlette.applications import Starlette
from support import served, wait_until_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gql_api.app import create_app, open_services
from gql_api.limits import LimitSettings
from gql_api.server import files
from gql_api.server.http_protocol import with_limits
from gql_api.server.websocket_protocol import WebSocketProtocol
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_GET = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
_STREAM = {"Accept": "text/event-stream"}
_WATCH = {"query": "subscription { taskChanges { kind } }"}


@contextlib.asynccontextmanager
async def _api(settings: Settings, **limits: Any) -> AsyncIterator[Starlette]:
    """Open the API with such limits."""
    limited = settings.model_copy(update=limits)
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        yield app


async def _first_line(port: int, request: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return await reader.readline(), writer


async def test_the_process_has_a_maximum(settings: Settings) -> None:
    """Requests and sockets share it; one connection more is answered with 503, until another one has closed."""
    limits = LimitSettings(connections_max=2)
    async with (
        _api(settings) as app,
        served(app, http=with_limits(limits), ws=WebSocketProtocol, ws_per_message_deflate=False) as port,
    ):
        handshake = HANDSHAKE.replace(b"GET /", b"GET /graphql").replace(b"Host: test", b"Host: localhost")
        (kept, first), (opened, second) = await _first_line(port, _GET), await _first_line(port, handshake)
        refused, third = await _first_line(port, _GET)
        assert [line[9:12] for line in (kept, opened, refused)] == [b"200", b"101", b"503"]
        for closing in (second, first, third):
            closing.close()

        async def is_answered() -> bool:
            line, writer = await _first_line(port, handshake)
            writer.close()
            return line[9:12] == b"101"

        await wait_until_async(is_answered)


def _socket(port: int, address: str) -> connect:
    """Open a socket through a proxy that reports an address."""
    protocol = Subprotocol("graphql-transport-ws")
    headers = {"X-Forwarded-For": address}
    return connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[protocol], additional_headers=headers)


@contextlib.asynccontextmanager
async def _streamed(port: int, address: str) -> AsyncIterator[httpx.Response]:
    """Open a stream through a proxy that reports an address."""
    headers = {**_STREAM, "X-Forwarded-For": address}
    async with (
        plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        client.stream("POST", "/graphql", json=_WATCH, headers=headers) as response,
    ):
        yield response


@pytest.mark.parametrize("limit", ["connections_max", "connections_per_address"])
async def test_sockets_and_streams_have_a_maximum(settings: Settings, limit: str) -> None:
    """They share it; the address is the one that a trusted proxy reports."""
    async with _api(settings, **{limit: 2}) as app, socket_of(app) as port:
        async with _socket(port, "8.8.8.8"), _streamed(port, "8.8.8.8") as stream:
            assert stream.status_code == 200
            async with _streamed(port, "8.8.8.8") as refused:
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert b'"code":"OVERLOADED"' in await refused.aread()
            with pytest.raises(InvalidStatus) as error:
                await _opened(port, "8.8.8.8")
            assert error.value.response.status_code == 503
            assert error.value.response.headers["retry-after"] == "1"
            if limit == "connections_per_address":
                await _opened(port, "9.9.9.9")

        async def is_open() -> bool:
            with contextlib.suppress(InvalidStatus):
                await _opened(port, "8.8.8.8")
                return True
            return False

        await wait_until_async(is_open)


async def _opened(port: int, address: str) -> None:
    async with _socket(port, address):
        pass


_SINCE = '(since: "2026-01-01T00:00:00Z")'
_NAMED = '(filter: {names: ["d"]})'
_LISTS = ["", '(filter: {names: ["a", "b"], OR: [{queues: ["a"]}, {names: ["c"]}]})', _NAMED]


@pytest.mark.parametrize(
    ("limits", "arguments", "limit"),
    [
        ({"subscriptions_max": 2}, ["", "", _NAMED], "subscriptions"),
        ({"subscriptions_max": 2}, ["", _SINCE, _SINCE], "subscriptions"),
        ({"watched_conditions_max": 7}, _LISTS, "watched conditions"),
    ],
    ids=["shared", "personal", "conditions"],
)
async def test_subscriptions_have_a_maximum(
    settings: Settings, limits: dict[str, int], arguments: list[str], limit: str
) -> None:
    """One more ends with an error, and so do more conditions of different lists; the others go on."""
    async with _api(settings, **limits) as app, socket_of(app) as port, _socket(port, "127.0.0.1") as client:
        await client.send('{"type":"connection_init"}')
        for number, each in enumerate(arguments):
            payload = {"query": f"subscription {{ taskChanges{each} {{ kind }} }}"}
            await client.send(json.dumps({"type": "subscribe", "id": str(number), "payload": payload}))
        await client.send('{"type":"ping"}')
        received = await _until_pong(client)
    assert [message for message in received if "OVERLOADED" in message and limit in message and '"id":"2"' in message]
    assert not any('"id":"0"' in message or '"id":"1"' in message for message in received)


async def _until_pong(client: ClientConnection) -> list[str]:
    received = [str(await client.recv())]
    while "pong" not in received[-1]:
        received.append(str(await client.recv()))
    return received


@pytest.fixture
def few_files(prepared: str) -> Iterator[None]:  # noqa: ARG001 - which needs files itself
    """Let the process open no more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, whose intervals begin with the test."""
    monkeypatch.setattr(files, "_lines", files._Lines())  # noqa: SLF001 - other tests may have logged the same
    return caplog


@pytest.mark.usefixtures("few_files")
def test_too_many_open_files_are_one_line(lines: pytest.LogCaptureFixture) -> None:
    """The log says so once in a while, however often there is no file."""
    for _ in range(10):
        files.check()
    (record,) = lines.records
    assert record.getMessage().startswith("New connections fail: Too many open files.")


async def test_connections_go_on_when_there_are_files_again(lines: pytest.LogCaptureFixture) -> None:
    """Asyncio tries again after a second; each failure but the first is silent, and the next connection is accepted."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(files.handle_exception)
    accepted = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await loop.sock_connect(client, server.sockets[0].getsockname())

            async def is_logged() -> bool:
                return bool(lines.records)

            await wait_until_async(is_logged)
            assert not accepted.is_set()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.wait_for(accepted.wait(), 10)
    server.close()
    assert len(lines.records) == 1


def test_connections_leave_files_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than the limit of open files: MongoDB and Redis need some, too."""
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    assert files.max_connections() == 924
