"""What leaves on a WebSocket: what comes together in one write, and what the client does not read waits bounded."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from gql_api.outbox import Outbox

logger = logging.getLogger(__name__)

EXTENSION = "gql_api.wire"
"""The name in ``scope["extensions"]`` under which a server offers a :class:`Wire`, as ``wire``."""

_WRITE_BYTES = 256 * 1024
_TEXT_FRAME = 0x81
_SHORT, _MEDIUM = 126, 1 << 16
_MEDIUM_HEADER = struct.Struct("!BBH").pack


class Wire(Protocol):
    """A socket that takes several messages at once and says when it has had enough.

    ``is_writable`` is whether the client has read enough for more to be written; also of a socket that is gone.
    ``on_writable`` is called when it is so again.
    """

    on_writable: Callable[[], None] | None
    is_writable: bool

    def write(self, messages: list[bytes]) -> None:
        """Send text messages, whose order is kept. A socket that is being closed drops them."""


class AsgiWire:
    """A wire over any ASGI server: a message at a time, and another write when the server has taken all of them."""

    def __init__(self, websocket: WebSocket) -> None:
        self.on_writable: Callable[[], None] | None = None
        self.is_writable = True
        self._websocket = websocket
        self._sending: asyncio.Task[None] | None = None

    def write(self, messages: list[bytes]) -> None:
        """Begin to send; not writable until that is done."""
        self.is_writable = False
        self._sending = asyncio.create_task(self._send(messages))

    async def _send(self, messages: list[bytes]) -> None:
        try:
            for message in messages:
                await self._websocket.send_text(message.decode())
        except (RuntimeError, WebSocketDisconnect):
            logger.debug("A socket is closed, which its handler hears by itself")
        finally:
            self.is_writable = True
            if self.on_writable is not None:
                self.on_writable()


def wire_of(websocket: WebSocket) -> Wire:
    """The server's own wire where it has one."""
    offer = websocket.scope.get("extensions", {}).get(EXTENSION)
    wire: Wire = AsgiWire(websocket) if offer is None else offer["wire"]
    return wire


class Turn:
    """Gathers what is to be done at the end of a turn of the event loop."""

    def __init__(self) -> None:
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
            self._do()
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
    """Gathers what is to be sent on one socket.

    Messages and outboxes that are marked within a turn of the event loop leave in one write. Nothing is taken from an
    outbox while the client does not read.

    Args:
        wire: the socket.
        ended: told when the end of an operation has been sent.
        turn: shared by all sockets.
    """

    __slots__ = ("_drained", "_ended", "_is_scheduled", "_marked", "_turn", "_wire")

    def __init__(self, wire: Wire, ended: Callable[[Outbox], None], turn: Turn) -> None:
        self._wire = wire
        self._ended = ended
        self._turn = turn
        self._marked: dict[Outbox, None] = {}
        self._is_scheduled = False
        self._drained: asyncio.Future[None] | None = None
        wire.on_writable = self._flush

    def close(self) -> None:
        """Send no more."""
        self._wire.on_writable = None
        self._marked.clear()

    def mark(self, outbox: Outbox) -> None:
        """Let an outbox be emptied as soon as the socket takes it."""
        self._marked[outbox] = None
        if not self._is_scheduled:
            self._is_scheduled = True
            self._turn.later(self._flush)

    def unmark(self, outbox: Outbox) -> None:
        """Forget an outbox: its client wants no more of it."""
        self._marked.pop(outbox, None)

    async def send(self, message: bytes) -> None:
        """Send a message, before and after waiting for a client that does not read: whoever waits holds it, not we."""
        await self._writable()
        self._write([message])
        await self._writable()

    async def _writable(self) -> None:
        while not self._wire.is_writable:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._wire.is_writable:
            self._write([])

    def _write(self, messages: list[bytes]) -> None:
        size = 0
        while self._marked and size < _WRITE_BYTES:
            outbox = next(iter(self._marked))
            del self._marked[outbox]
            size += self._empty(outbox, messages)
        if messages:
            self._wire.write(messages)
        if self._marked and not self._is_scheduled:
            self._is_scheduled = True
            self._turn.later(self._flush)
        if self._drained is not None and self._wire.is_writable:
            self._drained.set_result(None)
            self._drained = None

    def _empty(self, outbox: Outbox, messages: list[bytes]) -> int:
        payloads, ending = outbox.take()
        size = 0
        for payload in payloads:
            messages.append(b'{"id":%b,"type":"next","payload":%b}' % (outbox.label, payload))
            size += len(payload)
        if ending is not None:
            if ending.errors is None:
                messages.append(b'{"id":%b,"type":"complete"}' % outbox.label)
            else:
                messages.append(b'{"id":%b,"type":"error","payload":%b}' % (outbox.label, ending.errors))
            self._ended(outbox)
        return size


def framed(messages: Iterable[bytes]) -> bytes:
    """Frame text messages as a server does: whole, unmasked, not compressed.

    https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    """
    parts: list[bytes] = []
    for message in messages:
        size = len(message)
        if size < _SHORT:
            parts.append(bytes((_TEXT_FRAME, size)))
        elif size < _MEDIUM:
            parts.append(_MEDIUM_HEADER(_TEXT_FRAME, 126, size))
        else:
            parts.append(struct.pack("!BBQ", _TEXT_FRAME, 127, size))
        parts.append(message)
    return b"".join(parts)
