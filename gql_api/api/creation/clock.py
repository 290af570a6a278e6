"""The clock of MongoDB, read once a second: the time of a new record or an entry costs no call of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

# MongoDB's clock may be set, and another member with a clock of its own may become primary.
_SECONDS = 1.0
# An answer tells the time of a moment since the call. If that is long, it is not known well enough to be kept.
_QUICK_SECONDS = 0.5


class Clock:
    """The clock of MongoDB.

    Args:
        read: reads the time of MongoDB.
    """

    def __init__(self, read: Callable[[], Awaitable[datetime]]) -> None:
        self._read = read
        self._known: tuple[float, datetime] | None = None

    async def now(self) -> datetime:
        """Return the time of MongoDB in milliseconds, as it stores times. It is early by no more than the read took.

        Raises:
            PyMongoError: the time was not read a moment ago, and MongoDB does not answer.
        """
        began = time.monotonic()
        if self._known is not None and began - self._known[0] < _SECONDS:
            read_at, then = self._known
            return then + timedelta(milliseconds=int(1000 * (began - read_at)))
        then = await self._read()
        ended = time.monotonic()
        self._known = (ended, then) if ended - began < _QUICK_SECONDS else None
        return then
