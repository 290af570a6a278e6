"""Events on their way to Redis: sent, not waited for."""

from __future__ import annotations

import threading
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import RedisError


class Publisher:
    """Publishes over one connection that has replies turned off, so that a task never waits for Redis to answer.

    Thread-safe. What was sent is delivered though the process ends; what was sent into a connection that broke at that
    moment is lost like any event may be.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._pool = ConnectionPool.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        # redis-py's connections have no types.
        self._connection: Any = None
        self._lock = threading.Lock()

    def publish(self, channel: str, payload: bytes) -> None:
        """Send an event.

        Raises:
            RedisError: it cannot be sent.
        """
        with self._lock:
            connection = self._living() or self._connect()
            try:
                connection.send_command("PUBLISH", channel, payload, check_health=False)
            except (RedisError, OSError):
                self._drop()
                raise

    def close(self) -> None:
        """Close the connection; a later event opens another."""
        with self._lock:
            self._drop()

    def _living(self) -> Any:
        """The connection, unless Redis has closed it: with replies off nothing else makes it readable."""
        if self._connection is not None:
            try:
                closed = self._connection.can_read(timeout=0)
            except (RedisError, OSError):
                closed = True
            if closed:
                self._drop()
        return self._connection

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
