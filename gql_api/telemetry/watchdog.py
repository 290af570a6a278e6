"""Report what blocks the event loop: while it is blocked, the process answers nobody."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Self

from gql_api.telemetry import counters

logger = logging.getLogger(__name__)

_BEAT_SECONDS = 0.05
_NAME_LENGTH = 100
_PACKAGE = str(Path(__file__).parents[1])
_LABEL = "operation "


def label_task(name: str | None) -> None:
    """Name the operation that the running task executes, for reports; its document may have arguments."""
    task = asyncio.current_task()
    if task is not None:
        task.set_name(_LABEL + (name or "without a name"))


class Watchdog:
    """A thread that watches a beat of the event loop, and finds out what runs when the beat is missing.

    Args:
        threshold_seconds: reports blocks that are longer.
    """

    def __init__(self, threshold_seconds: float) -> None:
        self._threshold = threshold_seconds
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        self._cause = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="event loop watchdog", daemon=True)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._beat_at = time.monotonic()
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)
        self._thread.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.to_thread(self._thread.join)

    def _beat(self) -> None:
        now = time.monotonic()
        blocked = now - self._beat_at - _BEAT_SECONDS
        cause, self._cause = self._cause, ""
        self._beat_at = now
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)
        if blocked > self._threshold:
            counters.LOOP_BLOCKS.observe(blocked)
            counters.longest_block(blocked)
            logger.warning("The event loop was blocked for %.2f s by %s", blocked, cause or "something that has ended")

    def _watch(self) -> None:
        while not self._stopped.wait(_BEAT_SECONDS):
            if time.monotonic() - self._beat_at > self._threshold + _BEAT_SECONDS and not self._cause:
                self._cause = self._running()

    def _running(self) -> str:
        """Return the operation that the event loop executes, and the line of our code."""
        task = asyncio.current_task(self._loop)
        name = "" if task is None else task.get_name()
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, for this purpose
        if not name.startswith(_LABEL):
            return f"a callback{_place(frame)}"
        return f"the operation {name.removeprefix(_LABEL)[:_NAME_LENGTH]!r}{_place(frame)}"


def _place(frame: FrameType | None) -> str:
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_PACKAGE):
            return f", in {frame.f_code.co_name} ({Path(path).relative_to(_PACKAGE)}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""
