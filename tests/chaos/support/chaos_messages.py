"""The messages in Redis: duplicated, sent again later, and deleted."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chaos_site import QUEUE
from redis import Redis

_UNACKNOWLEDGED = "unacked"
_MAX_KEPT = 300
_MAX_AT_ONCE = 15

T = TypeVar("T")


@dataclass
class Messages:
    """The messages that the faults have seen, which may come back at any time."""

    chance: random.Random
    seen: list[str] = field(default_factory=list)

    def duplicate(self, redis: Redis) -> int:
        """Send some messages that wait or are being worked on once more, and keep them for later."""
        present = self._present(redis)
        self.seen = [*self.seen, *present][-_MAX_KEPT:]
        return self._send(redis, present)

    def replay(self, redis: Redis) -> int:
        """Send some messages once more that were seen some time ago."""
        return self._send(redis, self.seen)

    def lose(self, redis: Redis) -> int:
        """Delete some messages that wait or are being worked on."""
        found = [(queue, message) for queue in self._queues(redis) for message in _list(redis, queue)]
        lost = sum(int(redis.lrem(queue, 1, message)) for queue, message in self._some(found))
        tags = self._some(list(redis.hkeys(_UNACKNOWLEDGED)))
        return lost + (int(redis.hdel(_UNACKNOWLEDGED, *tags)) if tags else 0)

    def _present(self, redis: Redis) -> list[str]:
        waiting = [message for queue in self._queues(redis) for message in _list(redis, queue)]
        entries = redis.hvals(_UNACKNOWLEDGED)
        return [*waiting, *(json.dumps(json.loads(entry)[0]) for entry in entries)]

    def _queues(self, redis: Redis) -> list[str]:
        # Each priority has a list of its own.
        return [str(key) for key in redis.scan_iter(f"{QUEUE}*", _type="list")]

    def _send(self, redis: Redis, messages: list[str]) -> int:
        chosen = [json.loads(message) for message in self._some(messages)]
        for message in chosen:
            properties: dict[str, Any] = message["properties"]
            if self.chance.random() < 1 / 2:
                # A second message of its own. Otherwise it is the same message, as the broker delivers it again.
                properties["delivery_tag"] = str(uuid.uuid4())
            redis.lpush(properties["delivery_info"]["routing_key"], json.dumps(message))
        return len(chosen)

    def _some(self, items: list[T]) -> list[T]:
        return self.chance.sample(items, min(len(items), self.chance.randint(1, _MAX_AT_ONCE)))


def _list(redis: Redis, key: str) -> list[str]:
    return [str(message) for message in redis.lrange(key, 0, -1)]
