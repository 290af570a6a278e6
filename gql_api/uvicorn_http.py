"""uvicorn's HTTP connection as ``gql-api serve`` runs it: told to stop, it lets go of streamed answers."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gql_api.streamed import ENDLESS


class UvicornHttp(HttpToolsProtocol):
    """Ends an answer that goes on when the server stops: uvicorn would wait for its end until the grace is over.

    The answer stays unfinished, which is how HTTP tells that there was more to come (RFC 9112, 8): clients that retry
    do so, elsewhere. Told that the stream is complete they would take the task for watched to its end.
    """

    def shutdown(self) -> None:
        """Begin to stop; the server calls this for each connection."""
        # Between requests there is no cycle, which uvicorn's types do not say.
        cycle = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete and ENDLESS in cycle.scope:
            self.transport.close()
        else:
            super().shutdown()
