"""Servers of test applications with the WebSockets of ``gql-api serve``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.types import ASGIApp
from support import served

from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.websocket_protocol import WebSocketProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The bytes of a request, for a client library waits for the answer and ignores what follows a close frame."""
PROTOCOLS: list[type[HttpProtocol] | str] = ["httptools", HttpProtocol]
"""The HTTP protocols to test with: under uvicorn's the websockets library answers the handshake, under ours we do."""


def socket_of(
    app: ASGIApp, http: type[HttpProtocol] | str = HttpProtocol, **settings: Any
) -> AbstractAsyncContextManager[int]:
    """Serve an application as ``gql-api serve`` does, with other settings of uvicorn if given; yield the port."""
    return served(app, http=http, **{"ws": WebSocketProtocol, "ws_per_message_deflate": False, **settings})
