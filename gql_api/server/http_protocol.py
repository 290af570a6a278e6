"""uvicorn's HTTP connection as ``gql-api serve`` runs it: it closes for clients that stop reading, and on shutdown."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gql_api.api.http.streaming import STREAMED
from gql_api.server.handshake import acceptance
from gql_api.server.websocket_protocol import WebSocketProtocol


class HttpProtocol(HttpToolsProtocol):
    """An HTTP connection that aborts when its client stops reading, and closes a streamed answer on shutdown.

    uvicorn waits without a limit for a client to read, and until the end of the grace period for a streamed answer.

    A streamed answer that is closed stays incomplete, by which HTTP indicates that more was to come (RFC 9112, 8):
    a client that retries does so at another server. A complete answer would mean the end of the watched task.
    """

    unread_seconds: ClassVar[float] = 60.0
    """The time that a client may leave more than the transport's high-water mark unread."""

    _abort_timer: TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read."""
        super().pause_writing()
        self._abort_timer = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer of a client that has read."""
        super().resume_writing()
        self._cancel_abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a connection that is gone."""
        super().connection_lost(exc)
        self._cancel_abort()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection of a plain handshake over to :class:`WebSocketProtocol`.

        uvicorn writes the request as bytes again, for the websockets library to parse a second time.
        """
        accept = acceptance(self.scope["method"], self.scope["http_version"], self.url, self.headers)
        may_hand_over = self.ws_protocol_class is WebSocketProtocol and not self.config.ws_per_message_deflate
        if accept is None or not may_hand_over:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        # The parser refers to this protocol. Without it reference counting frees the request at once.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when the connection is lost
        websocket = WebSocketProtocol(self.config, self.server_state, self.app_state)
        websocket.connection_made(self.transport)
        websocket.start(self.url, self.headers, accept)
        self.transport.set_protocol(websocket)

    def shutdown(self) -> None:
        """Start to shut down; the server calls this for each connection."""
        # Between requests there is no cycle, which uvicorn's types do not express.
        cycle = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete and STREAMED in cycle.scope:
            self.transport.close()
        else:
            super().shutdown()

    def _cancel_abort(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
