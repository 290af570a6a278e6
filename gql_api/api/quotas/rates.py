"""The rate at which principals and tenants create tasks, over all processes; while Redis is away, in each process."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage, SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# A creation waits no longer for Redis, and does not ask it again for a while after it did not answer.
_ANSWER_SECONDS = 0.25
_LOCAL_SECONDS = 5.0
# Calls at once. More would wait for each other longer than for Redis, and redis-py has no more than 100 connections.
_CONCURRENCY = 16
# The client gets its connections from the pool below; `limits` reads nothing but the kind of server here.
_ANY_REDIS = "async+redis://"


class Window(NamedTuple):
    """The counts of two adjoining windows, and the seconds until Redis forgets each of them.

    The current count is forgotten a whole window after the end of its window, during which it is the earlier one.
    """

    earlier: int
    earlier_seconds: float
    current: int
    current_seconds: float


def seconds_until(window: Window, cost: int, maximum: int, length: float) -> int:
    """Return the whole seconds after which a call of a cost has room, if no other call takes it; 1 at least.

    The earlier window counts in proportion to its part that the sliding window still covers.
    """
    room = maximum - cost + 1
    if window.current < room:
        left = length * (room - window.current) / max(window.earlier, 1)
        seconds = window.earlier_seconds - left
    else:
        seconds = window.current_seconds - length * room / max(window.current, 1)
    return max(1, math.floor(seconds) + 1)


class SharedRates:
    """A limiter of rates in Redis, and one of this process's own while Redis does not answer.

    Args:
        redis_url: the address of Redis.
        prefix: the beginning of the keys.
        clock: returns the time by which Redis is left alone, in seconds.
    """

    def __init__(self, redis_url: str, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool: ConnectionPool = ConnectionPool.from_url(
            redis_url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
        )
        shared = RedisStorage(
            _ANY_REDIS, implementation="redispy", key_prefix=prefix, connection_pool=cast("Any", self._pool)
        )
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._clock = clock
        self._turns = asyncio.Semaphore(_CONCURRENCY)
        self._is_away = False
        self._asks_from = -math.inf

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def take(self, item: RateLimitItemPerSecond, *identifiers: str, cost: int) -> int:
        """Take a cost from what is left of a rate.

        Returns:
            0, or the seconds after which to try again if not enough is left.
        """
        if self._clock() >= self._asks_from:
            async with self._turns:
                wait_seconds = await self._take_shared(item, identifiers, cost)
            if wait_seconds is not None:
                return wait_seconds
        return await _take(self._local, item, identifiers, cost)

    async def _take_shared(self, item: RateLimitItemPerSecond, identifiers: Sequence[str], cost: int) -> int | None:
        """Do the same in Redis; return None if it does not answer."""
        if self._clock() < self._asks_from:  # it did not answer a call before this one
            return None
        if self._is_away:
            self._leave_alone()  # one call finds out for all whether Redis is back
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                wait_seconds = await _take(self._shared, item, identifiers, cost)
        except (RedisError, OSError) as error:
            if not self._is_away:
                logger.warning("Redis does not answer, this process limits the rate of creations alone: %r", error)
            self._is_away = True
            self._leave_alone()
            return None
        self._is_away = False
        self._asks_from = -math.inf
        return wait_seconds

    def _leave_alone(self) -> None:
        self._asks_from = self._clock() + _LOCAL_SECONDS


async def _take(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerSecond, identifiers: Sequence[str], cost: int
) -> int:
    if await limiter.hit(item, *identifiers, cost=cost):
        return 0
    storage = cast("SlidingWindowCounterSupport", limiter.storage)
    window = Window(*await storage.get_sliding_window(item.key_for(*identifiers), item.get_expiry()))
    return seconds_until(window, cost, item.amount, item.get_expiry())
