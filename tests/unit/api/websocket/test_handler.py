from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.types import ExecutionResult
from support import wait_until_async
from tokens import Tokens

from gql_api.access.principal import ANONYMOUS, NOBODY, Principal
from gql_api.aio.tick import TickQueue
from gql_api.api.authentication import lifetime
from gql_api.api.authentication.authenticator import NoAuthentication, TokenAuthentication
from gql_api.api.context import Context
from gql_api.api.execution.documents import DEFAULT_READER
from gql_api.api.execution.operation import Operation
from gql_api.api.http.view import GraphQLView
from gql_api.api.subscriptions.send_buffer import Policy, SendBuffer
from gql_api.api.websocket.handler import TransportHandler
from gql_api.settings import Settings

_INIT = {"type": "connection_init"}


class _Socket:
    """An accepted socket whose client sends nothing. It closes once ``may_close`` is set."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def receive(self) -> Message:
        """Return the only message of the client."""
        return {"type": "websocket.connect"}

    async def send(self, message: Message) -> None:
        """Record a message."""
        if message["type"] == "websocket.close":
            await self.may_close.wait()
        self.sent.append(message)

    @property
    def messages(self) -> set[tuple[str, str | None]]:
        """The types and the ids of the messages sent."""
        messages = [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]
        return {(message["type"], message.get("id")) for message in messages}

    @property
    def codes(self) -> list[int | None]:
        """The code of each close sent, and None for each other message."""
        return [message.get("code") for message in self.sent]

    async def is_closed(self) -> bool:
        """Return whether the socket is closed."""
        return bool(self.sent[-1]["type"] == "websocket.close")


@pytest.fixture
def socket() -> _Socket:
    """Return the client's side of a socket."""
    return _Socket()


class _Executions:
    """Shared executions of subscriptions, which open once ``may_open`` is set."""

    def __init__(self) -> None:
        self.may_open = asyncio.Event()
        self.joined = 0

    def policy(self, operation: Operation) -> Policy | None:
        """Return a policy for subscriptions only."""
        return Policy.EVERY if operation.query.startswith("subscription") else None

    def lack_of_room(self, _principal: Principal) -> None:
        """Return None: there is room."""

    def join(self, _operation: Operation, _buffer: SendBuffer, _principal: Principal) -> None:
        """Count a subscription."""
        self.joined += 1

    def leave(self, buffer: SendBuffer) -> None:
        """Do nothing."""

    async def opened(self, _buffer: SendBuffer) -> None:
        """Wait until the test lets it open."""
        await self.may_open.wait()


async def _accepted(
    socket: _Socket, executions: _Executions | None = None, tokens: Tokens | None = None, **limits: Any
) -> TransportHandler:
    """Return the handler of a socket that has 10 ms from now for its connection_init."""
    websocket = WebSocket({"type": "websocket", "headers": [], "path": "/graphql"}, socket.receive, socket.send)
    await websocket.accept()
    view = GraphQLView(Settings(**limits))
    services = SimpleNamespace(
        tick_queue=TickQueue(),
        sockets=set(),
        executions=executions,
        documents=DEFAULT_READER,
        authenticator=NoAuthentication() if tokens is None else TokenAuthentication([tokens]),
        revocations=tokens,
    )
    context = Context(cast("Any", services), ANONYMOUS if tokens is None else NOBODY)
    adapter = ASGIWebSocketAdapter(cast("Any", view), websocket, websocket)
    handler = TransportHandler(view, adapter, context, None, view.schema, timedelta(milliseconds=10))
    handler.on_request_accepted()
    return handler


async def _late(handler: TransportHandler) -> None:
    """Wait until the time for connection_init is over."""

    async def is_late() -> bool:
        return handler.connection_timed_out

    await wait_until_async(is_late)


async def test_who_begins_too_late_is_not_let_in(socket: _Socket) -> None:
    """A connection_init that comes while the socket is being closed, or after that, is not acknowledged."""
    socket.may_close.clear()
    handler = await _accepted(socket)
    await _late(handler)
    await handler.handle_message(dict(_INIT))
    socket.may_close.set()
    await wait_until_async(socket.is_closed)
    await handler.handle_message(dict(_INIT))
    assert not handler.connection_acknowledged
    assert socket.codes == [None, 4408]
    await handler.shutdown()


async def test_who_is_being_closed_already_is_not_closed_again(socket: _Socket) -> None:
    """The time may be over while a socket is closed for another reason: that takes long if the client reads nothing."""
    socket.may_close.clear()
    handler = await _accepted(socket)
    closing = asyncio.create_task(handler.handle_message([]))
    await _late(handler)
    socket.may_close.set()
    await closing
    assert socket.codes == [None, 4400]
    await handler.shutdown()


async def test_nothing_is_left_of_a_socket_that_has_ended(socket: _Socket) -> None:
    """Neither the wait for connection_init nor the close goes on."""
    socket.may_close.clear()
    waits, closes = await _accepted(socket), await _accepted(socket)
    await waits.shutdown()
    await _late(closes)  # the other one's time would have been over before
    assert not waits.connection_timed_out
    await closes.shutdown()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert socket.codes == [None, None]


