"""The opening handshake of a WebSocket that has nothing special to it, which is nearly every one.

The websockets library reads a request anew that uvicorn has read already, which is a sixth of what a connection costs
until it is subscribed. What is not plain here, and what is not right, is left to the library: it knows what to refuse,
and in which words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from websockets.utils import accept_key

Headers = Sequence[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

_ONCE = frozenset({b"connection", b"upgrade", b"origin", b"sec-websocket-key", b"sec-websocket-version"})
_LISTS = frozenset({b"connection", b"sec-websocket-protocol"})
# What follows the request would be taken for frames.
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})
# 16 bytes in Base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LIST = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (_NAME, _NAME))
_HEADER = re.compile(rb"%b: [\t\x20-\x7e\x80-\xff]*" % _NAME)
# A scope lives as long as its socket. The library's own limits are above these.
_MAX_HEADERS = 100
_MAX_LENGTH = 4096


def acceptance(method: str, http_version: str, url: bytes, headers: Headers) -> str | None:
    """Find what accepts a plain request for a WebSocket: the value of Sec-WebSocket-Accept; None for any other request.

    https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    """
    if (method, http_version) != ("GET", "1.1") or not url.isascii() or len(url) > _MAX_LENGTH:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if not _is_plain(name, value) or (name in _ONCE and name in found):
            return None
        found[name] = value
    key = found.get(b"sec-websocket-key", b"")
    is_handshake = (
        len(headers) <= _MAX_HEADERS
        and found.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in _tokens(found.get(b"connection", b"").lower())
        and found.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(key) is not None
    )
    return accept_key(key.decode()) if is_handshake else None


def _is_plain(name: bytes, value: bytes) -> bool:
    """Whether a header is none that the library would refuse, or hand on otherwise than uvicorn has read it."""
    if name in _OF_A_BODY or len(value) > _MAX_LENGTH or value.endswith((b" ", b"\t")):
        return False
    return name not in _LISTS or _LIST.fullmatch(value) is not None


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]


def subprotocols(headers: Headers) -> list[str]:
    """List what subprotocols the client of a plain request offers, in its order."""
    offers = [value for name, value in headers if name == b"sec-websocket-protocol"]
    return [token.decode() for offer in offers for token in _tokens(offer)]


def response(accept: str, headers: Headers, subprotocol: str | None) -> bytes:
    """Write the answer that opens a WebSocket.

    Args:
        accept: what :func:`acceptance` found.
        headers: the application's own.
        subprotocol: the one that was chosen of those offered.

    Raises:
        ValueError: a header is none, such as one with a line break.
    """
    chosen = [] if not subprotocol else [(b"Sec-WebSocket-Protocol", subprotocol.encode())]
    lines = [name + b": " + value for name, value in [*headers, *chosen]]
    for line in lines:
        if _HEADER.fullmatch(line) is None:
            raise ValueError(f"{line!r} is not a header")
    start = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept.encode(),
    ]
    return b"\r\n".join([*start, *lines, b"", b""])
