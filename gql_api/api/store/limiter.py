"""The limit on concurrent calls of MongoDB; further calls wait here, first come first served.

PyMongo's pool is not fair: a call that it wakes for a connection has to acquire a lock first, behind all new calls, and
one of these has taken the connection by then. With hundreds of calls some wait until they time out, while MongoDB
answers thousands. (MongoDB's driver for Ruby had the same fault: mongo-ruby-driver 3028.) So PyMongo never gets more
calls than it has connections.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pymongo
from pymongo.errors import WaitQueueTimeoutError

from gql_api.aio.background import shielded

P = ParamSpec("P")
T = TypeVar("T")

# PyMongo takes a timeout of zero as no timeout.
_MIN_SECONDS = 0.001


class ConcurrencyLimiter:
    """A fair semaphore around calls of MongoDB, with timeouts.

    A call that has a slot runs to its end even if its caller is cancelled (see :func:`shielded`), and keeps the slot
    until then. A call must not contain another one, which might wait for the slot of its own caller.

    Args:
        count: the number of slots.
        wait_seconds: the longest time that a call waits for a slot.
        seconds: the longest time that a call takes, its waiting included.
    """

    def __init__(self, count: int, wait_seconds: float, seconds: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_seconds = wait_seconds
        self._seconds = seconds

    async def use(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one or a few calls of PyMongo as soon as there is a free slot.

        Raises:
            WaitQueueTimeoutError: there was no free slot in time.
            PyMongoError: PyMongo raised it, also for a timeout.
        """
        end = time.monotonic() + self._seconds
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()
        return await self._use(end, functools.partial(work, *args, **kwargs))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            message = f"other calls of MongoDB did not end within {self._wait_seconds:g} s"
            raise WaitQueueTimeoutError(message) from error

    @shielded
    async def _use(self, end: float, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            with pymongo.timeout(max(end - time.monotonic(), _MIN_SECONDS)):
                return await work()
        finally:
            self._free.release()


class Limited(Protocol):
    """An object with methods that call MongoDB."""

    @property
    def limiter(self) -> ConcurrencyLimiter:
        """The limiter of its calls."""
        ...


S = TypeVar("S", bound=Limited)


def limited(
    work: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Decorate a method to run in one slot of its object's limiter."""

    @functools.wraps(work)
    async def called(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.limiter.use(work, self, *args, **kwargs)

    return called
