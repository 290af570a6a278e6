"""What leaves on a WebSocket: what comes together in one write, and what the client does not read waits bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gql_api.outbox import Outbox
from gql_api.wire import Wire

logger = logging.getLogger(__name__)

_WRITE_BYTES = 256 * 1024
# What a socket holds beside its outboxes within a turn, where most events are alike: small.
_MOST_MESSAGES = 64
_MESSAGE_BYTES = _WRITE_BYTES // _MOST_MESSAGES


class Turn:
    """Gathers what is to be done at the end of a turn of the event loop.

    ``is_alone`` is True while the only thing that came up in a turn is done: there is nothing to gather it with.
    """

    def __init__(self) -> None:
        self.is_alone = False
        self._waiting: list[Callable[[], None]] = []
        self._due: asyncio.Handle | None = None

    def later(self, do: Callable[[], None]) -> None:
        """Do something when the callbacks that are due now have run.

        What comes up by it is done right behind it, and what comes up by that in the next turn: events that are handed
        over are sent without delay, and who has very much to send leaves time for others.
        """
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append(do)

    def _end(self) -> None:
        try:
            self.is_alone = len(self._waiting) == 1
            self._do()
            self.is_alone = False
            self._do()
        finally:
            self._due = asyncio.get_running_loop().call_soon(self._end) if self._waiting else None

    def _do(self) -> None:
        waiting, self._waiting = self._waiting, []
        for do in waiting:
            try:
                do()
            except Exception:
                logger.exception("What came up in a turn could not be done to its end")


class Outgoing:
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

    def __init__(self, wire: Wire, ended: Callable[[Outbox], None], turn: Turn) -> None:
        self._wire = wire
        self._ended = ended
        self._turn = turn
        # Nothing is to be sent before what comes next, and the client reads.
        self._is_clear = True
        self._messages: list[bytes] = []
        self._waiting: dict[Outbox, None] = {}
        self._drained: asyncio.Future[None] | None = None
        wire.on_paused = self._pause
        wire.on_writable = self._flush

    def close(self) -> None:
        """Send no more."""
        self._wire.on_paused = self._wire.on_writable = None
        self._waiting.clear()
        self._messages.clear()

    def offer(self, outbox: Outbox, payload: bytes) -> bool:
        """Send a payload of an outbox that holds nothing; False when it has to be kept."""
        if self._is_clear and self._turn.is_alone:
            try:
                self._wire.write([_next(outbox, payload)])
            except Exception:  # noqa: BLE001 - the end of the turn meets it again and logs it; others are told meanwhile
                return False
            return True
        if len(payload) > _MESSAGE_BYTES or len(self._messages) == _MOST_MESSAGES:
            return False
        if self._is_clear:
            self._is_clear = False
            self._turn.later(self._flush)
        elif not self._wire.is_writable:
            return False
        self._messages.append(_next(outbox, payload))
        return True

    def mark(self, outbox: Outbox) -> None:
        """Empty an outbox as soon as the socket takes it."""
        if self._is_clear:
            self._is_clear = False
            self._turn.later(self._flush)
        self._waiting[outbox] = None

    def unmark(self, outbox: Outbox) -> None:
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
            self._turn.later(self._flush)
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

    def _empty(self, outbox: Outbox) -> int:
        payloads, ending = outbox.take()
        self._messages += [_next(outbox, payload) for payload in payloads]
        if ending is not None:
            if ending.errors is None:
                self._messages.append(b'{"id":%b,"type":"complete"}' % outbox.label)
            else:
                self._messages.append(b'{"id":%b,"type":"error","payload":%b}' % (outbox.label, ending.errors))
            self._ended(outbox)
        return sum(map(len, payloads))


def _next(outbox: Outbox, payload: bytes) -> bytes:
    return b'{"id":%b,"type":"next","payload":%b}' % (outbox.label, payload)
