"""The queues in Celery's Redis broker, read without taking messages. All reliance on kombu's keys."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from gql_api.worker.backend.messages import sent_at_of

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection

# A new connection finds out that the address leads to another server now, or to one of several.
_MAX_AGE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue: the id of its task, which may have no record, and when recovery sent it, if it did."""

    task_id: str
    sent_at: datetime | None


class Backlog:
    """The messages that no worker has taken yet, in the lists of kombu's Redis transport.

    All threads share one connection, which has the timeouts of the app's own options for its broker.
    """

    def __init__(self, app: Celery, max_age: float = _MAX_AGE_SECONDS) -> None:
        self._app = app
        self._max_age = max_age
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._opened_at = 0.0

    def run_id(self) -> str | None:
        """Return the id of the run of the broker's server, which changes when the server restarts; None if unknown.

        Raises:
            OperationalError: the broker does not answer.
        """
        with self._channel() as channel:
            try:
                return str(channel.client.info("server")["run_id"])
            except (ResponseError, KeyError):
                # A user or a proxy may forbid the command: that is an answer too.
                return None

    def oldest(self, queue: str, priority: int) -> QueuedMessage | None:
        """Return the message that a worker takes next from a queue at a priority.

        Raises:
            OperationalError: the broker does not answer.
        """
        with self._channel() as channel:
            # kombu's own prefixing leaves this command out.
            key = f"{channel.global_keyprefix}{channel._q_for_pri(queue, priority)}"  # noqa: SLF001 - kombu's key
            content = channel.client.lindex(key, -1)
        if content is None:
            return None
        try:
            headers = json.loads(content)["headers"]
            return QueuedMessage(str(headers.get("id")), sent_at_of(headers))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            # Any program may send anything. A worker takes it from the queue.
            return QueuedMessage("", None)

    @contextlib.contextmanager
    def _channel(self) -> Iterator[Any]:
        with self._lock:
            try:
                yield self._connected().default_channel
            except (OperationalError, RedisError, OSError) as error:
                self._disconnect()
                raise OperationalError(str(error)) from error

    def _connected(self) -> Connection:
        if time.monotonic() - self._opened_at > self._max_age:
            self._disconnect()
        if self._connection is None:
            self._connection, self._opened_at = self._app.connection_for_write(), time.monotonic()
        # By default kombu tries again for seconds.
        self._connection.ensure_connection(max_retries=0)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()  # type: ignore[no-untyped-call] # kombu
