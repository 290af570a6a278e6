"""The opening handshake of a WebSocket that has nothing special to it, which is nearly every one.

The websockets library reads a request anew that uvicorn has read already, which is a sixth of what a connection costs
until it is subscribed. What is not plain here, and what is not right, is left to the library: it knows what to refuse,
and in which words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from websockets.utils import accept_key

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

_ONCE = frozenset({b"connection", b"upgrade", b"origin", b"sec-websocket-key", b"sec-websocket-version"})
# 16 bytes in Base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")


def acceptance(method: str, http_version: str, headers: Headers) -> str | None:
    """Find what accepts a plain request for a WebSocket: the value of Sec-WebSocket-Accept; None for any other request.

    https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in found:
                return None
            found[name] = value
    key = found.get(b"sec-websocket-key", b"")
    is_plain = (
        (method, http_version) == ("GET", "1.1")
        and found.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in [token.strip() for token in found.get(b"connection", b"").lower().split(b",")]
        and found.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(key) is not None
    )
    return accept_key(key.decode()) if is_plain else None


def subprotocols(headers: Headers) -> list[str]:
    """List what subprotocols a client offers, in its order."""
    offers = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [token.strip() for offer in offers for token in offer.split(",")]


def response(accept: str, headers: Headers, subprotocol: str | None) -> bytes:
    """Write the answer that opens a WebSocket.

    Args:
        accept: what :func:`acceptance` found.
        headers: the application's own.
        subprotocol: the one that was chosen of those offered.
    """
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept.encode(),
        *(name + b": " + value for name, value in headers),
    ]
    if subprotocol:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode())
    return b"\r\n".join([*lines, b"", b""])
