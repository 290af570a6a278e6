"""What leaves on a WebSocket: what comes together in one write, and what the client does not read waits bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gql_api.aio.tick import TickQueue
from gql_api.api.subscriptions.send_buffer import SendBuffer
from gql_api.api.websocket.transport import Transport

_WRITE_BYTES = 256 * 1024
# What a socket holds beside its outboxes within a turn, where most events are alike: small.
_MAX_MESSAGES = 64
_MESSAGE_BYTES = _WRITE_BYTES // _MAX_MESSAGES


class SocketWriter:
    """What is to be sent on one socket, of all its operations.

    What is offered within a turn of the event loop leaves in one write at its end, or at once when nothing else came up
    in it: each of a thousand sockets is then looked at once, not twice. While the client does not read, or when there
    is very much, what is offered stays in its outbox, which knows what may be left out.

    Args:
        wire: the socket.
        ended: told when the end of an operation has been sent.
        turn: shared by all sockets.
    """

    __slots__ = ("_drained", "_ended", "_is_clear", "_messages", "_turn", "_waiting", "_wire")

    def __init__(self, wire: Transport, ended: Callable[[SendBuffer], None], turn: TickQueue) -> None:
        self._wire = wire
        self._ended = ended
        self._turn = turn
        # Nothing is to be sent before what comes next, and the client reads.
        self._is_clear = True
        self._messages: list[bytes] = []
        self._waiting: dict[SendBuffer, None] = {}
        self._drained: asyncio.Future[None] | None = None
        wire.on_paused = self._pause
        wire.on_writable = self._flush

    def close(self) -> None:
        """Send no more."""
        self._wire.on_paused = self._wire.on_writable = None
        self._waiting.clear()
        self._messages.clear()

    def offer(self, outbox: SendBuffer, payload: bytes) -> bool:
        """Send a payload of an outbox that holds nothing; False when it has to be kept."""
        if self._is_clear and self._turn.is_alone:
            try:
                self._wire.write([_next(outbox, payload)])
            except Exception:  # noqa: BLE001 - the end of the turn meets it again and logs it; others are told meanwhile
                return False
            return True
        if len(payload) > _MESSAGE_BYTES or len(self._messages) == _MAX_MESSAGES:
            return False
        if self._is_clear:
            self._is_clear = False
            self._turn.schedule(self._flush)
        elif not self._wire.is_writable:
            return False
        self._messages.append(_next(outbox, payload))
        return True

    def schedule_flush(self, outbox: SendBuffer) -> None:
        """Empty an outbox as soon as the socket takes it."""
        if self._is_clear:
            self._is_clear = False
            self._turn.schedule(self._flush)
        self._waiting[outbox] = None

    def unmark(self, outbox: SendBuffer) -> None:
        """Forget an outbox: its client wants no more of it."""
        self._waiting.pop(outbox, None)

    async def send(self, message: bytes) -> None:
        """Send a message, before and after waiting for a client that does not read: whoever waits holds it, not we."""
        await self._writable()
        self._messages.append(message)
        self._flush()
        await self._writable()

    async def _writable(self) -> None:
        while not self._wire.is_writable:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _pause(self) -> None:
        self._is_clear = False

    def _flush(self) -> None:
        wire = self._wire
        if not wire.is_writable:
            return
        if self._waiting:
            self._empty_outboxes()
        if self._messages:
            messages, self._messages = self._messages, []
            wire.write(messages)
        if self._waiting:
            self._turn.schedule(self._flush)
        else:
            self._is_clear = wire.is_writable
        if self._drained is not None and wire.is_writable:
            self._drained.set_result(None)
            self._drained = None

    def _empty_outboxes(self) -> None:
        size = 0
        while self._waiting and size < _WRITE_BYTES:
            outbox = next(iter(self._waiting))
            del self._waiting[outbox]
            size += self._empty(outbox)

    def _empty(self, outbox: SendBuffer) -> int:
        payloads, ending = outbox.take()
        self._messages += [_next(outbox, payload) for payload in payloads]
        if ending is not None:
            if ending.errors is None:
                self._messages.append(b'{"id":%b,"type":"complete"}' % outbox.label)
            else:
                self._messages.append(b'{"id":%b,"type":"error","payload":%b}' % (outbox.label, ending.errors))
            self._ended(outbox)
        return sum(map(len, payloads))


def _next(outbox: SendBuffer, payload: bytes) -> bytes:
    return b'{"id":%b,"type":"next","payload":%b}' % (outbox.label, payload)
