"""The queues in Celery's Redis broker, read without taking messages. All reliance on kombu's keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from celery import Celery


class Backlog:
    """The messages that no worker has taken yet, in the lists of kombu's Redis transport."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def oldest(self, queue: str, priority: int) -> str | None:
        """Return the id of the task whose message a worker takes next from a queue at a priority, or None.

        The id may belong to a task without a record, whose message another program sent.

        Raises:
            OperationalError: the broker does not answer.
        """
        try:
            with self._app.connection_for_write() as connection:
                channel: Any = connection.default_channel
                # kombu's own prefixing leaves this command out.
                key = f"{channel.global_keyprefix}{channel._q_for_pri(queue, priority)}"  # noqa: SLF001 - kombu's key
                content = channel.client.lindex(key, -1)
        except (RedisError, OSError) as error:
            raise OperationalError(str(error)) from error
        return None if content is None else str(json.loads(content)["headers"].get("id"))
