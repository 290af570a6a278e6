"""Applications of the tests' own behind the WebSockets of ``gql-api serve``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.types import ASGIApp
from support import served

from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.websocket_protocol import WebSocketProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""Written by hand, for a client waits for the answer, and does not look at what comes behind a close."""
PROTOCOLS: list[type[HttpProtocol] | str] = ["httptools", HttpProtocol]
"""Who begins: uvicorn, and then the websockets library reads the request, or ours, which has the plain handshake."""


def socket_of(
    app: ASGIApp, http: type[HttpProtocol] | str = HttpProtocol, **settings: Any
) -> AbstractAsyncContextManager[int]:
    """Serve an application as ``gql-api serve`` does, unless settings of uvicorn say otherwise; yields the port."""
    return served(app, http=http, **{"ws": WebSocketProtocol, "ws_per_message_deflate": False, **settings})
