"""Many WebSockets that watch tasks, in one process: what a benchmark of live updates listens with, and publishes by.

Every event carries a mark of ten characters in a string that the subscription selects. Frames are not parsed: what a
server sends is not masked, so that the marks are found where they stand.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

SUBSCRIBE = """subscription ($id: ID!) {
  taskUpdated(id: $id) { id name status revision isFinal createdAt updatedAt progress { current total message } }
}"""
_SIGN = b"#@"
_MARK = re.compile(_SIGN + rb"(\d{8})")
_SIGN_BYTES, _MARK_BYTES = 2, 10
_PING, _PONG, _TEXT = 0x89, 0x8A, 0x81
_UNMASKED = b"\0\0\0\0"  # a mask that changes nothing
_SHORT = 126
_CONCURRENCY = 128
_TICK_SECONDS = 0.002


def mark(number: int) -> str:
    """What tells one event from another."""
    return f"{_SIGN.decode()}{number:08d}"


def _frame(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    size = bytes([0x80 | length]) if length < _SHORT else bytes([0x80 | _SHORT]) + struct.pack(">H", length)
    return bytes([kind]) + size + _UNMASKED + payload


class Socket(asyncio.Protocol):
    """One watcher of one task. ``last`` is the newest mark that it has heard."""

    def __init__(self, task_id: str, heard: Callable[[Socket, bytes], None]) -> None:
        self.task_id = task_id
        self.last = -1
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._unread = b""
        self._is_accepted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(
            b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail when it was lost before it began."""
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionError("a server closed a socket"))

    def data_received(self, data: bytes) -> None:
        """Note the marks. Every frame that has one ends with a brace; what comes after the last waits for its rest."""
        if data[0] == _PING:
            self.transport.write(_frame(_PONG, data[2 : 2 + data[1]]))
        if self._unread:
            data, self._unread = self._unread + data, b""
        if not self.begun.done():
            self._begin(data)
        end = data.rfind(b"}") + 1
        if end < len(data):
            data, self._unread = data[:end], data[end:]
        at = data.rfind(_SIGN)
        if at >= 0:
            self.last = max(self.last, int(data[at + _SIGN_BYTES : at + _MARK_BYTES]))
            self._heard(self, data)

    def _begin(self, data: bytes) -> None:
        if not self._is_accepted and b"101 Switching" in data:
            self._is_accepted = True
            self.transport.write(_frame(_TEXT, b'{"type":"connection_init"}'))
        if b"connection_ack" in data:
            payload = {"query": SUBSCRIBE, "variables": {"id": self.task_id}}
            message = {"type": "subscribe", "id": "1", "payload": payload}
            self.transport.write(_frame(_TEXT, json.dumps(message).encode()))
        if _MARK.search(data):
            self.begun.set_result(None)
        elif b'"error' in data:
            self.begun.set_exception(ConnectionError(data.decode(errors="replace")))


@dataclass
class Publisher:
    """A connection to Redis, which publishes and looks at no answer."""

    writer: asyncio.StreamWriter

    def publish(self, channel: str, event: bytes) -> None:
        """Publish one event."""
        name = channel.encode()
        self.writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(event), event))


EventOf = Callable[[str, int], bytes]
"""Makes the event of a task, by its id and the number of its mark."""


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
    _heard: Callable[[Socket, bytes], None] | None = None

    async def connect(self, port: int, task_ids: Sequence[str]) -> float:
        """Connect a socket for each, and return how many seconds it took until the last had its first payload."""
        loop, began, gate = asyncio.get_running_loop(), time.perf_counter(), asyncio.Semaphore(_CONCURRENCY)

        async def connect(task_id: str) -> Socket:
            async with gate:
                _, socket = await loop.create_connection(lambda: Socket(task_id, self._hear), "127.0.0.1", port)
                await socket.begun
                return socket

        self.sockets += await asyncio.gather(*map(connect, task_ids))
        return time.perf_counter() - began

    def close(self) -> None:
        """Close them all."""
        for socket in self.sockets:
            socket.transport.abort()

    async def together(self, events: int) -> float:
        """Publish events of the one task at once, and return the seconds until every socket has heard the last."""
        task_id = self.sockets[0].task_id
        prepared = [self.event_of(task_id, number) for number in self._numbers(events)]
        last, waiting = self.number, set(self.sockets)

        def hear(socket: Socket, _data: bytes) -> None:
            if socket.last >= last:
                waiting.discard(socket)
                if not waiting:
                    self._done.set()

        self._begin(hear)
        began = time.perf_counter()
        for event in prepared:
            self.publisher.publish(self.channel_of(task_id), event)
        await self._done.wait()
        return time.perf_counter() - began

    async def paced(self, rate: int, seconds: int) -> list[float]:
        """Publish events of all tasks in turn, so many a second; return how long each took to arrive, in seconds."""
        prepared = self._prepared(rate * seconds)
        first = prepared[0][0]
        sent, took = [0.0] * len(prepared), list[float]()

        def hear(_socket: Socket, data: bytes) -> None:
            now = time.perf_counter()
            took.extend(now - sent[number - first] for number in map(int, _MARK.findall(data)) if number >= first)
            if len(took) == len(prepared):
                self._done.set()

        self._begin(hear)
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

    async def window(self, events: int, most: int) -> float:
        """Publish events of all tasks in turn, so many under way at any time; return how many a second arrived."""
        prepared = self._prepared(events)
        first, rest, arrived = prepared[0][0], iter(prepared[most:]), 0

        def hear(_socket: Socket, data: bytes) -> None:
            nonlocal arrived
            for number in map(int, _MARK.findall(data)):
                if number >= first:
                    arrived += 1
                    if (following := next(rest, None)) is not None:
                        self.publisher.publish(*following[1:])
            if arrived == events:
                self._done.set()

        self._begin(hear)
        began = time.perf_counter()
        for _, channel, event in prepared[:most]:
            self.publisher.publish(channel, event)
        await self._done.wait()
        return events / (time.perf_counter() - began)

    def _prepared(self, events: int) -> list[tuple[int, str, bytes]]:
        """Events in turn of all tasks: each with its number and its channel."""
        ids = [self.sockets[place % len(self.sockets)].task_id for place in range(events)]
        numbered = zip(self._numbers(events), ids, strict=True)
        return [(number, self.channel_of(id_), self.event_of(id_, number)) for number, id_ in numbered]

    def _numbers(self, count: int) -> range:
        self.number += count
        return range(self.number - count + 1, self.number + 1)

    def _begin(self, heard: Callable[[Socket, bytes], None]) -> None:
        self._done = asyncio.Event()
        self._heard = heard

    def _hear(self, socket: Socket, data: bytes) -> None:
        if self._heard is not None:
            self._heard(socket, data)
