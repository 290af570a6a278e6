"""uvicorn's WebSocket as ``gql-api serve`` runs it: many messages a write, and an end for clients that do not read."""

from __future__ import annotations

import logging
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from gql_api.wire import EXTENSION, framed

GOING_AWAY = 1001

# Not uvicorn's, which tells of every socket that is opened though there is no access log.
_logger = logging.getLogger(__name__)

_LINGER_SECONDS = 2.0


class UvicornSocket(WebSocketsSansIOProtocol):
    """Offers itself to the application as a :class:`gql_api.wire.Wire`, beside what ASGI has.

    uvicorn frames and writes each message by itself. It also waits without an end for a client to read what was
    written before a socket is closed; here a client that does not read is cut off.
    """

    # Beside uvicorn's own attributes, which are many: an event is written to thousands of sockets, and each piece of
    # memory that is looked at takes its time.
    __slots__ = ("_close_sent", "_writer", "is_writable", "on_paused", "on_writable")

    def __init__(self, *args: Any, **options: Any) -> None:
        self.on_paused: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.is_writable = True
        # None before the handshake, and when the socket is being closed or gone.
        self._writer: Transport | None = None
        super().__init__(*args, **options)

    @property
    def close_sent(self) -> bool:
        """Whether nothing more may be written, which uvicorn sets wherever it closes."""
        return self._close_sent

    @close_sent.setter
    def close_sent(self, is_sent: bool) -> None:
        self._close_sent = is_sent
        if is_sent:
            self._writer = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, quietly."""
        self.logger = self.conn.logger = _logger
        super().connection_made(transport)

    def write(self, messages: list[bytes]) -> None:
        """Write text messages at once, unless the socket is being closed."""
        if self._writer is not None:
            self._writer.write(framed(messages))

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake, and let the application find the wire."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {"wire": self}

    def start_keepalive(self) -> None:
        """Go on after the handshake, whose headers are a tenth of what a quiet socket holds and not looked at again."""
        super().start_keepalive()
        self._writer = self.transport
        del self.request, self.response

    def pause_writing(self) -> None:
        """Hear from the transport that it holds more than its high-water mark."""
        super().pause_writing()
        self.is_writable = False
        if self.on_paused is not None:
            self.on_paused()

    def resume_writing(self) -> None:
        """Hear from the transport that the client has read."""
        super().resume_writing()
        self._let_write()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any more for the client to read."""
        self._writer = None
        super().connection_lost(exc)
        self._let_write()

    def keepalive_timeout(self) -> None:
        """Close the socket of a client that has not answered a ping, and do not wait for it to read what is written."""
        has_unread = self.transport.get_write_buffer_size() > 0
        super().keepalive_timeout()
        if has_unread:
            self.transport.abort()

    def shutdown(self) -> None:
        """Tell the client to connect elsewhere and wait for its answer, but not for long."""
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
        self.conn.send_close(GOING_AWAY)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _let_write(self) -> None:
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()
