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
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pymongo
from pymongo.errors import WaitQueueTimeoutError

from gql_api.aio.background import shielded
from gql_api.api.errors import NoSlotError
from gql_api.api.store.slots import FairSlots, Requester, current_requester

P = ParamSpec("P")
T = TypeVar("T")

# PyMongo takes a timeout of zero as no timeout.
_MIN_SECONDS = 0.001
# Of the calls that share slots. The others are short, and nearly all of them serve many requests at once.
_MAX_WAITING = 1000
_MAX_WAITING_OF_PRINCIPAL = 250


class ConcurrencyLimiter:
    """A limit on concurrent calls of MongoDB, with timeouts.

    A call that has a slot runs to its end even if its caller is cancelled (see :func:`shielded`), and keeps the slot
    until then. A call must not contain another one, which might wait for the slot of its own caller.

    Args:
        count: the number of slots.
        wait_seconds: the longest time that a call waits for a slot.
        seconds: the longest time that a call takes, its waiting included.
        share: how many slots the calls of one requester may have (see :class:`FairSlots`); by default every call is a
            requester of its own.
        answers: returns whether MongoDB answers. If it does, a call that got no slot has met others that are too slow
            or too many.
        caps: how many slots the requesters of one principal, and of one tenant, may have (see :class:`FairSlots`).
    """

    def __init__(
        self,
        count: int,
        wait_seconds: float,
        seconds: float,
        share: int | None = None,
        answers: Callable[[], Awaitable[bool]] | None = None,
        caps: Mapping[str, int] | None = None,
    ) -> None:
        self._slots = FairSlots(count, share, caps)
        self._share = share
        self._wait_seconds = wait_seconds
        self._seconds = seconds
        self._answers = answers

    async def use(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one or a few calls of PyMongo as soon as there is a free slot.

        Raises:
            NoSlotError: there was no free slot in time, although MongoDB answers.
            WaitQueueTimeoutError: there was no free slot in time.
            PyMongoError: PyMongo raised it, also for a timeout.
        """
        end = time.monotonic() + self._seconds
        requester = Requester() if self._share is None else current_requester()
        if not self._slots.take(requester):
            await self._wait(requester)
        return await self._use(end, requester, functools.partial(work, *args, **kwargs))

    async def _wait(self, requester: Requester) -> None:
        if self._share is not None and (
            self._slots.waiting >= _MAX_WAITING
            or self._slots.waiting_of_principal(requester) >= _MAX_WAITING_OF_PRINCIPAL
        ):
            raise NoSlotError("Too many lists, counts and facets are waiting")
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire(requester)
        except TimeoutError as error:
            message = f"Other calls of MongoDB did not end within {self._wait_seconds:g} s"
            if self._answers is None or not await self._answers():
                raise WaitQueueTimeoutError(message) from error
            full = self._slots.full_group(requester)
            raise NoSlotError(message, None if full is None else (f"list slots of a {full[0]}", full[1])) from error

    @shielded
    async def _use(self, end: float, requester: Requester, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            with pymongo.timeout(max(end - time.monotonic(), _MIN_SECONDS)):
                return await work()
        finally:
            self._slots.release(requester)


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
