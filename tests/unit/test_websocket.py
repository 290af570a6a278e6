from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter
from support import wait_until_async

from gql_api.context import Context
from gql_api.outgoing import Turn
from gql_api.server import GraphQLServer
from gql_api.websocket import TransportHandler

_INIT = {"type": "connection_init"}


class _Socket:
    """A socket that is accepted, and whose client says nothing. Closing it takes as long as the test says."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def receive(self) -> Message:
        """Begin, and be silent."""
        if not self.sent:
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        """Keep what is sent."""
        if message["type"] == "websocket.close":
            await self.may_close.wait()
        self.sent.append(message)

    async def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return bool(self.sent[-1]["type"] == "websocket.close")


@pytest.fixture
def socket() -> _Socket:
    """What the client would see."""
    return _Socket()


@pytest.fixture
async def handler(socket: _Socket) -> TransportHandler:
    """The handler of an accepted socket, which waits 10 ms for connection_init."""
    websocket = WebSocket({"type": "websocket", "headers": [], "path": "/graphql"}, socket.receive, socket.send)
    await websocket.accept()
    view = GraphQLServer()
    context = Context(cast("Any", SimpleNamespace(turn=Turn(), sockets=set())))
    adapter = ASGIWebSocketAdapter(cast("Any", view), websocket, websocket)
    return TransportHandler(view, adapter, context, None, view.schema, timedelta(milliseconds=10))


async def test_who_begins_too_late_is_not_let_in(handler: TransportHandler, socket: _Socket) -> None:
    """A connection_init that comes while the socket is being closed, or after that, is not acknowledged."""
    socket.may_close.clear()
    handler.on_request_accepted()

    async def is_over() -> bool:
        return handler.connection_timed_out

    await wait_until_async(is_over)
    await handler.handle_message(dict(_INIT))
    socket.may_close.set()
    await wait_until_async(socket.is_closed)
    await handler.handle_message(dict(_INIT))
    assert not handler.connection_acknowledged
    assert [message.get("code") for message in socket.sent] == [None, 4408]
    await handler.shutdown()


async def test_who_is_being_closed_already_is_not_closed_again(
    handler: TransportHandler, socket: _Socket, caplog: pytest.LogCaptureFixture
) -> None:
    """The time may be over while a socket is closed for another reason: that takes long if the client reads nothing."""
    socket.may_close.clear()
    handler.on_request_accepted()
    closing = asyncio.create_task(handler.handle_message([]))

    async def is_over() -> bool:
        return handler.connection_timed_out

    await wait_until_async(is_over)
    socket.may_close.set()
    await closing
    await handler.shutdown()
    assert [message.get("code") for message in socket.sent] == [None, 4400]
    assert not caplog.records
