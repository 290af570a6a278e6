"""The worker's connection that publishes events to Redis without waiting for replies."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

# A channel and a payload.
Event = tuple[str, bytes]


class Publisher:
    """A connection with replies turned off, so that a task never waits for an answer of Redis. Thread-safe.

    Redis delivers the events that were sent even if the process ends. A batch that breaks the
    connection is sent once more on a new one; Redis may drop what it took just before its own end.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._pool = ConnectionPool.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        # redis-py's connections have no types.
        self._connection: Any = None
        self._lock = threading.Lock()

    def publish(self, events: Sequence[Event]) -> None:
        """Send events in their order.

        Raises:
            RedisError: Redis is away; some of the events may have been sent.
        """
        commands = [("PUBLISH", channel, payload) for channel, payload in events]
        with self._lock:
            connection = self._open_connection()
            if connection is not None:
                # One that breaks takes all events of a batch along, though Redis may be there: they are sent again.
                # A subscriber ignores an event that it has received before, by its revision.
                with contextlib.suppress(RedisError, OSError):
                    self._send(connection, commands)
                    return
            self._send(self._connect(), commands)

    def close(self) -> None:
        """Close the connection; a later event opens another."""
        with self._lock:
            self._drop()

    def _open_connection(self) -> Any:
        if self._connection is not None:
            # With replies off, only the end of the connection makes it readable.
            try:
                closed = self._connection.can_read(timeout=0)
            except (RedisError, OSError):
                closed = True
            if closed:
                self._drop()
        return self._connection

    def _send(self, connection: Any, commands: Sequence[tuple[str, str, bytes]]) -> None:
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        except (RedisError, OSError):
            self._drop()
            raise

    def _connect(self) -> Any:
        connection: Any = self._pool.make_connection()
        connection.connect()
        connection.send_command("CLIENT", "REPLY", "OFF")
        self._connection = connection
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
