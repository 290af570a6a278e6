"""Sessions of WebSockets, which the server runs once the application has returned.

The middleware around an application keeps 10 KiB for as long as the application runs: too much for a socket that only
waits for events. A session keeps what it needs, and nothing else of its request.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from starlette.types import Message, Send


class Session(Protocol):
    """The part of an application that handles the events of an accepted socket."""

    def begin(self) -> None:
        """Begin in the task that will call the other methods."""

    async def receive(self, event: Message) -> bool:
        """Handle an ASGI event of the socket, and return whether more of them are wanted."""

    async def end(self) -> None:
        """End all that belongs to the socket."""


class SessionSocket:
    """The socket of a session: what is needed of Starlette's WebSocket.

    Args:
        send: the server's own function for ASGI events.
    """

    __slots__ = ("_send", "is_closed")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_closed = False

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame, unless the client is gone or one was sent. Only the first close counts."""
        if not self.is_closed:
            self.is_closed = True
            with contextlib.suppress(OSError, RuntimeError):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
