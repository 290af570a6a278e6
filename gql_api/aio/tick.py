"""A queue of callbacks that run together at the end of a tick of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class TickQueue:
    """Gathers what is to be done at the end of a turn of the event loop.

    ``is_alone`` is True while the only thing that came up in a turn is done: there is nothing to gather it with.
    """

    def __init__(self) -> None:
        self.is_alone = False
        self._waiting: list[Callable[[], None]] = []
        self._due: asyncio.Handle | None = None

    def later(self, do: Callable[[], None]) -> None:
        """Do something when the callbacks that are due now have run.

        What comes up by it is done right behind it, and what comes up by that in the next turn: events that are handed
        over are sent without delay, and who has very much to send leaves time for others.
        """
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append(do)

    def _end(self) -> None:
        try:
            self.is_alone = len(self._waiting) == 1
            self._do()
            self.is_alone = False
            self._do()
        finally:
            self._due = asyncio.get_running_loop().call_soon(self._end) if self._waiting else None

    def _do(self) -> None:
        waiting, self._waiting = self._waiting, []
        for do in waiting:
            try:
                do()
            except Exception:
                logger.exception("What came up in a turn could not be done to its end")
