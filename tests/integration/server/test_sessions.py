"""WebSockets whose application has returned: the server runs their sessions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sockets import PROTOCOLS, socket_of
from starlette.types import Receive, Scope, Send
from support import wait_until_async
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gql_api.api.websocket.transport import EXTENSION
from gql_api.app import create_app, open_services
from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.request_log import LogRequests
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_PROTOCOL = Subprotocol("graphql-transport-ws")


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_the_call_of_the_application_ends_before_its_socket(
    http: type[HttpProtocol] | str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The middleware is gone while the socket works, keeps its client, and is counted and logged until it closes."""
    app, returned, scopes, protocols = create_app(settings), asyncio.Event(), list[Scope](), list[Any]()

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        protocols.append(getattr(receive, "__self__"))  # noqa: B009 - a function has none, says mypy
        await app(scope, receive, send)
        returned.set()

    def lines() -> list[str]:
        # On a busy machine the watchdog of the event loop logs too.
        return [each.getMessage() for each in caplog.records if each.name == "gql_api.server.request_log"]

    caplog.set_level("INFO", "gql_api.server.request_log")
    async with open_services(settings) as services:
        app.state.services = services
        async with socket_of(LogRequests(noting), http) as port:
            async with connect(f"ws://127.0.0.1:{port}/graphql?secret", subprotocols=[_PROTOCOL]) as socket:
                await asyncio.wait_for(returned.wait(), 10)
                await socket.send('{"type": "connection_init"}')
                assert json.loads(await socket.recv()) == {"type": "connection_ack"}
                query = {"query": "{ __typename }"}
                await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
                assert json.loads(await socket.recv())["payload"] == {"data": {"__typename": "Query"}}
                (session,) = services.sockets
                request: Any = session.context.request  # type: ignore[attr-defined] # the audit log reads it
                assert request.client.host == "127.0.0.1"
                assert request.scope is not scopes[0]
                assert protocols[0].scope is None
                assert not lines()

            async def is_over() -> bool:
                return not services.sockets and len(lines()) == 1

            await wait_until_async(is_over)
    assert lines()[0].startswith("127.0.0.1 WEBSOCKET /graphql 101 ")


class _Failing:
    """A session that fails at its first message."""

    def __init__(self) -> None:
        self.has_ended = False

    def begin(self) -> None:
        """Begin."""

    async def receive(self, event: Any) -> bool:
        """Fail."""
        raise ValueError(event["type"])

    async def end(self) -> None:
        """Note the end."""
        self.has_ended = True


async def test_a_session_that_fails_ends_its_socket(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged, the session ends, what waits for its end is called, and the client is not left waiting."""
    session, ended = _Failing(), list[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][EXTENSION]["transport"]
        await receive()
        await send({"type": "websocket.accept"})
        transport.hand_over(session)
        for number in (1, 2):
            assert transport.call_at_end(lambda number=number: ended.append(number))

    async with socket_of(app) as port, connect(f"ws://127.0.0.1:{port}") as socket:
        await socket.send("x")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
    assert session.has_ended
    assert ended == [1, 2]
    assert "ValueError: websocket.receive" in caplog.text
