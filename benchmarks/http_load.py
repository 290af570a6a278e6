"""The load generator of the benchmark over HTTP: keep-alive connections that send a request when the last is answered.

Every answer is checked, by a look at its bytes: parsing them would take more of the core than sending the requests.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Self, cast

CONNECTIONS = 32
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200"
_SHOWN = 500

Check = Callable[[bytes, bytes], bool]
"""Returns whether the body of an answer, which comes second, is right for a request."""


def post(body: bytes) -> bytes:
    """Return the bytes of a POST request to /graphql."""
    return (
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


class Load:
    """A closed loop over all connections, from ``start`` to ``stop``.

    ``times`` are the seconds of every request that was answered since the list was set, in the order of the answers.
    """

    def __init__(self, port: int, requests: Iterator[bytes], check: Check) -> None:
        self._port = port
        self._requests = requests
        self._check = check
        self._connections: list[_Connection] = []
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._idle = asyncio.Event()
        self._waiting = 0
        self._is_stopping = False
        self.times: list[float] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._waiting = CONNECTIONS
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            self._connections.append(connection)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for connection in self._connections:
            connection.close()

    async def run(self, seconds: float) -> None:
        """Go on for some seconds.

        Raises:
            SystemExit: an answer was wrong, or the server closed a connection.
        """
        await asyncio.wait([self._failure], timeout=seconds)
        if self._failure.done():
            raise SystemExit(self._failure.result())

    async def stop(self) -> None:
        """Send no more requests, and wait for the answers of those that are under way."""
        self._is_stopping = True
        await asyncio.wait_for(self._idle.wait(), timeout=10)
        await self.run(0)

    def next_request(self) -> bytes | None:
        """Return the next request of a connection, or None when there is none."""
        if not self._is_stopping:
            return next(self._requests)
        self._waiting -= 1
        if self._waiting == 0:
            self._idle.set()
        return None

    def received(self, request: bytes, body: bytes, seconds: float, *, is_ok: bool) -> None:
        """Count an answer, and report one that is wrong or has another status than 200."""
        self.times.append(seconds)
        if not is_ok or not self._check(request, body):
            self.fail(f"a wrong answer: {body[:_SHOWN].decode(errors='replace')}")

    def fail(self, problem: str) -> None:
        """Report a problem, which ends the benchmark."""
        if not self._failure.done():
            self._failure.set_result(problem)


class _Connection(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._head = 0
        self._end = 0
        self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Report a connection that the server closed."""
        if not self._is_closing:
            self._load.fail("the server closed a connection")

    def data_received(self, data: bytes) -> None:
        """Count the answer when it is complete, and send the next request."""
        self._received += data
        if self._end == 0 and not self._find_end():
            return
        if len(self._received) < self._end:
            return
        seconds = time.perf_counter() - self._sent_at
        is_ok, body = self._received.startswith(_OK), self._received[self._head : self._end]
        self._load.received(self._request, body, seconds, is_ok=is_ok)
        self._received, self._end = b"", 0
        self._send()

    def close(self) -> None:
        """Close the connection."""
        self._is_closing = True
        self._transport.abort()

    def _find_end(self) -> bool:
        head = self._received.find(_END_OF_HEAD)
        if head < 0:
            return False
        length = _LENGTH.search(self._received, 0, head)
        if length is None:
            self._load.fail(f"an answer without a length: {self._received[:_SHOWN].decode(errors='replace')}")
            return False
        self._head = head + len(_END_OF_HEAD)
        self._end = self._head + int(length[1])
        return True

    def _send(self) -> None:
        if (request := self._load.next_request()) is not None:
            self._request, self._sent_at = request, time.perf_counter()
            self._transport.write(request)
