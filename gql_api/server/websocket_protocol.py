"""uvicorn's WebSocket as ``gql-api serve`` runs it: many messages per write, and an abort for slow clients."""

from __future__ import annotations

import logging
from asyncio import BaseTransport, TimerHandle
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from starlette.types import Message, Send
from uvicorn._types import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    WebSocketAcceptEvent,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from gql_api.aio.compact import CompactEvent, CompactQueue
from gql_api.api.websocket.session import Session
from gql_api.api.websocket.transport import EXTENSION, DirectTransport
from gql_api.server import handshake

GOING_AWAY = 1001
LINGER_SECONDS = 2.0
"""The time that a server which shuts down gives a client to read what was written."""

# Not uvicorn's logger, which logs every socket that is opened even without an access log.
_logger = logging.getLogger(__name__)

_UNREAD_SECONDS = 30.0
_MAX_EARLY_BYTES = 64 * 1024
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that offers the application a :class:`gql_api.api.websocket.transport.Transport` beside ASGI.

    uvicorn frames and writes each message by itself, parses each request a second time, and never answers one that the
    websockets library cannot parse. It also waits without a limit for a client to read what was written before a close;
    this class aborts the connection of a client that does not read.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._direct = DirectTransport()
        # The value of Sec-WebSocket-Accept of a plain handshake, until the application has answered it.
        self._accept: str | None = None
        # The bytes that the client sent before that answer.
        self._early = b""
        self._abort_timer: TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None
        super().__init__(*args, **options)
        # Of asyncio's classes uvicorn uses these methods only.
        self.queue = CompactQueue[ASGIReceiveEvent]()  # type: ignore[assignment]
        self.writable = CompactEvent()  # type: ignore[assignment]
        self.writable.set()
        self._application, self.app = self.app, self._serve

    async def _serve(self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run the application, and then the session that it has handed over."""
        direct = self._direct
        direct.server_send = cast(Send, send)
        try:
            await self._application(scope, receive, send)
            # The session keeps what it needs of the request.
            del scope, receive, send
            if direct.session is not None:
                await self._run_session(direct.session)
        finally:
            try:
                if direct.session is not None:
                    await direct.session.end()
            finally:
                direct.end()

    async def _run_session(self, session: Session) -> None:
        self.scope = None  # type: ignore[assignment] # uvicorn reads it during the handshake only
        session.begin()
        while await session.receive(cast(Message, await self.receive())):
            pass

    @property
    def close_sent(self) -> bool:
        """True once a close frame was sent. uvicorn sets it wherever it closes; nothing may be written after that."""
        return self._close_sent

    @close_sent.setter
    def close_sent(self, is_sent: bool) -> None:
        self._close_sent = is_sent
        if is_sent:
            self._direct.close()
            # Otherwise a client that does not read what was written before the close keeps its socket for ever.
            self._abort_timer = self.loop.call_later(_UNREAD_SECONDS, self.transport.abort)

    def connection_made(self, transport: BaseTransport) -> None:
        """Start without uvicorn's log of each connection."""
        self.logger = self.conn.logger = _logger
        super().connection_made(transport)

    def start(self, url: bytes, headers: list[tuple[bytes, bytes]], accept: str) -> None:
        """Run the application on a request with a plain handshake.

        Args:
            url: the request's target, in ASCII.
            headers: the request's headers.
            accept: the result of :func:`gql_api.server.handshake.acceptance`.
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
            "extensions": {"websocket.http.response": {}, EXTENSION: {"transport": self._direct}},
        }
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)

    def handle_connect(self, event: Request) -> None:
        """Run the application on any other handshake, and offer it the transport."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {"transport": self._direct}

    async def send(self, message: ASGISendEvent) -> None:
        """Send an event of the application."""
        if (
            self._accept is None
            or message["type"] != "websocket.accept"
            or self.initial_response is not None
            or self.disconnected
        ):
            await super().send(message)
            if self.initial_response is not None and self.close_sent:
                # The application has refused the handshake. uvicorn would log that as an error of the application.
                self.handshake_complete = True
        elif not self.transport.is_closing():
            self._accept_plain(self._accept, message)

    def _accept_plain(self, accept: str, message: WebSocketAcceptEvent) -> None:
        """Answer a plain handshake; the library parses frames from now on."""
        headers = [*self.default_headers, *message.get("headers", [])]
        self.transport.write(handshake.response(accept, headers, message.get("subprotocol")))
        self._accept = None
        self.handshake_complete = True
        self.conn.state = State.OPEN
        self.conn.parser = self.conn.parse()  # the initial parser expects a request
        next(self.conn.parser)
        self.start_keepalive()

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent. Bytes that come before the answer to its handshake wait for it, up to a limit.

        The library fails at a wrong frame that comes before its answer.
        """
        if self.handshake_complete or not self.handshake_initiated:
            self._parse(data)
            return
        self._early += data
        if len(self._early) > _MAX_EARLY_BYTES:
            self.transport.abort()

    def _parse(self, data: bytes) -> None:
        """Parse frames, or a request that is not plain; reject one that the library cannot parse."""
        try:
            super().data_received(data)
        except UnicodeEncodeError:  # the library's rejection quotes what is not ASCII
            is_parsed = False
        else:
            is_parsed = self.handshake_initiated
        if not is_parsed:
            self.close_sent = True
            self.transport.write(_BAD_REQUEST)
            self.transport.close()

    def start_keepalive(self) -> None:
        """Open the transport, and parse what came early; uvicorn calls this after each handshake."""
        super().start_keepalive()
        self._direct.open(self.transport)
        early, self._early = self._early, b""
        if early:
            self._parse(early)

    def pause_writing(self) -> None:
        """Pause: the client has left more than the high-water mark unread."""
        super().pause_writing()
        self._direct.pause()

    def resume_writing(self) -> None:
        """Resume: the client has read."""
        super().resume_writing()
        self._direct.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release every sender that waits for the client to read."""
        self._direct.close()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)
        self._direct.resume()
        if self.on_lost is not None:
            self.on_lost()

    def keepalive_timeout(self) -> None:
        """Close the socket of a client that has not answered a ping, without waiting for it to read."""
        has_unread = self.transport.get_write_buffer_size() > 0
        super().keepalive_timeout()
        if has_unread:
            self.transport.abort()

    def shutdown(self) -> None:
        """Send the close code of a server that goes away, and wait a short time for the client's answer."""
        if self.close_sent:
            super().shutdown()
        elif not self.handshake_complete:
            self._refuse_handshake()
        else:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            self.conn.send_close(GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
        # The client may not read what was written before.
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _refuse_handshake(self) -> None:
        """Answer a handshake before the application does. From now on the application finds the client gone.

        uvicorn writes an answer too, and fails when the application answers after that.
        """
        self.transport.write(_UNAVAILABLE)
        self.transport.close()
        self.handshake_complete = self.disconnected = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
