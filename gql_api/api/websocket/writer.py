"""The writer of a WebSocket: the only place that orders and bounds what its operations send."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import time

from gql_api.aio.tick import TickQueue
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.api.subscriptions.send_buffer import SendBuffer
from gql_api.api.websocket.transport import Transport

_MAX_WRITE_BYTES = 256 * 1024
# The limits of what a socket keeps within a tick, beside its send buffers.
_MAX_MESSAGES = 64
_MAX_MESSAGE_BYTES = _MAX_WRITE_BYTES // _MAX_MESSAGES


class SocketWriter:
    """The writer of one socket, for all its operations.

    All payloads of one tick of the event loop leave in one write at its end. A payload that is alone in its tick is
    written at once: with a thousand sockets, a second pass over all of them costs as much as the first. While the
    client does not read, or when there is too much to write, payloads stay in their send buffers, whose policy decides
    which of them may be skipped.

    Args:
        transport: the socket.
        on_ended: called with the send buffer of an operation whose end has been sent.
        tick_queue: the queue that all sockets share.

    ``deadline`` is the time, by the clock of the system, from which on nothing is sent: the client's token has expired,
    although the event loop may not have had the time to close the socket. None for no deadline.
    """

    __slots__ = (
        "_drained",
        "_is_clear",
        "_messages",
        "_on_ended",
        "_sending",
        "_tick_queue",
        "_transport",
        "_waiting",
        "deadline",
    )

    def __init__(self, transport: Transport, on_ended: Callable[[SendBuffer], None], tick_queue: TickQueue) -> None:
        self.deadline: float | None = None
        self._transport = transport
        self._on_ended = on_ended
        self._tick_queue = tick_queue
        # True while nothing waits to be written and the client reads.
        self._is_clear = True
        self._messages: list[bytes] = []
        self._waiting: dict[SendBuffer, None] = {}
        self._drained: asyncio.Future[None] | None = None
        # The bytes of messages whose callers wait.
        self._sending = 0
        transport.on_paused = self._pause
        transport.on_writable = self._resume

    @property
    def unread_bytes(self) -> int:
        """The bytes that the socket keeps for its client; payloads that many sockets share count for each."""
        return self._transport.unread_bytes + self._sending + sum(buffer.size for buffer in self._waiting)

    def abort(self) -> None:
        """Close the socket without waiting for its client."""
        self._transport.abort()

    def stop(self) -> bool:
        """Drop all that waits, send nothing from now on, and return whether the client has read all that was sent."""
        self.deadline = -math.inf
        self._is_clear = False
        self._waiting.clear()
        self._messages.clear()
        self._wake_senders()
        return self._transport.unread_bytes == 0

    def close(self) -> None:
        """Drop all that waits, and send nothing from now on."""
        self._transport.on_paused = self._transport.on_writable = None
        self._waiting.clear()
        self._messages.clear()
        BACKLOG.discard(self)

    def offer(self, buffer: SendBuffer, payload: bytes) -> bool:
        """Send a payload of an empty send buffer; return False when the buffer has to keep it."""
        if self._is_clear and self._tick_queue.is_alone:
            if self.deadline is not None and time() >= self.deadline:
                return True
            try:
                self._transport.write([_next(buffer, payload)])
            except Exception:  # noqa: BLE001 - the flush at the end of the tick fails again and logs it
                return False
            return True
        if len(payload) > _MAX_MESSAGE_BYTES or len(self._messages) == _MAX_MESSAGES:
            return False
        if self._is_clear:
            self._is_clear = False
            self._tick_queue.schedule(self._flush)
        elif not self._transport.is_writable:
            return False
        self._messages.append(_next(buffer, payload))
        return True

    def schedule_flush(self, buffer: SendBuffer) -> None:
        """Schedule a send buffer to be flushed as soon as the socket is writable."""
        if self._is_clear:
            self._is_clear = False
            self._tick_queue.schedule(self._flush)
        self._waiting[buffer] = None

    def discard(self, buffer: SendBuffer) -> None:
        """Drop what a send buffer has left: its client ended the operation."""
        self._waiting.pop(buffer, None)

    async def send(self, message: bytes) -> None:
        """Send a message; wait before and after it for a client that does not read.

        The caller keeps the message while it waits, and produces no other one.
        """
        self._sending += len(message)
        try:
            await self.writable()
            self._messages.append(message)
            self._flush()
        finally:
            self._sending -= len(message)
        await self.writable()

    async def writable(self) -> None:
        """Wait until the client has read what was written."""
        while not self._transport.is_writable and self.deadline != -math.inf:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _pause(self) -> None:
        self._is_clear = False
        BACKLOG.add(self)

    def _resume(self) -> None:
        BACKLOG.discard(self)
        self._flush()

    def _flush(self) -> None:
        if self.deadline is not None and time() >= self.deadline:
            self.stop()
            return
        transport = self._transport
        if not transport.is_writable:
            return
        if self._waiting:
            self._take_from_buffers()
        if self._messages:
            messages, self._messages = self._messages, []
            transport.write(messages)
        if self._waiting:
            self._tick_queue.schedule(self._flush)
        else:
            self._is_clear = transport.is_writable
        if transport.is_writable:
            self._wake_senders()

    def _wake_senders(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _take_from_buffers(self) -> None:
        size = 0
        while self._waiting and size < _MAX_WRITE_BYTES:
            buffer = next(iter(self._waiting))
            del self._waiting[buffer]
            size += self._take(buffer)

    def _take(self, buffer: SendBuffer) -> int:
        payloads, ending = buffer.take()
        self._messages += [_next(buffer, payload) for payload in payloads]
        if ending is not None:
            if ending.errors is None:
                self._messages.append(b'{"id":%b,"type":"complete"}' % buffer.label)
            else:
                self._messages.append(b'{"id":%b,"type":"error","payload":%b}' % (buffer.label, ending.errors))
            self._on_ended(buffer)
        return sum(map(len, payloads))


def _next(buffer: SendBuffer, payload: bytes) -> bytes:
    return b'{"id":%b,"type":"next","payload":%b}' % (buffer.label, payload)
