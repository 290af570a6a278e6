"""The worker's connection that publishes events to Redis without waiting for replies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError, RedisError, TimeoutError  # noqa: A004 - redis-py's own errors are meant

# A channel and a payload.
Event = tuple[str, bytes]

# After this time without an answer, the next event waits for one.
_CHECK_SECONDS = 5.0
# After a connection that took too long, events are refused for this time.
_PAUSE_SECONDS = 3.0


class Publisher:
    """A connection with replies turned off, so that a task never waits for an answer of Redis. Thread-safe.

    Redis delivers the events that were sent even if the process ends. A batch that breaks the
    connection is sent once more on a new one; Redis may drop what it took just before its own end.

    A half-open connection takes events as before. So every few seconds one batch of events waits until Redis answers.
    If Redis does not, that batch waits for up to three timeouts: of the check, of a new connection, and of its check.
    Thereafter events are refused for a while.
    """

    def __init__(self, url: str, timeout: float) -> None:
        pool = ConnectionPool.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        # Opened again and again. The pool counts the connections that it makes, and makes no more than a hundred.
        # redis-py's connections have no types.
        self._connection: Any = pool.make_connection()
        self._is_open = False
        self._answered_at = 0.0
        self._refuses_until = 0.0
        self._lock = threading.Lock()

    def publish(self, events: Sequence[Event]) -> None:
        """Send events in their order.

        Raises:
            RedisError: Redis is away; some of the events may have been sent.
        """
        commands = [("PUBLISH", channel, payload) for channel, payload in events]
        with self._lock:
            if self._is_alive():
                # One that breaks takes all events of a batch along, though Redis may be there: they are sent again.
                # A subscriber ignores an event that it has received before, by its revision.
                with contextlib.suppress(RedisError, OSError):
                    self._send(commands)
                    return
            self._open()
            self._send(commands)

    def close(self) -> None:
        """Close the connection; a later event opens another."""
        with self._lock:
            self._drop()

    def _is_alive(self) -> bool:
        if not self._is_open:
            return False
        try:
            # With replies off, only the end of the connection makes it readable.
            closed = self._connection.can_read(timeout=0)
            if not closed and time.monotonic() - self._answered_at > _CHECK_SECONDS:
                self._check()
        except (RedisError, OSError):
            closed = True
        if closed:
            self._drop()
        return self._is_open

    def _check(self) -> None:
        """Wait for an answer, then turn replies off (again)."""
        self._connection.send_command("CLIENT", "REPLY", "ON", check_health=False)
        self._connection.read_response()
        self._connection.send_command("CLIENT", "REPLY", "OFF", check_health=False)
        self._answered_at = time.monotonic()

    def _send(self, commands: Sequence[tuple[str, str, bytes]]) -> None:
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        except (RedisError, OSError):
            self._drop()
            raise

    def _open(self) -> None:
        if time.monotonic() < self._refuses_until:
            raise ConnectionError("Redis did not answer in time a moment ago")
        try:
            self._connection.connect()
            self._check()
        except (RedisError, OSError) as error:
            self._drop()
            if isinstance(error, TimeoutError):
                self._refuses_until = time.monotonic() + _PAUSE_SECONDS
            raise
        self._is_open = True

    def _drop(self) -> None:
        self._is_open = False
        self._connection.disconnect()
