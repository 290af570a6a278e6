"""The rate at which the messages of one WebSocket are read."""

from __future__ import annotations

import time

from gql_api.telemetry.counters import LIMITS_EXCEEDED


class MessageRate:
    """A bucket of messages that refills steadily: a burst of a second's messages, then so many in a second.

    Args:
        per_second: the rate.
    """

    __slots__ = ("_full_at", "_interval")

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        # The time at which the bucket is full again.
        self._full_at = 0.0

    def delay(self) -> float:
        """Take a message from the bucket, and return the seconds that it has to wait."""
        now = time.monotonic()
        self._full_at = max(self._full_at, now) + self._interval
        delay = self._full_at - now - 1
        if delay > 0:
            LIMITS_EXCEEDED.labels("messages per second").inc()
        return delay
