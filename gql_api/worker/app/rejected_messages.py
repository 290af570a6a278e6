"""The list beside a queue with the newest messages that no worker could handle: they are kept for people to read."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError

from gql_api.telemetry import counters

logger = logging.getLogger(__name__)

PREFIX = "gql-api:rejected:"
"""The beginning of the key of a list; the name of the queue follows."""

_MAX_BYTES = 1024 * 1024
_MAX_SHOWN = 200
# Add a message, and drop the oldest ones above the bound. KEYS: the list. ARGV: the message, the bound.
_KEEP = "redis.call('LPUSH', KEYS[1], ARGV[1]) redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)"


class RejectedMessages:
    """The messages that a worker has rejected.

    Args:
        max_kept: the number of messages that the list of a queue has at most.
    """

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept

    def add(self, channel: Any, queue: str, raw: bytes | str, problem: str, task: str = "") -> None:
        """Keep a message as it was in Redis, count it, and log why it was rejected, without its arguments."""
        counters.MESSAGES_REJECTED.inc()
        kept = "is not kept"
        content = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
        try:
            if self._max_kept:
                # kombu's own prefixing leaves this command out.
                key = f"{channel.global_keyprefix}{PREFIX}{queue}"
                with channel.conn_or_acquire() as client:
                    client.eval(_KEEP, 1, key, content[:_MAX_BYTES], self._max_kept)
                kept = f"is kept in the list {key!r}"
        except RedisError as error:
            kept = f"is lost: {error!r}"
        logger.error(
            "A message of queue %r cannot be handled and %s: %s (%d bytes%s)",
            queue,
            kept,
            # It is a text from outside.
            ascii(problem)[1:-1][:_MAX_SHOWN],
            len(content),
            f", {ascii(task)[:_MAX_SHOWN]}" if task else "",
        )
