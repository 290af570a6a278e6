"""How many calls MongoDB gets at a time; the others wait here, first come first served.

PyMongo's pool is not fair: whoever it wakes for a connection has to get a lock first, behind all who come to ask, and
one of these has taken the connection by then. With hundreds of calls some wait until their time is over, while MongoDB
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

# To PyMongo no seconds mean no end.
_MIN_SECONDS = 0.001


class ConcurrencyLimiter:
    """Lets some calls through at a time.

    A call that has its slot goes on to its end when whoever waits for it is cancelled (see :func:`shielded`), and
    keeps the slot for as long. Within a call there must be no other one: it might wait for its own end.

    Args:
        count: of calls at a time.
        wait_seconds: how long a call waits at most.
        seconds: how long it takes at most, its waiting included.
    """

    def __init__(self, count: int, wait_seconds: float, seconds: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_seconds = wait_seconds
        self._seconds = seconds

    async def use(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call of PyMongo, or a few, when it is its turn.

        Raises:
            WaitQueueTimeoutError: its turn did not come in time.
            PyMongoError: what PyMongo raised, also when the time was over.
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
    """What makes its calls of MongoDB in slots."""

    @property
    def slots(self) -> ConcurrencyLimiter:
        """Those that it uses."""
        ...


S = TypeVar("S", bound=Limited)


def limited(
    work: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method make its calls of MongoDB in one of its object's slots."""

    @functools.wraps(work)
    async def called(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.slots.use(work, self, *args, **kwargs)

    return called
