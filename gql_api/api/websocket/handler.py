"""graphql-transport-ws: shared subscriptions, and the protocol's close code for every kind of bad frame."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.subscriptions.protocols.graphql_transport_ws import handlers
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    PingMessage,
    SubscribeMessage,
)

from gql_api.aio.background import cancelled
from gql_api.api.context import Context
from gql_api.api.execution.documents import syntax_error
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.operation import Operation
from gql_api.api.subscriptions.send_buffer import SendBuffer
from gql_api.api.websocket.transport import transport_of
from gql_api.api.websocket.writer import SocketWriter

_SUBSCRIBE_FIELDS = {"query": str, "variables": dict, "operationName": str, "extensions": dict}


class TransportHandler(handlers.BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's handler, with shared executions, our wire, and a look at each frame before Strawberry's.

    Strawberry takes the shape of a frame for granted.
    """

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        if not isinstance(self.websocket, ASGIWebSocketAdapter):
            raise TypeError("this handler is for Strawberry's ASGI view")
        self._outgoing = SocketWriter(transport_of(self.websocket.ws), self._sent_all, self.context.services.tick_queue)
        self._outboxes: dict[str, SendBuffer] = {}
        self._unbegun: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many operations there are."""
        return len(self.operations)

    def __bool__(self) -> bool:
        return True

    async def handle(self) -> None:
        """Serve the socket until its end."""
        sockets = self.context.services.sockets
        sockets.add(self)
        try:
            await super().handle()
        finally:
            sockets.discard(self)

    def on_request_accepted(self) -> None:
        """Begin to wait for connection_init, by a timer: of Strawberry's task each socket keeps the cancelled rest."""
        seconds = self.connection_init_wait_timeout.total_seconds()
        self._unbegun = asyncio.get_running_loop().call_later(seconds, self._time_out)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Begin, unless it comes too late."""
        self._stop_waiting()
        await super().handle_connection_init(message)

    async def handle_message(self, message: Any) -> None:
        """Handle one frame; a malformed one closes the socket with 4400."""
        problem = frame_problem(message)
        if problem is not None:
            await self.handle_invalid_message(problem)
            return
        if message.get("payload", ...) is None:
            del message["payload"]  # the protocol takes null for none, Strawberry does not
        try:
            await super().handle_message(message)
        except RecursionError:  # it could just be read
            await self.handle_invalid_message("The message is nested too deeply")

    @staticmethod
    def _get_pre_execution_close_reason(_error: GraphQLError) -> None:
        """Let a document without the operation that is meant be an error of its own: the socket's others go on."""

    async def send_message(self, message: Message) -> None:
        """Send what is this socket's alone; waits for a client that does not read."""
        await self._outgoing.send(encode(message))

    async def handle_ping(self, message: PingMessage) -> None:
        """Answer when what was subscribed before hears all that happens: the protocol has no other word for that."""
        await self._opened()
        await super().handle_ping(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Join a shared execution, which needs no task of its own; Strawberry runs the others, or refuses them."""
        payload = message["payload"]
        shared = Operation(payload["query"], payload.get("variables"), payload.get("operationName"))
        policy = self.context.services.executions.policy(shared) if self._may_begin(message["id"]) else None
        if policy is None:
            await super().handle_subscribe(message)
            return
        self.operations[message["id"]] = handlers.Operation(
            self, message["id"], shared.query, shared.variables, shared.name
        )
        outbox = self._outboxes[message["id"]] = SendBuffer(policy, self._outgoing, encode(message["id"]))
        self.context.services.executions.join(shared, outbox)

    async def _opened(self) -> None:
        for outbox in list(self._outboxes.values()):
            await self.context.services.executions.opened(outbox)

    def _may_begin(self, operation_id: str) -> bool:
        """Whether Strawberry would not refuse it."""
        most = self.max_subscriptions_per_connection
        has_room = most is None or len(self.operations) < most
        return self.connection_acknowledged and operation_id not in self.operations and has_room

    async def run_operation(self, operation: handlers.Operation[Context, None]) -> None:
        """Run an operation that is not shared: what was subscribed before hears what it does."""
        await self._opened()
        if (error := syntax_error(operation.query)) is not None:
            await operation.send_initial_errors([error])
        else:
            await super().run_operation(operation)

    async def cleanup_operation(self, operation_id: str) -> None:
        """End an operation, as the client or the end of the socket wants it."""
        outbox = self._outboxes.pop(operation_id, None)
        if outbox is None:
            await super().cleanup_operation(operation_id)
        else:
            del self.operations[operation_id]
            self._outgoing.unmark(outbox)
            self.context.services.executions.leave(outbox)

    async def shutdown(self) -> None:
        """End all operations, with the socket."""
        self._stop_waiting()
        if self._closing is not None:
            await cancelled([self._closing])
        await super().shutdown()
        self._outgoing.close()

    def _time_out(self) -> None:
        self.connection_timed_out = True
        self._closing = asyncio.create_task(self._close_unbegun())

    async def _close_unbegun(self) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
            await self.websocket.close(code=4408, reason="Connection initialisation timeout")

    def _stop_waiting(self) -> None:
        if self._unbegun is not None:
            self._unbegun.cancel()
            self._unbegun = None

    def _sent_all(self, outbox: SendBuffer) -> None:
        """Free the id of an operation whose end has been sent."""
        operation_id = next(id_ for id_, other in self._outboxes.items() if other is outbox)
        del self._outboxes[operation_id], self.operations[operation_id]
        self.context.services.executions.leave(outbox)


def frame_problem(message: Any) -> str | None:
    """Say what is wrong with a frame by the protocol; None when nothing is.

    https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
    """
    if not isinstance(message, dict):
        return "A message must be a JSON object"
    kind, payload = message.get("type"), message.get("payload")
    if not isinstance(kind, str):
        return "A message needs a type"
    if kind in {"connection_init", "ping", "pong"}:
        return None if payload is None or isinstance(payload, dict) else f"The payload of {kind} must be an object"
    if kind in {"subscribe", "complete"} and not (isinstance(message.get("id"), str) and message["id"]):
        return f"{kind} needs an id, a string"
    return _subscribe_problem(payload) if kind == "subscribe" else None


def _subscribe_problem(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return "The payload of subscribe must be an object"
    if not isinstance(payload.get("query"), str):
        return "subscribe needs a query, a string"
    for name, kind in _SUBSCRIBE_FIELDS.items():
        if payload.get(name) is not None and not isinstance(payload[name], kind):
            return f"{name} has the wrong type"
    return None
