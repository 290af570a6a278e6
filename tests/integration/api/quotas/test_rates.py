"""The rates in Redis while it goes away and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from databases import Databases
from limits import RateLimitItemPerSecond
from proxy import Mode, Proxy

from gql_api.api.quotas.rates import SharedRates

_ITEM = RateLimitItemPerSecond(3, 600, "creates")


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def proxy(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy in front of Redis."""
    port = int(databases.redis.url.rpartition(":")[2].partition("/")[0])
    with (tmp_path_factory.mktemp("proxy") / "log").open("wb") as log, Proxy({"redis": port}, log) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def _rates(proxy: Proxy, prefix: str, clock: _Clock) -> AsyncIterator[SharedRates]:
    rates = SharedRates(f"redis://127.0.0.1:{proxy.port('redis')}/0", prefix, clock)
    yield rates
    await rates.close()


async def _take(rates: SharedRates, times: int) -> int:
    return [await rates.take(_ITEM, "alice", cost=1) for _ in range(times)].count(0)


async def _seconds(rates: SharedRates) -> float:
    begun = time.monotonic()
    await _take(rates, 1)
    return time.monotonic() - begun


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG])
async def test_a_process_counts_alone_while_redis_is_away(proxy: Proxy, mode: Mode) -> None:
    """It waits once for a fraction of a second, then leaves Redis alone for a while; then the shared count holds."""
    prefix, clock = f"test-{uuid.uuid4()}", _Clock()
    async with _rates(proxy, prefix, clock) as one, _rates(proxy, prefix, _Clock()) as other:
        assert await _take(one, 2) == 2
        proxy.set("redis", mode)
        begun = time.monotonic()
        assert await _take(one, 5) == 3
        assert time.monotonic() - begun < 2.0
        proxy.set("redis", Mode.OK)
        assert await _take(one, 1) == 0  # by its own count still
        assert await _take(other, 2) <= 1  # a call that hung has counted after all
        clock.now = 10.0
        assert await _take(one, 1) == 0
        assert await one.take(_ITEM, "bob", cost=3) == 0
        assert await other.take(_ITEM, "bob", cost=1) > 0


async def test_a_slow_redis_is_one_that_is_away(proxy: Proxy) -> None:
    """A call does not wait for each of many answers: of a new connection, of a script that Redis does not know."""
    async with _rates(proxy, f"test-{uuid.uuid4()}", _Clock()) as rates:
        proxy.set("redis", Mode.DELAY, seconds=0.1)
        assert await _seconds(rates) < 0.5
        assert await _seconds(rates) < 0.2


async def test_one_call_finds_out_whether_redis_is_back(proxy: Proxy) -> None:
    """All others go by the process's own count meanwhile, without waiting."""
    clock = _Clock()
    async with _rates(proxy, f"test-{uuid.uuid4()}", clock) as rates:
        proxy.set("redis", Mode.HANG)
        await _take(rates, 1)
        assert await _seconds(rates) < 0.2
        clock.now = 10.0
        asking = asyncio.create_task(rates.take(_ITEM, "bob", cost=1))
        await asyncio.sleep(0)
        begun = time.monotonic()
        await asyncio.gather(*(rates.take(_ITEM, str(number), cost=1) for number in range(20)))
        assert not asking.done()
        assert time.monotonic() - begun < 0.2
        assert await asking == 0
        proxy.set("redis", Mode.OK)


async def test_many_calls_at_once_are_counted_together(proxy: Proxy) -> None:
    """They wait for a connection to Redis, which is not away: the quota is that of one count, not of two."""
    prefix = f"test-{uuid.uuid4()}"
    async with _rates(proxy, prefix, _Clock()) as one, _rates(proxy, prefix, _Clock()) as other:
        assert await other.take(_ITEM, "alice", cost=3) == 0
        waits = await asyncio.gather(*(one.take(_ITEM, "alice", cost=1) for _ in range(150)))
        assert waits.count(0) == 0
