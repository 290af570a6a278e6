"""uvicorn's HTTP connection as ``gql-api serve`` runs it: it lets go of clients that do not read, and when it stops."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gql_api.streamed import ENDLESS


class UvicornHttp(HttpToolsProtocol):
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
