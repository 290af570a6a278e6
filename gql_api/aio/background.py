"""Run coroutines beside the requests: for as long as a block lasts, or shielded from a cancelled caller."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_CANCEL_AGAIN_SECONDS = 0.1
# Enough for every maximum, and a power that a float can hold.
_MAX_DOUBLINGS = 64
# The event loop itself holds its tasks weakly.
_under_way: set[asyncio.Task[Any]] = set()


def shielded(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a call run to its end in a task of its own, even when its caller is cancelled.

    Everything that uses PyMongo needs this. A cancelled call costs a connection; and in the soak test, whose clients
    leave in large numbers, reads that were cancelled while they waited for PyMongo's pool kept waiting, which delayed
    the stop of the server.
    """

    @functools.wraps(work)
    async def called(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(work(*args, **kwargs))
        _under_way.add(task)
        task.add_done_callback(_ended)
        return await asyncio.shield(task)

    return called


def _ended(task: asyncio.Task[Any]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # asyncio logs an exception that was never retrieved, and the caller may have left


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delays between the restarts of a coroutine that fails.

    Attributes:
        first_seconds: the delay after the first failure. Each further failure doubles it, and up to half of it is taken
            off at random.
        max_seconds: the longest delay.
        healthy_seconds: a run that lasts so long ends the streak of failures.
        report_seconds: the time between two log lines of one streak.
    """

    first_seconds: float = 0.1
    max_seconds: float = 30.0
    healthy_seconds: float = 30.0
    report_seconds: float = 300.0

    def delay(self, failures: int) -> float:
        """Return the delay after so many failures in a row, in seconds."""
        longest = min(self.first_seconds * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), self.max_seconds)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


_BACKOFF = Backoff()


@contextlib.asynccontextmanager
async def background(
    *runs: Callable[[], Coroutine[Any, Any, None]], backoff: Backoff = _BACKOFF
) -> AsyncIterator[None]:
    """Run coroutines until the block ends, then cancel them and wait for their end. One that fails is restarted."""
    tasks = {asyncio.create_task(_keep_running(run, backoff)) for run in runs}
    try:
        yield
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait until all of them have ended.

    Once is not always enough: before Python 3.12 ``asyncio.wait_for``, which the drivers use, swallows a cancellation
    that meets its result (CPython issue 86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)


async def _keep_running(run: Callable[[], Coroutine[Any, Any, None]], backoff: Backoff) -> None:
    failures = _Failures(getattr(run, "__qualname__", repr(run)), backoff)
    while True:
        recovery = asyncio.get_running_loop().call_later(backoff.healthy_seconds, failures.end)
        try:
            return await run()
        except Exception as error:  # noqa: BLE001 - failures.add logs it
            failures.add(error)
        finally:
            recovery.cancel()
        await asyncio.sleep(backoff.delay(failures.count))


class _Failures:
    """A streak of failures of one coroutine, from its first failure to its next healthy run."""

    def __init__(self, name: str, backoff: Backoff) -> None:
        self.count = 0
        self._name = name
        self._backoff = backoff
        self._reported = 0.0

    def add(self, error: Exception) -> None:
        """Count a failure, and log it unless the streak was reported a short time ago."""
        now = asyncio.get_running_loop().time()
        self.count += 1
        if self.count == 1:
            logger.error("%s failed and is restarted", self._name, exc_info=error)
            self._reported = now
        elif now - self._reported >= self._backoff.report_seconds:
            logger.error("%s has failed %d times in a row, now with %r", self._name, self.count, error)
            self._reported = now

    def end(self) -> None:
        """End the streak: the coroutine runs and is healthy."""
        if self.count:
            logger.warning("%s runs again, failures before: %d", self._name, self.count)
        self.count = 0
