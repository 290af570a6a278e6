"""The consumption of this worker: the broker answers it, or it has no room for more messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

# The broker answers a request for messages within a second, also if it has none.
_SILENCE_SECONDS = 15.0


class Consumption:
    """The latest answer of the broker to the consumer of this worker.

    A worker that has as many messages as it can take asks for no more, and counts as consuming.
    """

    def __init__(self) -> None:
        self._has_room: Callable[[], bool] | None = None
        self._answered_at = -math.inf

    def begin(self, has_room: Callable[[], bool]) -> None:
        """Note a new connection. ``has_room`` returns whether the worker asks for messages."""
        self._has_room = has_room
        self.answered()

    def answered(self) -> None:
        """Note an answer of the broker."""
        self._answered_at = time.monotonic()

    def end(self) -> None:
        """Note that the connection is lost or closed."""
        self._has_room = None

    @property
    def is_going_on(self) -> bool:
        """True while the worker consumes. Any thread may ask."""
        has_room = self._has_room
        if has_room is None:
            return False
        return time.monotonic() - self._answered_at < _SILENCE_SECONDS or not has_room()


consumption = Consumption()
