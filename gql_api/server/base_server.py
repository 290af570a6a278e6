"""The uvicorn server of connections as :mod:`gql_api.server.http_protocol` runs them: the API's, and the metrics'."""

from __future__ import annotations

import socket
from typing import cast

import uvicorn

from gql_api.server.http_protocol import HttpProtocol


class BaseServer(uvicorn.Server):
    """A server that closes late connections: those that it accepted, and that begin after it has begun to stop.

    The protocol of its configuration is one of :func:`gql_api.server.http_protocol.with_limits`, and no other server's.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, and wait for open requests."""
        cast("type[HttpProtocol]", self.config.http_protocol_class).is_shutting_down = True
        await super().shutdown(sockets)
