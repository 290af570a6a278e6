"""uvicorn's HTTP connection as ``gql-api serve`` runs it: it lets go of clients that do not read, and when it stops."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gql_api.api.http.streaming import ENDLESS
from gql_api.server.handshake import acceptance
from gql_api.server.websocket_protocol import WebSocketProtocol


class HttpProtocol(HttpToolsProtocol):
    """Cuts off a client that takes nothing of its answer, and ends an answer that goes on when the server stops.

    uvicorn would wait for the one without an end, and for the other until the grace is over.

    The answer that goes on stays unfinished, which is how HTTP tells that there was more to come (RFC 9112, 8):
    clients that retry do so, elsewhere. Told that the stream is complete they would take the task for watched to its
    end.
    """

    unread_seconds: ClassVar[float] = 60.0
    """For so long a client may leave unread what is more than the transport's high-water mark."""

    _cut_off: TimerHandle | None = None

    def pause_writing(self) -> None:
        """Hear from the transport that the client does not read."""
        super().pause_writing()
        self._cut_off = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Hear from the transport that the client has read."""
        super().resume_writing()
        self._keep()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the connection."""
        super().connection_lost(exc)
        self._keep()

    def handle_websocket_upgrade(self) -> None:
        """Hand a client that wants a WebSocket over; uvicorn would write its request down again, to be read anew."""
        accept = acceptance(self.scope["method"], self.scope["http_version"], self.url, self.headers)
        may_hand_over = self.ws_protocol_class is WebSocketProtocol and not self.config.ws_per_message_deflate
        if accept is None or not may_hand_over:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        # It holds us, and is done: without it all that is left of the request goes at once, not with the collector.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when the connection is lost
        websocket = WebSocketProtocol(self.config, self.server_state, self.app_state)
        websocket.connection_made(self.transport)
        websocket.begin(self.url, self.headers, accept)
        self.transport.set_protocol(websocket)

    def shutdown(self) -> None:
        """Begin to stop; the server calls this for each connection."""
        # Between requests there is no cycle, which uvicorn's types do not say.
        cycle = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete and ENDLESS in cycle.scope:
            self.transport.close()
        else:
            super().shutdown()

    def _keep(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None
