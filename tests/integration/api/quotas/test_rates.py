"""The rates in Redis while it goes away and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from databases import Databases
from limits import RateLimitItemPerSecond
from proxy import Mode, Proxy

from gql_api.api.quotas.rates import SharedRates

_ITEM = RateLimitItemPerSecond(3, 600, "creates")
# A Redis that answers does so in the end, however loaded the machine is.
_PATIENT, _IMPATIENT = 3600.0, 0.25

SetAnswerSeconds: TypeAlias = Callable[[float], None]


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def answers_within(monkeypatch: pytest.MonkeyPatch) -> SetAnswerSeconds:
    """Set how long a call waits for Redis; at first, and for the sockets throughout, as long as it takes."""

    def set_(seconds: float) -> None:
        monkeypatch.setattr("gql_api.api.quotas.rates._ANSWER_SECONDS", seconds)

    set_(_PATIENT)
    return set_


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


def _asking(rates: SharedRates, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note who asks Redis from now on. Only these wait, which the time of a call would not show on a loaded machine."""
    asking: list[str] = []
    hit = rates._shared.hit  # noqa: SLF001 - as above

    async def noting(item: Any, *identifiers: str, cost: int) -> bool:
        asking.extend(identifiers)
        return await hit(item, *identifiers, cost=cost)

    monkeypatch.setattr(rates._shared, "hit", noting)  # noqa: SLF001 - as above
    return asking


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG])
async def test_a_process_counts_alone_while_redis_is_away(
    proxy: Proxy, mode: Mode, answers_within: SetAnswerSeconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits once for a fraction of a second, then leaves Redis alone for a while; then the shared count holds."""
    prefix, clock = f"test-{uuid.uuid4()}", _Clock()
    async with _rates(proxy, prefix, clock) as one, _rates(proxy, prefix, _Clock()) as other:
        assert await _take(one, 2) == 2
        asking = _asking(one, monkeypatch)
        answers_within(_IMPATIENT)
        proxy.set("redis", mode)
        assert await _take(one, 5) == 3
        assert asking == ["alice"]
        answers_within(_PATIENT)
        proxy.set("redis", Mode.OK)
        assert await _take(one, 1) == 0  # by its own count still
        assert await _take(other, 2) <= 1  # a call that hung has counted after all
        clock.now = 10.0
        assert await _take(one, 1) == 0
        assert await one.take(_ITEM, "bob", cost=3) == 0
        assert await other.take(_ITEM, "bob", cost=1) > 0


async def test_a_slow_redis_is_one_that_is_away(
    proxy: Proxy, answers_within: SetAnswerSeconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call does not wait for each of many answers: of a new connection, of a script that Redis does not know."""
    async with _rates(proxy, f"test-{uuid.uuid4()}", _Clock()) as rates:
        answers_within(_IMPATIENT)
        asking = _asking(rates, monkeypatch)
        # Each answer comes in time, 0.1 s there and back, but not all of them together.
        proxy.set("redis", Mode.DELAY, seconds=0.1)
        await _take(rates, 2)
        assert asking == ["alice"], "the second call knows that Redis is away"


async def test_one_call_finds_out_whether_redis_is_back(
    proxy: Proxy, answers_within: SetAnswerSeconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others go by the process's own count meanwhile, without waiting."""
    clock = _Clock()
    async with _rates(proxy, f"test-{uuid.uuid4()}", clock) as rates:
        answers_within(_IMPATIENT)
        asking = _asking(rates, monkeypatch)
        proxy.set("redis", Mode.HANG)
        await _take(rates, 2)
        assert asking == ["alice"]
        clock.now = 10.0
        answers_within(_PATIENT)
        bobs = asyncio.create_task(rates.take(_ITEM, "bob", cost=1))
        await asyncio.sleep(0)
        await asyncio.gather(*(rates.take(_ITEM, str(number), cost=1) for number in range(20)))
        assert not bobs.done()
        assert asking == ["alice", "bob"]
        proxy.set("redis", Mode.OK)
        assert await bobs == 0


async def test_many_calls_at_once_are_counted_together(proxy: Proxy) -> None:
    """They wait for a connection to Redis, which is not away: the quota is that of one count, not of two."""
    prefix = f"test-{uuid.uuid4()}"
    async with _rates(proxy, prefix, _Clock()) as one, _rates(proxy, prefix, _Clock()) as other:
        assert await other.take(_ITEM, "alice", cost=3) == 0
        waits = await asyncio.gather(*(one.take(_ITEM, "alice", cost=1) for _ in range(150)))
        assert waits.count(0) == 0
