"""graphql-transport-ws: shared subscriptions, and the protocol's close code for every kind of malformed frame."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from json import JSONDecodeError
from typing import Any, Protocol, cast

from graphql import GraphQLError, OperationType
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.async_base_view import AsyncWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws import handlers
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    PingMessage,
    SubscribeMessage,
)

from gql_api.access.principal import NOBODY, Principal
from gql_api.aio.background import cancelled
from gql_api.api.authentication.lifetime import TokenLifetime
from gql_api.api.context import Context
from gql_api.api.errors import ClientError, LimitExceededError
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.operation import Operation
from gql_api.api.store.slots import identify_requester, stay_one_requester
from gql_api.api.subscriptions.send_buffer import SendBuffer
from gql_api.api.websocket.authentication import SocketRefusal, by_init
from gql_api.api.websocket.frames import frame_problem
from gql_api.api.websocket.message_rate import MessageRate
from gql_api.api.websocket.session import SessionSocket
from gql_api.api.websocket.transport import transport_of
from gql_api.api.websocket.writer import SocketWriter
from gql_api.limits import LimitSettings

_FORBIDDEN = 4403


class _BoundedView(Protocol):
    """The view of a socket."""

    limits: LimitSettings


class TransportHandler(handlers.BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's handler with shared executions and a :class:`SocketWriter`.

    It validates each frame first, for Strawberry does not check the shape of one.
    """

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        if not isinstance(self.websocket, ASGIWebSocketAdapter):
            raise TypeError("this handler is for Strawberry's ASGI view")
        services = self.context.services
        # None once it is forgotten.
        self._handshake: WebSocket | None = self.websocket.ws
        self._executions = services.executions
        self._transport = transport_of(self.websocket.ws)
        self._writer = SocketWriter(self._transport, self._on_ended, services.tick_queue)
        # Of the shared operations.
        self._buffers: dict[str, SendBuffer] = {}
        self._init_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._lifetime: TokenLifetime | None = None
        limits = self._limits = cast("_BoundedView", self.view).limits
        self._rate = MessageRate(limits.messages_per_second)
        self._turns: asyncio.Semaphore | None = None
        # None if the server does not run the session.
        self._session_socket: SessionSocket | None = None

    @property
    def operation_count(self) -> int:
        """The number of operations under way, for the gauges."""
        return len(self.operations)

    async def handle(self) -> None:
        """Serve the socket until it is closed, or hand it over to the server, which runs the session."""
        self.context.services.sockets.add(self)
        if self.context.principal is not NOBODY:
            self._begin_lifetime(self.context.principal)
        self.on_request_accepted()
        handshake, self._session_socket = self._handshake, self._transport.hand_over(self)
        if handshake is None or self._session_socket is not None:
            return
        try:
            while await self.receive(await handshake.receive()):
                pass
        finally:
            await self.end()

    def begin(self) -> None:
        """Begin in the task that will handle the events."""
        stay_one_requester(self.context.principal)

    async def receive(self, event: Any) -> bool:
        """Handle an ASGI event of the socket, and return whether more of them are wanted."""
        if event["type"] == "websocket.disconnect":
            return False
        text = event.get("text")
        try:
            message = None if text is None else self.view.decode_json(text)
        except JSONDecodeError:
            await self.handle_invalid_message("WebSocket message must be valid JSON")
            return False
        if text is None:
            await self.handle_invalid_message("WebSocket message type must be text")
            return False
        with contextlib.suppress(WebSocketDisconnected):
            await self.handle_message(message)
            return not self._has_closed
        return False

    @property
    def _has_closed(self) -> bool:
        if self._handshake is None:
            return self._session_socket is None or self._session_socket.is_closed
        return self._handshake.application_state is WebSocketState.DISCONNECTED

    async def end(self) -> None:
        """End all that belongs to the socket, which is closed."""
        try:
            await self.shutdown()
        finally:
            self.context.services.sockets.discard(self)

    def on_request_accepted(self) -> None:
        """Start to wait for connection_init."""
        # A timer: of Strawberry's task each socket would keep the cancelled remains.
        seconds = self.connection_init_wait_timeout.total_seconds()
        self._init_timer = asyncio.get_running_loop().call_later(seconds, self._time_out)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Authenticate the client and acknowledge the connection, unless its time is over."""
        self._cancel_init_timer()
        if self.connection_init_received or self.connection_timed_out or await self._authenticate(message):
            await super().handle_connection_init(message)
            if self.connection_acknowledged and not self._has_closed:
                self._forget_handshake()

    def _forget_handshake(self) -> None:
        """Keep of the request only its client, if the server runs the session: thousands of sockets wait for events."""
        if self._session_socket is not None and self._handshake is not None:
            client = {"type": "websocket", "client": self._handshake.scope.get("client")}
            self.context = dataclasses.replace(self.context, request=HTTPConnection(client), response=None)
            self.websocket = cast(AsyncWebSocketAdapter, self._session_socket)
            self._handshake = None

    async def _authenticate(self, message: ConnectionInitMessage) -> bool:
        """Give the context its principal; close the socket of a client without a valid token."""
        payload = cast("dict[str, Any] | None", message.get("payload"))
        services, known = self.context.services, self.context.principal
        if self._handshake is None:  # a second message of the kind, which Strawberry rejects
            return True
        principal = await by_init(payload, self._handshake.headers, known, services.authenticator)
        if isinstance(principal, SocketRefusal):
            await self._close(*principal)
            return False
        if principal is not known:
            self.context = dataclasses.replace(self.context, principal=principal)
            self._begin_lifetime(principal)
        return not self._is_over

    async def handle_message(self, message: Any) -> None:
        """Handle one frame, when its turn has come; a malformed one closes the socket with 4400."""
        # Meanwhile the server reads no further frame of this client, and others have their turn: a burst of frames that
        # has arrived already would be handled in one go.
        await asyncio.sleep(max(0.0, self._rate.delay()))
        if self._is_over:
            return
        problem = frame_problem(message)
        if problem is not None:
            await self.handle_invalid_message(problem)
            return
        if message.get("payload", ...) is None:
            del message["payload"]  # the protocol allows null, Strawberry does not
        try:
            await super().handle_message(message)
        except RecursionError:  # the JSON decoder allows deeper nesting than Strawberry
            await self.handle_invalid_message("The message is nested too deeply")

    @staticmethod
    def _get_pre_execution_close_reason(_error: GraphQLError) -> None:
        """Keep the socket open for a document without the named operation, which is an error of that operation only."""

    async def send_message(self, message: Message) -> None:
        """Send a message of this socket alone; wait for a client that does not read."""
        encoded = encode(message)
        if message["type"] == "next" and (data := message["payload"].get("data")):
            data.clear()  # the callers keep it as long as the client does not read, and it is larger than its JSON
        await self._writer.send(encoded)

    async def handle_ping(self, message: PingMessage) -> None:
        """Send a pong once all earlier subscriptions miss no event: the protocol has no other message for that."""
        await self._wait_until_open()
        await super().handle_ping(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Join a shared execution, which needs no task of its own; Strawberry runs or rejects all other operations."""
        payload = message["payload"]
        document_id: Any = payload.get("documentId")
        try:
            # A request with the id of a document has no query.
            query = self.context.documents.requested(payload.get("query"), payload.get("extensions"), document_id)
        except ClientError as refusal:
            if self._can_start(message["id"]):
                await self.send_message({"type": "error", "id": message["id"], "payload": [refusal.formatted]})
                return
            query = payload.get("query")
        if self.connection_acknowledged and self._is_full and message["id"] not in self.operations:
            error = LimitExceededError("operations per socket", len(self.operations) + 1, len(self.operations))
            await self.send_message({"type": "error", "id": message["id"], "payload": [error.formatted]})
            return
        payload["query"] = query or ""
        shared = Operation(payload["query"], payload.get("variables"), payload.get("operationName"))
        policy = self._executions.policy(shared) if self._can_start(message["id"]) else None
        if policy is None:
            await super().handle_subscribe(message)
            return
        if (full := self._executions.lack_of_room(self.context.principal)) is not None:
            await self.send_message({"type": "error", "id": message["id"], "payload": [full.formatted]})
            return
        self.operations[message["id"]] = handlers.Operation(
            self, message["id"], shared.query, shared.variables, shared.name
        )
        buffer = self._buffers[message["id"]] = SendBuffer(policy, self._writer, encode(message["id"]))
        self._executions.join(shared, buffer, self.context.principal)

    async def _wait_until_open(self) -> None:
        for buffer in list(self._buffers.values()):
            await self._executions.opened(buffer)

    def _can_start(self, operation_id: str) -> bool:
        """Return whether Strawberry would accept the operation."""
        return self.connection_acknowledged and operation_id not in self.operations and not self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self.operations) >= self._limits.operations_per_socket

    async def run_operation(self, operation: handlers.Operation[Context, None]) -> None:
        """Run an operation that is not shared, once all earlier subscriptions receive the events that it causes."""
        if not self.context.documents.is_subscription(operation.query, operation.operation_name):
            await self._wait_until_open()
            if (error := self.context.documents.refusal(operation.query)) is not None:
                await operation.send_initial_errors([error])
                return
            self._turns = self._turns or asyncio.Semaphore(self._limits.queries_per_socket)
            async with self._turns:
                await self._writer.writable()  # the answers before it may be more than the client reads
                if self._is_over:
                    return
                await super().run_operation(operation)
        elif (full := self._executions.lack_of_room(self.context.principal)) is not None:
            await operation.send_initial_errors([full])
        else:
            async with self._executions.personal(self.context.principal):
                await self._wait_until_open()
                if not self._is_over:
                    await super().run_operation(operation)

    async def cleanup_operation(self, operation_id: str) -> None:
        """End an operation that the client completed, or whose socket is closed."""
        self._end_operation(operation_id)

    def _end_operation(self, operation_id: str) -> None:
        operation = self.operations.pop(operation_id, None)
        buffer = self._buffers.pop(operation_id, None)
        if buffer is not None:
            self._writer.discard(buffer)
            self._executions.leave(buffer)
        elif operation is not None and operation.task is not None:
            operation.task.cancel()

    async def shutdown(self) -> None:
        """End all operations of a closed socket."""
        self._cancel_init_timer()
        is_over = self._is_over
        if self._lifetime is not None:
            self._lifetime.stop()
        if self._closing is not None:
            await cancelled([self._closing])
        try:
            if is_over:
                self._end_all_but_mutations()  # the clock may have been set forward, and no timer has ended them
            # The mutations of a client that was let in are wanted, even if it may not see their results.
            if is_over and (tasks := [each.task for each in self.operations.values() if each.task is not None]):
                await asyncio.wait(tasks)
        finally:
            await super().shutdown()
            self._writer.close()

    @property
    def _is_over(self) -> bool:
        return self._lifetime is not None and self._lifetime.is_over

    def _begin_lifetime(self, principal: Principal) -> None:
        identify_requester(principal)
        if self._lifetime is not None:  # of the handshake; the client is the same
            self._lifetime.stop()
        self._lifetime = TokenLifetime(principal, self.context.services.revocations, self._end_lifetime)
        self._writer.deadline = None if principal.expires_at is None else self._lifetime.expires_at
        self._lifetime.start()

    def _end_lifetime(self, reason: str) -> None:
        """Send nothing from now on, end all operations but mutations, and close the socket."""
        has_read = self._writer.stop()
        self._end_all_but_mutations()
        if has_read:
            self._begin_to_close(_FORBIDDEN, reason)
        else:  # a close frame would come behind what is still to be sent
            self._writer.abort()

    def _end_all_but_mutations(self) -> None:
        for operation_id, operation in list(self.operations.items()):
            if not self._is_mutation(operation):
                self._end_operation(operation_id)

    def _is_mutation(self, operation: handlers.Operation[Context, None]) -> bool:
        node = self.context.documents.operation(operation.query, operation.operation_name)
        return node is not None and node.operation is OperationType.MUTATION

    def _time_out(self) -> None:
        self.connection_timed_out = True
        self._begin_to_close(4408, "Connection initialisation timeout")

    def _begin_to_close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the socket is closed already
            await self.websocket.close(code=code, reason=reason)

    def _cancel_init_timer(self) -> None:
        if self._init_timer is not None:
            self._init_timer.cancel()
            self._init_timer = None

    def _on_ended(self, buffer: SendBuffer) -> None:
        """Free the id of an operation whose end has been sent."""
        operation_id = next(id_ for id_, other in self._buffers.items() if other is buffer)
        del self._buffers[operation_id], self.operations[operation_id]
        self._executions.leave(buffer)
