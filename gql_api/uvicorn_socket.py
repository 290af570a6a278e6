"""uvicorn's WebSocket as ``gql-api serve`` runs it: many messages a write, and an end for clients that do not read."""

from __future__ import annotations

import logging
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from gql_api.wire import EXTENSION, TransportWire

GOING_AWAY = 1001

# Not uvicorn's, which tells of every socket that is opened though there is no access log.
_logger = logging.getLogger(__name__)

_LINGER_SECONDS = 2.0


class UvicornSocket(WebSocketsSansIOProtocol):
    """Offers the application a :class:`gql_api.wire.Wire`, beside what ASGI has.

    uvicorn frames and writes each message by itself. It also waits without an end for a client to read what was
    written before a socket is closed; here a client that does not read is cut off.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._wire = TransportWire()
        super().__init__(*args, **options)

    @property
    def close_sent(self) -> bool:
        """Whether nothing more may be written, which uvicorn sets wherever it closes."""
        return self._close_sent

    @close_sent.setter
    def close_sent(self, is_sent: bool) -> None:
        self._close_sent = is_sent
        if is_sent:
            self._wire.close()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, quietly."""
        self.logger = self.conn.logger = _logger
        super().connection_made(transport)

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake, and let the application find the wire."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {"wire": self._wire}

    def start_keepalive(self) -> None:
        """Go on after the handshake, whose headers are a tenth of what a quiet socket holds and not looked at again."""
        super().start_keepalive()
        self._wire.open(self.transport)
        del self.request, self.response

    def pause_writing(self) -> None:
        """Hear from the transport that it holds more than its high-water mark."""
        super().pause_writing()
        self._wire.pause()

    def resume_writing(self) -> None:
        """Hear from the transport that the client has read."""
        super().resume_writing()
        self._wire.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any more for the client to read."""
        self._wire.close()
        super().connection_lost(exc)
        self._wire.resume()

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
