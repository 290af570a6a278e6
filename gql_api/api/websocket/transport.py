"""The sockets of a server, which take several messages at once and say when they have had enough."""

from __future__ import annotations

import asyncio
import functools
import logging
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

logger = logging.getLogger(__name__)

EXTENSION = "gql_api.api.websocket.transport"
"""The name in ``scope["extensions"]`` under which a server offers a :class:`Transport`, as ``wire``."""

_TEXT_FRAME = 0x81
_SHORT, _MEDIUM = 126, 1 << 16


class Transport(ABC):
    """A socket that takes several messages at once and says when it has had enough.

    ``is_writable`` is whether the client has read enough for more to be written; also of a socket that is gone.
    ``on_paused`` is called when it is so no more, ``on_writable`` when it is so again.
    """

    # Small: an event is written to thousands of sockets, and each piece of memory that is looked at takes its time.
    __slots__ = ("is_writable", "on_paused", "on_writable")

    def __init__(self) -> None:
        self.on_paused: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.is_writable = True

    @abstractmethod
    def write(self, messages: list[bytes]) -> None:
        """Send text messages, whose order is kept. A socket that is being closed drops them."""

    def pause(self) -> None:
        """Hear that the client has not read enough."""
        self.is_writable = False
        if self.on_paused is not None:
            self.on_paused()

    def resume(self) -> None:
        """Hear that the client has read, or is gone."""
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()


class AsgiTransport(Transport):
    """A wire over any ASGI server: a message at a time, and another write when the server has taken all of them."""

    __slots__ = ("_sending", "_websocket")

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__()
        self._websocket = websocket
        self._sending: asyncio.Task[None] | None = None

    def write(self, messages: list[bytes]) -> None:
        """Begin to send; not writable until that is done."""
        self.pause()
        self._sending = asyncio.create_task(self._send(messages))

    async def _send(self, messages: list[bytes]) -> None:
        try:
            for message in messages:
                await self._websocket.send_text(message.decode())
        except (RuntimeError, WebSocketDisconnect):
            logger.debug("A socket is closed, which its handler hears by itself")
        finally:
            self.resume()


class DirectTransport(Transport):
    """A wire straight to the transport of an open socket, whose owner hears from the transport and passes it on."""

    __slots__ = ("_transport",)

    def __init__(self) -> None:
        super().__init__()
        # None before the handshake, and when the socket is being closed or gone.
        self._transport: asyncio.Transport | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Write from now on."""
        self._transport = transport

    def close(self) -> None:
        """Write no more."""
        self._transport = None

    def write(self, messages: list[bytes]) -> None:
        """Write at once."""
        if self._transport is not None:
            self._transport.write(framed(messages))


def transport_of(websocket: WebSocket) -> Transport:
    """The server's own wire where it has one."""
    offer = websocket.scope.get("extensions", {}).get(EXTENSION)
    wire: Transport = AsgiTransport(websocket) if offer is None else offer["wire"]
    return wire


def framed(messages: list[bytes]) -> bytes:
    """Frame text messages as a server does: whole, unmasked, not compressed.

    https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    """
    if len(messages) == 1:
        return _header(len(messages[0])) + messages[0]
    return b"".join([part for message in messages for part in (_header(len(message)), message)])


@functools.lru_cache(4096)
def _header(size: int) -> bytes:
    if size < _SHORT:
        return bytes((_TEXT_FRAME, size))
    if size < _MEDIUM:
        return struct.pack("!BBH", _TEXT_FRAME, 126, size)
    return struct.pack("!BBQ", _TEXT_FRAME, 127, size)
