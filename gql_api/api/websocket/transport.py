"""The transports of WebSocket messages: the only place that frames them and that tracks slow clients."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

from starlette.types import Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gql_api.api.websocket.session import Session, SessionSocket

logger = logging.getLogger(__name__)

EXTENSION = "gql_api.transport"
"""The name in ``scope["extensions"]`` under which a server offers its :class:`Transport`, as ``transport``."""

TRY_AGAIN_LATER = 1013

_TEXT_FRAME = 0x81
_SHORT, _MEDIUM = 126, 1 << 16


class Transport(ABC):
    """A socket that accepts several messages at once and reports when its client reads too slowly.

    ``is_writable`` is False while the client has too much left to read; it is True for a socket that is gone.
    ``on_paused`` is called when it becomes False, ``on_writable`` when it becomes True.
    """

    # Slots: an event is written to thousands of sockets, whose memory is not in the processor's caches.
    __slots__ = ("is_writable", "on_paused", "on_writable")

    def __init__(self) -> None:
        self.on_paused: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.is_writable = True

    @abstractmethod
    def write(self, messages: list[bytes]) -> None:
        """Send text messages in order. A socket that is being closed drops them."""

    def hand_over(self, session: Session) -> SessionSocket | None:  # noqa: ARG002 - for transports that can
        """Let the server run a session once the application has returned; return None if the server cannot."""
        return None

    def call_at_end(self, callback: Callable[[], object]) -> bool:  # noqa: ARG002 - for transports that can
        """Register a function to call at the end of the session; False if the session ends with the application."""
        return False

    @property
    @abstractmethod
    def unread_bytes(self) -> int:
        """The bytes that were written and have not left the process."""

    @abstractmethod
    def abort(self) -> None:
        """Close the socket without waiting for its client."""

    def pause(self) -> None:
        """Report that the client has too much left to read."""
        self.is_writable = False
        if self.on_paused is not None:
            self.on_paused()

    def resume(self) -> None:
        """Report that the client has read, or is gone."""
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()


class AsgiTransport(Transport):
    """A transport over any ASGI server: it sends one message after the other, and is paused meanwhile."""

    __slots__ = ("_sending", "_unread", "_websocket")

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__()
        self._websocket = websocket
        self._sending: asyncio.Task[None] | None = None
        self._unread = 0

    @property
    def unread_bytes(self) -> int:
        """The messages that the server has not taken."""
        return self._unread

    def abort(self) -> None:
        """Stop to send; ASGI has no way to close a socket whose client does not read."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = asyncio.create_task(self._close())

    def write(self, messages: list[bytes]) -> None:
        """Start to send messages; the transport is not writable until the server has taken them all."""
        self._unread = sum(map(len, messages))
        self.pause()
        self._sending = asyncio.create_task(self._send(messages))

    async def _send(self, messages: list[bytes]) -> None:
        try:
            for message in messages:
                await self._websocket.send_text(message.decode())
        except (RuntimeError, WebSocketDisconnect):
            logger.debug("A socket is closed; its handler receives the disconnect")
        finally:
            self._unread = 0
            self.resume()

    async def _close(self) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
            await self._websocket.close(TRY_AGAIN_LATER)


class DirectTransport(Transport):
    """A transport that writes frames straight to the connection; the connection reports pauses to it.

    ``session`` is the session that the application has handed over. ``server_send`` is the server's own function for
    ASGI events, while the application runs.
    """

    __slots__ = ("_at_end", "_connection", "server_send", "session")

    def __init__(self) -> None:
        super().__init__()
        self.server_send: Send | None = None
        self.session: Session | None = None
        self._at_end: list[Callable[[], object]] = []
        # None before the handshake, and once the socket is being closed or is gone.
        self._connection: asyncio.Transport | None = None

    def open(self, connection: asyncio.Transport) -> None:
        """Start to write to a connection whose handshake is complete."""
        self._connection = connection

    def close(self) -> None:
        """Drop all messages from now on."""
        self._connection = None

    def hand_over(self, session: Session) -> SessionSocket | None:
        """Run a session once the application has returned."""
        if self.server_send is None:
            return None
        self.session = session
        return SessionSocket(self.server_send)

    def call_at_end(self, callback: Callable[[], object]) -> bool:
        """Call a function when the session has ended, if there is one."""
        if self.session is not None:
            self._at_end.append(callback)
        return self.session is not None

    def end(self) -> None:
        """Call the functions that wait for the end of the session."""
        self.session = self.server_send = None
        callbacks, self._at_end = self._at_end, []
        for callback in callbacks:
            callback()

    @property
    def unread_bytes(self) -> int:
        """The size of the connection's buffer."""
        return 0 if self._connection is None else self._connection.get_write_buffer_size()

    def abort(self) -> None:
        """Abort the connection."""
        if self._connection is not None:
            self._connection.abort()

    def write(self, messages: list[bytes]) -> None:
        """Write messages at once."""
        if self._connection is not None:
            self._connection.write(encode_frames(messages))


def transport_of(websocket: WebSocket) -> Transport:
    """Return the transport that the server offers, or one over plain ASGI."""
    return offered_transport(websocket.scope) or AsgiTransport(websocket)


def offered_transport(scope: Scope) -> Transport | None:
    """Return the transport that the server offers for a request; None for a request of another kind or server."""
    offer = scope.get("extensions", {}).get(EXTENSION)
    transport: Transport | None = None if offer is None else offer["transport"]
    return transport


def call_at_end(scope: Scope, callback: Callable[[], object]) -> None:
    """Call a function at the end of a request whose application returns: now, unless a session goes on."""
    transport = offered_transport(scope)
    if transport is None or not transport.call_at_end(callback):
        callback()


def encode_frames(messages: list[bytes]) -> bytes:
    """Encode text messages as frames of a server: whole, unmasked, not compressed.

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
