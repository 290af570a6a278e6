"""The load generator of the benchmark of live updates: many WebSockets in one process, and a publisher of events.

Every event has its number as ten characters in a string that the subscription selects. Frames are not parsed: a server
does not mask them, so that the numbers can be found in the bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

_WATCH_TASK = """subscription ($id: ID!) {
  taskUpdated(id: $id) { id name status revision isFinal createdAt updatedAt progress { current total message } }
}"""
_PREFIX = b"#@"
_NUMBER = re.compile(_PREFIX + rb"(\d{8})")
_PREFIX_BYTES, _NUMBER_BYTES = 2, 10
_PING, _PONG, _TEXT = 0x89, 0x8A, 0x81
_UNMASKED = b"\0\0\0\0"  # a mask that changes nothing
_SHORT = 126
_CONCURRENCY = 128
_TICK_SECONDS = 0.002


def sequence_text(number: int) -> str:
    """Return the text of an event's number."""
    return f"{_PREFIX.decode()}{number:08d}"


def _frame(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    size = bytes([0x80 | length]) if length < _SHORT else bytes([0x80 | _SHORT]) + struct.pack(">H", length)
    return bytes([kind]) + size + _UNMASKED + payload


class Socket(asyncio.Protocol):
    """A subscriber of one task. ``last`` is the highest event number that it has received.

    Args:
        task_id: the task.
        on_event: called with the bytes of every event.
        operation: what it subscribes to; to the task by default.
    """

    def __init__(
        self, task_id: str, on_event: Callable[[Socket, bytes], None], operation: dict[str, Any] | None = None
    ) -> None:
        self.task_id = task_id
        self._operation = operation or {"query": _WATCH_TASK, "variables": {"id": task_id}}
        self.last = -1
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_event = on_event
        self._unread = b""
        self._is_accepted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the WebSocket handshake."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(
            b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the connection was lost before the first payload."""
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionError("a server closed a socket"))

    def data_received(self, data: bytes) -> None:
        """Read the event numbers; bytes after the last brace, which ends a frame, wait for the rest of theirs."""
        if data[0] == _PING:
            self.transport.write(_frame(_PONG, data[2 : 2 + data[1]]))
        if self._unread:
            data, self._unread = self._unread + data, b""
        if not self.begun.done():
            self._begin(data)
        end = data.rfind(b"}") + 1
        if end < len(data):
            data, self._unread = data[:end], data[end:]
        at = data.rfind(_PREFIX)
        if at >= 0:
            self.last = max(self.last, int(data[at + _PREFIX_BYTES : at + _NUMBER_BYTES]))
            self._on_event(self, data)

    def _begin(self, data: bytes) -> None:
        if not self._is_accepted and b"101 Switching" in data:
            self._is_accepted = True
            self.transport.write(_frame(_TEXT, b'{"type":"connection_init"}'))
        if b"connection_ack" in data:
            message = {"type": "subscribe", "id": "1", "payload": self._operation}
            self.transport.write(_frame(_TEXT, json.dumps(message).encode()))
        if _NUMBER.search(data):
            self.begun.set_result(None)
        elif b'"error' in data:
            self.begun.set_exception(ConnectionError(data.decode(errors="replace")))


@dataclass
class Publisher:
    """A connection to Redis that publishes and ignores the answers."""

    writer: asyncio.StreamWriter

    def publish(self, channel: str, event: bytes) -> None:
        """Publish one event."""
        name = channel.encode()
        self.writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(event), event))


EventOf = Callable[[str, int], bytes]
"""Returns the event of a task, by its id and the event's number."""


@dataclass
class Crowd:
    """All sockets, connected to one server."""

    publisher: Publisher
    channel_of: Callable[[str], str]
    event_of: EventOf
    sockets: list[Socket] = field(default_factory=list)
    number: int = 0
    _missing: int = 0
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _on_event: Callable[[Socket, bytes], None] | None = None

    async def connect(self, port: int, task_ids: Sequence[str]) -> float:
        """Connect a socket for each task id, and return the seconds until the last has its first payload."""
        loop, began, gate = asyncio.get_running_loop(), time.perf_counter(), asyncio.Semaphore(_CONCURRENCY)

        async def connect(task_id: str) -> Socket:
            async with gate:
                _, socket = await loop.create_connection(lambda: Socket(task_id, self._receive), "127.0.0.1", port)
                await socket.begun
                return socket

        self.sockets += await asyncio.gather(*map(connect, task_ids))
        return time.perf_counter() - began

    def close(self) -> None:
        """Close all sockets."""
        for socket in self.sockets:
            socket.transport.abort()

    async def together(self, events: int) -> float:
        """Publish events of one task at once, and return the seconds until every socket has received the last."""
        task_id = self.sockets[0].task_id
        prepared = [self.event_of(task_id, number) for number in self._numbers(events)]
        last, waiting = self.number, set(self.sockets)

        def receive(socket: Socket, _data: bytes) -> None:
            if socket.last >= last:
                waiting.discard(socket)
                if not waiting:
                    self._done.set()

        self._begin(receive)
        began = time.perf_counter()
        for event in prepared:
            self.publisher.publish(self.channel_of(task_id), event)
        await self._done.wait()
        return time.perf_counter() - began

    async def paced(self, rate: int, seconds: int) -> list[float]:
        """Publish events of all tasks in turn, at a rate per second, and return the seconds that each took."""
        prepared = self._prepared(rate * seconds)
        first = prepared[0][0]
        sent, took = [0.0] * len(prepared), list[float]()

        def receive(_socket: Socket, data: bytes) -> None:
            now = time.perf_counter()
            took.extend(now - sent[number - first] for number in map(int, _NUMBER.findall(data)) if number >= first)
            if len(took) == len(prepared):
                self._done.set()

        self._begin(receive)
        began, published = time.perf_counter(), 0
        while published < len(prepared):
            due = min(len(prepared), int((time.perf_counter() - began) * rate))
            for number, channel, event in prepared[published:due]:
                sent[number - first] = time.perf_counter()
                self.publisher.publish(channel, event)
            published = due
            await asyncio.sleep(_TICK_SECONDS)
        await self._done.wait()
        return took

    async def window(self, events: int, size: int) -> float:
        """Publish events of all tasks in turn, with a number of them under way, and return the events per second."""
        prepared = self._prepared(events)
        first, rest, arrived = prepared[0][0], iter(prepared[size:]), 0

        def receive(_socket: Socket, data: bytes) -> None:
            nonlocal arrived
            for number in map(int, _NUMBER.findall(data)):
                if number >= first:
                    arrived += 1
                    if (following := next(rest, None)) is not None:
                        self.publisher.publish(*following[1:])
            if arrived == events:
                self._done.set()

        self._begin(receive)
        began = time.perf_counter()
        for _, channel, event in prepared[:size]:
            self.publisher.publish(channel, event)
        await self._done.wait()
        return events / (time.perf_counter() - began)

    def _prepared(self, events: int) -> list[tuple[int, str, bytes]]:
        """Return events of all tasks in turn, each with its number and its channel."""
        ids = [self.sockets[place % len(self.sockets)].task_id for place in range(events)]
        numbered = zip(self._numbers(events), ids, strict=True)
        return [(number, self.channel_of(id_), self.event_of(id_, number)) for number, id_ in numbered]

    def _numbers(self, count: int) -> range:
        self.number += count
        return range(self.number - count + 1, self.number + 1)

    def _begin(self, on_event: Callable[[Socket, bytes], None]) -> None:
        self._done = asyncio.Event()
        self._on_event = on_event

    def _receive(self, socket: Socket, data: bytes) -> None:
        if self._on_event is not None:
            self._on_event(socket, data)
