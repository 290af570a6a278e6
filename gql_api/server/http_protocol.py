"""uvicorn's HTTP connection as ``gql-api serve`` runs it: bounded in time and size, and closed on shutdown."""

from __future__ import annotations

import functools
import sys
from asyncio import BaseTransport, TimerHandle, Transport
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gql_api.api.errors import OverloadedError
from gql_api.api.http.streaming import CONNECTION, STREAMED
from gql_api.api.subscriptions.admission import Admission
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.limits import LimitSettings
from gql_api.server.files import log_refusal
from gql_api.server.handshake import acceptance
from gql_api.server.joined_head import JoinedHead
from gql_api.server.websocket_protocol import LINGER_SECONDS, WebSocketProtocol
from gql_api.telemetry.counters import LIMITS_EXCEEDED

_OVERLOADED = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
# A body of the largest size may come in small chunks, each with a line of its own.
_MAX_FRAMING = 8


class _Part(Enum):
    """A part of a request that a client has yet to finish; the value begins the names of its limits."""

    HEADERS = "header"
    BODY = "body"


class _HeadersTooLargeError(Exception):
    """The headers of a request are too large. The parser turns it into an error of its own."""


class HttpProtocol(HttpToolsProtocol):
    """An HTTP connection with deadlines and sizes, which closes a streamed answer on shutdown.

    uvicorn waits without a limit for a client to send a request and to read its answer, takes headers of any size, and
    waits until the end of the grace period for a streamed answer.

    A streamed answer that is closed stays incomplete, by which HTTP indicates that more was to come (RFC 9112, 8):
    a client that retries does so at another server. A complete answer would mean the end of the watched task.
    """

    unread_seconds: ClassVar[float] = 60.0
    """The time that a client may leave more than the transport's high-water mark unread."""

    limits: ClassVar[LimitSettings] = LimitSettings.model_construct()
    """The limits, the default ones. :func:`with_limits` returns a protocol with others."""

    admission: ClassVar[Admission] = Admission("connections", sys.maxsize, sys.maxsize)
    """The open connections of the process."""

    is_shutting_down: ClassVar[bool] = False
    """True once the server has begun to shut down."""

    # Counts the end of the connection; None if there is no room for it.
    _leave: Callable[[], None] | None = None
    _abort_timer: TimerHandle | None = None
    # The part of a request that the client is sending; None between requests.
    _part: _Part | None = None
    # The part that the deadline is for.
    _awaited: _Part | None = None
    _deadline: TimerHandle | None = None
    _header_bytes = 0
    _message_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Start to wait for a request, if there is room for the connection."""
        super().connection_made(cast(Transport, transport))
        if self.is_shutting_down:
            # The event loop accepted it before the server stopped listening. uvicorn closes only those that it has.
            self.transport.close()
            return
        try:
            self.admission.enter(host := self.client[0] if self.client else "")
        except OverloadedError as error:
            log_refusal(error)
            self.transport.write(_OVERLOADED)
            self.transport.close()
            return
        self._leave = functools.partial(self.admission.leave, host)
        self._await()

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent, and wait for the rest of the request."""
        if self._leave is None:  # there is no room for the connection, or it came too late
            return
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():  # handed over to a WebSocket, or refused
            return
        if self._part is not None:
            self._message_bytes += len(data)
            self._check_size()
        self._await()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._part = _Part.HEADERS
        self._header_bytes = self._message_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Add a part of the request's target."""
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header, or a trailer behind a body."""
        self._count_header(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Run the application."""
        self._part = _Part.BODY
        cast("dict[str, object]", self.scope)["extensions"] = {CONNECTION: self.transport}
        before = self.cycle
        super().on_headers_complete()
        # Otherwise the request became a WebSocket, or nothing follows the head.
        if self.cycle is not before and self.cycle.scope["method"] != "HEAD":
            self.cycle.transport = cast(Transport, JoinedHead(self.transport))

    def on_message_complete(self) -> None:
        """End the request."""
        self._part = None
        self._cancel_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed, or whose headers are too large."""
        if self._header_bytes > self.limits.header_max_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header bytes")
        else:
            super().send_400_response(msg)

    @property
    def unread_bytes(self) -> int:
        """The size of the transport's buffer."""
        return self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the connection without waiting for the client."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read."""
        super().pause_writing()
        BACKLOG.add(self)
        self._abort_timer = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer of a client that has read."""
        super().resume_writing()
        BACKLOG.discard(self)
        if not self.transport.is_closing():  # of a closing connection, the rest may stay unread
            self._cancel_abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a connection that is gone."""
        super().connection_lost(exc)
        BACKLOG.discard(self)
        self._cancel_abort()
        self._cancel_deadline()
        if self._leave is not None:
            self._leave()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection of a plain handshake over to :class:`WebSocketProtocol`.

        uvicorn writes the request as bytes again, for the websockets library to parse a second time.
        """
        self._cancel_deadline()
        if self._is_answering or self.flow.write_paused:
            # The rest of that answer would be taken for frames, and what is unread of it would count for ever.
            self.transport.close()
            return
        accept = acceptance(self.scope["method"], self.scope["http_version"], self.url, self.headers)
        may_hand_over = self.ws_protocol_class is WebSocketProtocol and not self.config.ws_per_message_deflate
        if accept is None or not may_hand_over:
            super().handle_websocket_upgrade()
        else:
            self.connections.discard(self)
            websocket = WebSocketProtocol(self.config, self.server_state, self.app_state)
            websocket.connection_made(self.transport)
            websocket.start(self.url, self.headers, accept)
            self.transport.set_protocol(websocket)
        cast(WebSocketProtocol, self.transport.get_protocol()).on_lost = self._leave
        # The parser refers to this protocol. Without it reference counting frees the request at once.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when the connection is lost

    def shutdown(self) -> None:
        """Start to shut down; the server calls this for each connection."""
        # Between requests there is no cycle, which uvicorn's types do not express.
        cycle = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete and STREAMED in cycle.scope:
            self.transport.close()
            # The transport closes when the client has read everything that was written. The client may not read.
            self._cancel_abort()
            self._abort_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        else:
            super().shutdown()

    def _await(self) -> None:
        """Set the deadline for the next part of a request; a client that waits for an answer has none."""
        awaited = self._part if self._part is not None or self._is_answering else _Part.HEADERS
        if awaited is self._awaited:
            return
        self._cancel_deadline()
        if awaited is not None:
            seconds = self.limits.header_seconds if awaited is _Part.HEADERS else self.limits.body_seconds
            self._awaited = awaited
            self._deadline = self.loop.call_later(seconds, self._time_out)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _time_out(self) -> None:
        awaited, self._awaited = self._awaited, None
        if self.flow.read_paused:  # the server does not read at the moment, so the client cannot be late
            self._await()
        elif awaited is not None:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"{awaited.value} seconds")

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.limits.header_max_bytes:
            raise _HeadersTooLargeError

    def _check_size(self) -> None:
        """Refuse a request of which the parser keeps too much, or which does not end."""
        limits = self.limits
        if self._part is _Part.HEADERS and self._message_bytes > limits.header_max_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header bytes")
        largest_body = max(limits.body_max_bytes, limits.create_body_max_bytes)
        if self._message_bytes > limits.header_max_bytes + _MAX_FRAMING * largest_body:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body bytes")

    def _refuse(self, status: HTTPStatus, limit: str) -> None:
        """Close the connection of a request over a limit, with an answer unless there is one already."""
        LIMITS_EXCEEDED.labels(limit).inc()
        is_answered = self.cycle.response_started if self._part is _Part.BODY else self._is_answering
        if self._part is not None and not self.pipeline and not is_answered:
            head = f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()

    def _cancel_deadline(self) -> None:
        self._awaited = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cancel_abort(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None


def with_limits(limits: LimitSettings, max_connections: int = sys.maxsize) -> type[HttpProtocol]:
    """Return the protocol with other limits than the default ones.

    Args:
        limits: the limits.
        max_connections: how many connections the limit of open files allows.
    """
    most = min(limits.connections_max, max_connections)
    admission = Admission("connections", most, limits.connections_per_address)
    return type("HttpProtocol", (HttpProtocol,), {"limits": limits, "admission": admission})
