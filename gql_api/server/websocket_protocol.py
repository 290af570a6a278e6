"""uvicorn's WebSocket as ``gql-api serve`` runs it: many messages a write, and an end for clients that do not read."""

from __future__ import annotations

import logging
from asyncio import BaseTransport
from typing import Any
from urllib.parse import unquote

from uvicorn._types import ASGISendEvent, WebSocketAcceptEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from gql_api.api.websocket.transport import EXTENSION, DirectTransport
from gql_api.server import handshake

GOING_AWAY = 1001

# Not uvicorn's, which tells of every socket that is opened though there is no access log.
_logger = logging.getLogger(__name__)

_LINGER_SECONDS = 2.0
_MAX_EARLY_BYTES = 64 * 1024
_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Offers the application a :class:`gql_api.api.websocket.transport.Transport`, beside what ASGI has.

    uvicorn frames and writes each message by itself, reads each request a second time, and never answers one that the
    websockets library cannot read. It also waits without an end for a client to read what was written before a socket
    is closed; here a client that does not read is cut off.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._wire = DirectTransport()
        # What accepts a plain handshake, until the application has answered it.
        self._accept: str | None = None
        self._early = b""
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

    def begin(self, url: bytes, headers: list[tuple[bytes, bytes]], accept: str) -> None:
        """Let the application answer a request whose handshake is plain.

        Args:
            url: the request's target, in ASCII.
            headers: of the request.
            accept: what :func:`gql_api.server.handshake.acceptance` found in it.
        """
        raw_path, _, query_string = url.partition(b"?")
        self._accept = accept
        self.handshake_initiated = True
        self.scope = {
            "type": "websocket",
            "asgi": {"version": self.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": self.root_path,
            "path": self.root_path + unquote(raw_path.decode()),
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": query_string,
            "headers": headers,
            "subprotocols": handshake.subprotocols(headers),
            "state": self.app_state.copy(),
            "extensions": {"websocket.http.response": {}, EXTENSION: {"wire": self._wire}},
        }
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)

    def handle_connect(self, event: Request) -> None:
        """Begin any other handshake, and let the application find the wire."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {"wire": self._wire}

    async def send(self, message: ASGISendEvent) -> None:
        """Take a message of the application's."""
        if (
            self._accept is None
            or message["type"] != "websocket.accept"
            or self.initial_response is not None
            or self.disconnected
        ):
            await super().send(message)
        elif not self.transport.is_closing():
            self._answer(self._accept, message)

    def _answer(self, accept: str, message: WebSocketAcceptEvent) -> None:
        """Open the socket. The library reads frames from now on."""
        headers = [*self.default_headers, *message.get("headers", [])]
        self.transport.write(handshake.response(accept, headers, message.get("subprotocol")))
        self._accept = None
        self.handshake_complete = True
        self.conn.state = State.OPEN
        self.conn.parser = self.conn.parse()  # the first one waits for a request
        next(self.conn.parser)
        self.start_keepalive()
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent. What it should have sent after the answer waits for that, if it is not much."""
        if self._accept is None:
            self._read(data)
            return
        self._early += data
        if len(self._early) > _MAX_EARLY_BYTES:
            self.transport.abort()

    def _read(self, data: bytes) -> None:
        """Read frames, or a request that is not plain, and refuse one that the library cannot read."""
        try:
            super().data_received(data)
        except UnicodeEncodeError:  # a refusal cannot quote what is not ASCII
            is_readable = False
        else:
            is_readable = self.handshake_initiated
        if not is_readable:
            self.close_sent = True
            self.transport.write(_UNREADABLE)
            self.transport.close()

    def start_keepalive(self) -> None:
        """Go on after the handshake."""
        super().start_keepalive()
        self._wire.open(self.transport)

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
