"""The plain handshake of a WebSocket, compared with that of the websockets library."""

from __future__ import annotations

import logging

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from gql_api.server import handshake

_PLAIN = {
    "Host": "test",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def _library_accepts(headers: list[tuple[str, str]]) -> str | None:
    """Return the key with which the library accepts a request; None when the library rejects it."""
    logger = logging.getLogger("refused")
    response = ServerProtocol(logger=logger).accept(Request("/", Headers(headers)))
    return response.headers["Sec-WebSocket-Accept"] if response.status_code == 101 else None


def _acceptance(
    headers: list[tuple[str, str]], method: str = "GET", version: str = "1.1", url: bytes = b"/"
) -> str | None:
    as_asgi = [(name.lower().encode(), value.encode()) for name, value in headers]
    return handshake.acceptance(method, version, url, as_asgi)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"Connection": "keep-alive, Upgrade"},  # Firefox
        {"Connection": "upgrade"},
        {"Upgrade": "WebSocket"},
        {"Origin": "http://test"},
        {"Sec-WebSocket-Protocol": "graphql-transport-ws"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec-WebSocket-Key": "+/" * 10 + "+w=="},
    ],
)
def test_what_clients_send_is_plain(changed: dict[str, str]) -> None:
    """A plain handshake is accepted with the same key as by the library."""
    headers = list({**_PLAIN, **changed}.items())
    assert _acceptance(headers) == _library_accepts(headers) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
        {"Upgrade": "websocket, h2c"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": "13, 8"},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZSE=="},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j"},
    ],
)
def test_what_is_wrong_is_left_to_the_library(changed: dict[str, str]) -> None:
    """The library rejects an invalid handshake, and reports why."""
    headers = list({**_PLAIN, **changed}.items())
    assert (_acceptance(headers), _library_accepts(headers)) == (None, None)


@pytest.mark.parametrize("name", ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_what_is_missing_is_left_to_the_library(name: str) -> None:
    """A missing header has no default."""
    headers = [item for item in _PLAIN.items() if item[0] != name]
    assert (_acceptance(headers), _library_accepts(headers)) == (None, None)


@pytest.mark.parametrize("name", ["Connection", "Upgrade", "Origin", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_what_is_said_twice_is_left_to_the_library(name: str) -> None:
    """Only the library decides which of two values counts."""
    assert _acceptance([*_PLAIN.items(), (name, _PLAIN.get(name, "a")), ("Origin", "b")]) is None


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("X-One", "a "),
        ("X-One", "a\t"),
        ("X-One", "a" * 4097),
        ("Sec-WebSocket-Protocol", ""),
        ("Sec-WebSocket-Protocol", "a b"),
        ("Sec-WebSocket-Protocol", "a,"),
        ("Sec-WebSocket-Protocol", '"a"'),
        ("Sec-WebSocket-Protocol", "ä"),
    ],
)
def test_what_is_odd_is_left_to_the_library(header: tuple[str, str]) -> None:
    """A body, a list that may be malformed, and a very long value are not plain."""
    assert _acceptance([*_PLAIN.items(), header]) is None


def test_what_is_wrong_with_the_connection_is_left_to_the_library() -> None:
    """Connection must be a list of tokens."""
    assert _acceptance(list({**_PLAIN, "Connection": "Upgrade, @@ x"}.items())) is None


def test_only_so_many_headers_are_plain() -> None:
    """The number of headers is limited, for they are kept as long as the socket."""
    many = [(f"X-{number}", "a") for number in range(100 - len(_PLAIN))]
    assert _acceptance([*_PLAIN.items(), *many]) is not None
    assert _acceptance([*_PLAIN.items(), *many, ("X-Last", "a")]) is None


@pytest.mark.parametrize(
    ("method", "version", "url"),
    [
        ("POST", "1.1", b"/"),
        ("GET", "1.0", b"/"),
        ("GET", "2", b"/"),
        ("GET", "1.1", b"/\xe4"),
        ("GET", "1.1", b"/" * 4097),
    ],
)
def test_only_requests_of_http_1_1_are_plain(method: str, version: str, url: bytes) -> None:
    """A plain handshake is a GET of HTTP/1.1 with an ASCII target."""
    assert _acceptance(list(_PLAIN.items()), method, version, url) is None


@pytest.mark.parametrize("subprotocol", [None, "graphql-transport-ws"])
def test_the_answer_is_read_by_a_client(subprotocol: str | None) -> None:
    """The answer has the headers of the handshake, and those of the application unchanged."""
    reader = StreamReader()
    reader.feed_data(handshake.response("accepted", [(b"x-one", b"1"), (b"x-one", b"2")], subprotocol))
    parsing = Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    answer: Response = parsed.value.value
    assert answer.status_code == 101
    assert {name.lower(): answer.headers.get_all(name) for name in answer.headers} == {
        "upgrade": ["websocket"],
        "connection": ["Upgrade"],
        "sec-websocket-accept": ["accepted"],
        "x-one": ["1", "2"],
        **({} if subprotocol is None else {"sec-websocket-protocol": [subprotocol]}),
    }
    assert not reader.buffer


@pytest.mark.parametrize("value", [b"a\r\nX-Evil: 1", b"a\n", b"\0", b"\x7f"])
def test_an_answer_has_no_header_that_is_none(value: bytes) -> None:
    """The application cannot inject headers or end them early."""
    with pytest.raises(ValueError, match="not a header"):
        handshake.response("accepted", [(b"x-one", value)], None)
    with pytest.raises(ValueError, match="not a header"):
        handshake.response("accepted", [(value, b"1")], None)
    with pytest.raises(ValueError, match="not a header"):
        handshake.response("accepted", [], value.decode())


def test_subprotocols_keep_the_order_of_the_client() -> None:
    """Subprotocols may be in one header or in several."""
    headers = [(b"sec-websocket-protocol", b"a, b"), (b"host", b"c"), (b"sec-websocket-protocol", b"d")]
    assert handshake.subprotocols(headers) == ["a", "b", "d"]
