"""The bytes that clients have yet to read, bounded by closing the connections that leave the most unread."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from gql_api.limits import LimitSettings
from gql_api.telemetry.counters import LIMITS_EXCEEDED

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.25


class Unread(Protocol):
    """A connection whose client reads more slowly than the process writes."""

    @property
    def unread_bytes(self) -> int:
        """The bytes that the process keeps for the client, the transport's buffer included."""

    def abort(self) -> None:
        """Close the connection without waiting for the client."""


class Backlog:
    """The connections that are not writable. While there are some, their bytes are added up again and again.

    Connections whose client reads do not appear here, so an event for thousands of them costs nothing.
    """

    def __init__(self) -> None:
        self.max_bytes = LimitSettings.model_construct().unread_max_bytes
        self._connections: dict[Unread, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, max_bytes: int) -> None:
        """Set the limit, and forget the connections of an event loop that has ended."""
        self.max_bytes = max_bytes
        self._connections.clear()
        self._timer = None

    @property
    def size(self) -> int:
        """The bytes of all connections that are not writable."""
        return sum(connection.unread_bytes for connection in self._connections)

    def add(self, connection: Unread) -> None:
        """Add a connection that is not writable any more."""
        self._connections[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_SECONDS, self._check)

    def discard(self, connection: Unread) -> None:
        """Remove a connection that is writable again, or is gone."""
        self._connections.pop(connection, None)
        if not self._connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        sizes = {connection: connection.unread_bytes for connection in self._connections}
        total = sum(sizes.values())
        closed = 0
        for connection in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if total <= self.max_bytes:
                break
            total -= sizes[connection]
            closed += 1
            self.discard(connection)
            connection.abort()
        if closed:
            LIMITS_EXCEEDED.labels("unread bytes").inc(closed)
            logger.warning("Closed %d connections that left too much unread: see UNREAD_MAX_BYTES", closed)
        if self._connections and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_SECONDS, self._check)


BACKLOG: Final = Backlog()
"""The backlog of the process. :func:`gql_api.app.open_services` starts it."""