async def test_what_follows_a_subscription_waits_until_that_misses_nothing(socket: _Socket) -> None:
    """A pong, and the next operation, wait until the earlier subscriptions miss no event."""
    executions = _Executions()
    handler = await _accepted(socket, executions)
    await handler.handle_message(dict(_INIT))
    for id_, query in {"watch": "subscription { taskChanges { kind } }", "read": "{ __typename }"}.items():
        await handler.handle_message({"type": "subscribe", "id": id_, "payload": {"query": query}})
    pinging = asyncio.create_task(handler.handle_message({"type": "ping"}))
    await asyncio.wait([pinging], timeout=0.05)
    assert socket.messages == {("connection_ack", None)}
    executions.may_open.set()

    async def is_answered() -> bool:
        return socket.messages == {("connection_ack", None), ("pong", None), ("next", "read"), ("complete", "read")}

    await wait_until_async(is_answered)
    await handler.shutdown()


async def test_a_socket_counts_its_operations(socket: _Socket) -> None:
    """The count follows the operations of the client, which may come and go."""
    handler = await _accepted(socket, _Executions())
    await handler.handle_message(dict(_INIT))
    counts = [handler.operation_count]
    for id_ in ("1", "2"):
        payload = {"query": "subscription { taskChanges { kind } }"}
        await handler.handle_message({"type": "subscribe", "id": id_, "payload": payload})
        counts.append(handler.operation_count)
    await handler.handle_message({"type": "complete", "id": "1"})
    assert [*counts, handler.operation_count] == [0, 1, 2, 1]
    await handler.shutdown()
    assert handler.operation_count == 0


async def test_others_have_their_turn_between_two_frames(socket: _Socket) -> None:
    """A client that sends many frames at once does not keep the event loop from its other work."""
    executions = _Executions()
    executions.may_open.set()
    handler = await _accepted(socket, executions)
    turns: list[int] = []
    handled = 0

    async def work() -> None:
        while True:
            turns.append(handled)
            await asyncio.sleep(0)

    other = asyncio.create_task(work())
    await handler.handle_message(dict(_INIT))
    for number in range(5):
        await handler.handle_message(
            {"type": "subscribe", "id": f"{number}", "payload": {"query": "subscription { a }"}}
        )
        await handler.handle_message({"type": "complete", "id": f"{number}"})
        handled += 1
    other.cancel()
    await handler.shutdown()
    assert set(turns) >= set(range(5))


class _Running:
    """A schema whose operations run until the test ends them."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = dict[str, bool]()

    async def stream(self, query: str, **_options: Any) -> AsyncGenerator[ExecutionResult, None]:
        """Run an operation."""
        return self._run(query)

    async def _run(self, query: str) -> AsyncGenerator[ExecutionResult, None]:
        self.ended[query] = False
        await self.may_end.wait()
        self.ended[query] = True
        yield ExecutionResult(data={"done": True}, errors=None)


async def test_a_running_mutation_outlives_the_token(socket: _Socket) -> None:
    """It ends, and its result is not sent; a query is cancelled, and what has not begun does not begin."""
    query, mutation, waiting = "{ __typename }", "mutation { createTask { created } }", "mutation { a: __typename }"
    tokens = Tokens()
    handler = await _accepted(socket, executions := _Executions(), tokens, queries_per_socket=2)
    handler.schema = cast("Any", running := _Running())
    await handler.handle_message({**_INIT, "payload": {"token": tokens.issue("1")}})
    for id_, text in {"query": query, "mutation": mutation, "waiting": waiting}.items():
        await handler.handle_message({"type": "subscribe", "id": id_, "payload": {"query": text}})

    async def run() -> bool:
        return len(running.ended) == 2

    await wait_until_async(run)
    tokens.revoke("1")
    await wait_until_async(socket.is_closed)
    late = {"query": "subscription { taskChanges { kind } }"}
    await handler.handle_message({"type": "subscribe", "id": "late", "payload": late})
    assert executions.joined == 0
    ending = asyncio.create_task(handler.shutdown())
    await asyncio.wait([ending], timeout=0.05)
    assert not ending.done()
    running.may_end.set()
    await asyncio.wait_for(ending, 5)
    assert running.ended == {query: False, mutation: True}
    assert socket.messages == {("connection_ack", None)}
    assert socket.codes[-1] == 4403
    assert handler.operation_count == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_clock_that_is_set_forward_keeps_no_query(socket: _Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves then leaves nothing behind but its mutation, although no timer has ended its token."""
    query, mutation = "{ __typename }", "mutation { createTask { created } }"
    tokens = Tokens()
    handler = await _accepted(socket, _Executions(), tokens, queries_per_socket=2)
    handler.schema = cast("Any", running := _Running())
    await handler.handle_message({**_INIT, "payload": {"token": tokens.issue("1", 60)}})
    for id_, text in {"query": query, "mutation": mutation}.items():
        await handler.handle_message({"type": "subscribe", "id": id_, "payload": {"query": text}})

    async def run() -> bool:
        return len(running.ended) == 2

    await wait_until_async(run)
    later = time.time() + 3600
    monkeypatch.setattr(lifetime, "time", SimpleNamespace(time=lambda: later))
    ending = asyncio.create_task(handler.shutdown())
    await asyncio.wait([ending], timeout=0.05)
    running.may_end.set()
    await asyncio.wait_for(ending, 5)
    assert running.ended == {query: False, mutation: True}


def test_a_token_that_has_ended_at_the_start_is_not_watched() -> None:
    """Nobody would end the watch."""
    tokens, reasons = Tokens(), list[str]()
    tokens.issue("1", -1)
    lifetime.TokenLifetime(tokens.principals["1"], tokens, reasons.append).start()
    assert reasons == [lifetime.EXPIRED]
    assert tokens.watchers("1") == 0
