"""Run callbacks together at the end of a tick of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class TickQueue:
    """A queue of callbacks that run at the end of a tick of the event loop.

    ``is_alone`` is True while the only callback of a tick runs: a write that it makes has nothing to be combined with.
    """

    def __init__(self) -> None:
        self.is_alone = False
        self._waiting: list[Callable[[], None]] = []
        self._due: asyncio.Handle | None = None

    def schedule(self, callback: Callable[[], None]) -> None:
        """Run a callback when the callbacks that are due now have run.

        A callback that one of these schedules runs right behind them, and one that is scheduled there runs in the next
        tick: events are delivered and sent without delay, and a socket with very much to send leaves time for others.
        """
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._end_tick)
        self._waiting.append(callback)

    def _end_tick(self) -> None:
        try:
            self.is_alone = len(self._waiting) == 1
            self._run_waiting()
            self.is_alone = False
            self._run_waiting()
        finally:
            self._due = asyncio.get_running_loop().call_soon(self._end_tick) if self._waiting else None

    def _run_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            try:
                callback()
            except Exception:
                logger.exception("A callback at the end of a tick failed")
