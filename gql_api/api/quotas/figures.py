"""Figures about holders of quotas that MongoDB has: read from time to time, and kept up by what this process adds."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from gql_api.aio.background import cancelled
from gql_api.api.errors import ClientError
from gql_api.api.quotas.holders import Holder

logger = logging.getLogger(__name__)

_MAX_HOLDERS = 10_000
# A call that needs a figure which is not known yet waits no longer for it.
_WAIT_SECONDS = 1.0


@dataclass(slots=True)
class _Figure:
    """A figure: what MongoDB had when it was last read, and what this process has added since that read began."""

    stored: int = 0
    added: int = 0
    read_at: float | None = None
    reading: asyncio.Task[None] | None = None

    @property
    def value(self) -> int:
        """The best guess at what MongoDB has now."""
        return self.stored + self.added


class Figures:
    """The figures of one kind.

    Args:
        read: reads the figure of a holder; it may end at the holder's quota.
        seconds: how long a figure is good enough.
        far_seconds: the same for one of less than half of the holder's quota.
        waits: whether a call waits for a figure to be read again. It always waits for the first one.
        concurrency: how many figures are read at once.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        read: Callable[[Holder], Awaitable[int]],
        *,
        seconds: float,
        far_seconds: float,
        waits: bool,
        concurrency: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._far_seconds = far_seconds
        self._waits = waits
        self._turns = asyncio.Semaphore(concurrency)
        self._clock = clock
        # The one that was used last is at the end.
        self._figures: OrderedDict[Holder, _Figure] = OrderedDict()
        self._readings: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop reading."""
        await cancelled(self._readings)

    def value(self, holder: Holder) -> int:
        """Return a figure as far as it is known."""
        return self._of(holder).value

    def add(self, holder: Holder, amount: int) -> None:
        """Add what this process is about to store."""
        self._of(holder).added += amount

    async def refresh(self, holder: Holder, quota: float) -> None:
        """Read a figure if it is too old, and wait for it if it has to be known."""
        figure = self._of(holder)
        good_seconds = self._far_seconds if 2 * figure.value < quota else self._seconds
        if figure.read_at is not None and self._clock() - figure.read_at < good_seconds:
            return
        if figure.reading is None:
            # The caller's timeout, and its share of the slots for lists, are not those of the reading.
            figure.reading = asyncio.create_task(self._update(holder, figure), context=contextvars.Context())
            self._readings.add(figure.reading)
            figure.reading.add_done_callback(self._readings.discard)
        if self._waits or figure.read_at is None:
            await asyncio.wait({figure.reading}, timeout=_WAIT_SECONDS)

    async def _update(self, holder: Holder, figure: _Figure) -> None:
        try:
            async with self._turns:
                added = figure.added
                figure.stored = await self._read(holder)
                figure.added -= added
        except (PyMongoError, ClientError) as error:  # a client's error says that the reading took too long
            logger.warning("A quota goes by an old figure, for MongoDB did not return a new one: %s", error)
        finally:
            figure.read_at = self._clock()
            figure.reading = None

    def _of(self, holder: Holder) -> _Figure:
        figure = self._figures.setdefault(holder, _Figure())
        self._figures.move_to_end(holder)
        if len(self._figures) > _MAX_HOLDERS:
            self._figures.popitem(last=False)
        return figure
