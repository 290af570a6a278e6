"""The plain opening handshake of a WebSocket, which nearly all clients send.

The websockets library parses a request that uvicorn has parsed already, which is a sixth of the cost of a connection
until it is subscribed. Every other handshake, and every invalid one, is left to the library, which rejects it with a
reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from websockets.utils import accept_key

Headers = Sequence[tuple[bytes, bytes]]
"""Headers as in ASGI: names in lower case."""

_SINGLE = frozenset({b"connection", b"upgrade", b"origin", b"sec-websocket-key", b"sec-websocket-version"})
_TOKEN_LISTS = frozenset({b"connection", b"sec-websocket-protocol"})
# The bytes of a body would be parsed as frames.
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
# 16 bytes in Base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TOKEN_LIST = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (_TOKEN, _TOKEN))
_HEADER = re.compile(rb"%b: [\t\x20-\x7e\x80-\xff]*" % _TOKEN)
# The headers are kept as long as the socket. The library's own limits are higher.
_MAX_HEADERS = 100
_MAX_LENGTH = 4096


def acceptance(method: str, http_version: str, url: bytes, headers: Headers) -> str | None:
    """Return the value of Sec-WebSocket-Accept for a plain handshake; None for any other request.

    https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    """
    if (method, http_version) != ("GET", "1.1") or not url.isascii() or len(url) > _MAX_LENGTH:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if not _is_plain(name, value) or (name in _SINGLE and name in found):
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
    """Return whether the library would accept the header, and pass it on as uvicorn has parsed it."""
    if name in _BODY_HEADERS or len(value) > _MAX_LENGTH or value.endswith((b" ", b"\t")):
        return False
    return name not in _TOKEN_LISTS or _TOKEN_LIST.fullmatch(value) is not None


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]


def subprotocols(headers: Headers) -> list[str]:
    """Return the subprotocols that the client of a plain handshake offers, in its order."""
    offers = [value for name, value in headers if name == b"sec-websocket-protocol"]
    return [token.decode() for offer in offers for token in _tokens(offer)]


def response(accept: str, headers: Headers, subprotocol: str | None) -> bytes:
    """Return the answer that opens a WebSocket.

    Args:
        accept: the result of :func:`acceptance`.
        headers: the application's headers.
        subprotocol: the offered subprotocol that the application chose.

    Raises:
        ValueError: a header is not valid, for example because of a line break.
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
