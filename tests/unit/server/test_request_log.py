from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from gql_api.api.http.view import OPERATION
from gql_api.server.request_log import LogRequests, UtcFormatter

_LINE = re.compile(r"(\S+) (\S+) (\S+) (-|\d+) [\d.]+ ms(?: (\S+))?", re.ASCII)


def _logged(caplog: pytest.LogCaptureFixture, **scope: Any) -> list[str | Any]:
    """Return the fields of the line of a request."""

    async def app(*_: object) -> None:
        return

    async def nothing(*_: object) -> Any:
        return None

    request = {"type": "http", "path": "/graphql", "raw_path": b"/graphql", "method": "POST", "client": ("::1", 1)}
    with caplog.at_level(logging.INFO, "gql_api.server.request_log"):
        asyncio.run(LogRequests(app)(request | scope, nothing, nothing))
    (line,) = caplog.messages
    match = _LINE.fullmatch(line)
    assert match is not None, line
    assert line.isascii()
    return list(match.groups())


@pytest.mark.parametrize("address", ["10.0.0.7", "2001:db8::7", "fe80::1%eth0", "app.internal", "-"])
def test_an_address_is_logged_as_it_is(caplog: pytest.LogCaptureFixture, address: str) -> None:
    """The first field is the client's address, of either family."""
    assert _logged(caplog, client=(address, 0))[:3] == [address, "POST", "/graphql"]


@pytest.mark.parametrize("end", [" ", "\n", "\x85", "\xa0", "\u2028", "\x1b[2K", "\t"])
def test_no_field_can_look_like_another(caplog: pytest.LogCaptureFixture, end: str) -> None:
    """Spaces, ends of lines in any alphabet and control characters are escaped, whoever sent them."""
    forged = f"10.0.0.7{end}GET{end}/x"
    client, method, path, _, operation = _logged(
        caplog,
        client=(forged, 0),
        method=forged,
        raw_path=forged.encode(),
        **{OPERATION: forged},
    )
    for field in (client, method, path, operation):
        assert field.startswith("10.0.0.7\\")


def test_requests_that_end_together_have_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """The lines are in the order in which the requests have ended, those that failed too."""

    async def app(scope: Any, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": scope["status"]})
        if scope["status"] == 500:
            raise ValueError

    async def nothing(*_: object) -> Any:
        return None

    async def run() -> None:
        logged = LogRequests(app)
        for statuses in ([200, 500, 404], [201]):
            requests = [{"type": "http", "method": "GET", "raw_path": b"/", "status": status} for status in statuses]
            await asyncio.gather(*(logged(each, nothing, nothing) for each in requests), return_exceptions=True)

    with caplog.at_level(logging.INFO, "gql_api.server.request_log"):
        asyncio.run(run())
    assert [line.split()[3] for message in caplog.messages for line in message.split("\n")] == [
        "200",
        "500",
        "404",
        "201",
    ]
    formatted = [line for record in caplog.records for line in UtcFormatter().format(record).split("\n")]
    assert all(
        re.fullmatch(r"\S+Z INFO gql_api\.server\.request_log: - GET / \d+ [\d.]+ ms", line) for line in formatted
    )
    assert len(formatted) == 4


def test_a_client_that_was_gone_got_no_status(caplog: pytest.LogCaptureFixture) -> None:
    """The line of a WebSocket whose acceptance could not be sent has a dash, for nothing was accepted."""

    async def app(_scope: object, _receive: object, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def receive() -> Any:
        return None

    async def send(_: object) -> None:
        raise OSError

    async def run() -> None:
        with pytest.raises(OSError, match=r"^$"):
            await LogRequests(app)({"type": "websocket", "raw_path": b"/graphql"}, receive, send)

    with caplog.at_level(logging.INFO, "gql_api.server.request_log"):
        asyncio.run(run())
    assert [line.split()[:4] for line in caplog.messages] == [["-", "WEBSOCKET", "/graphql", "-"]]
