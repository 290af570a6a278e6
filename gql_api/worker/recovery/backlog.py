"""Celery's Redis broker: a look at the head of a queue, waiting for messages, and what becomes of them without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from celery import Celery


class Waiting:
    """The messages that no worker has taken yet, by the lists in which kombu's Redis transport keeps them."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def oldest(self, queue: str, priority: int) -> str | None:
        """The task whose message is taken next from a queue at a priority; None when none waits there.

        An id that is no task of ours stands for a message from elsewhere.

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
