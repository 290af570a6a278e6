"""So many calls at a time, the others in their order."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import WaitQueueTimeoutError

from gql_api.api.store.limiter import ConcurrencyLimiter
from gql_api.outage import is_outage


class _Calls:
    """Calls that record when they begin, and end when the test ends them."""

    def __init__(self, count: int, wait_seconds: float = 60) -> None:
        self.limiter = ConcurrencyLimiter(count, wait_seconds, 60)
        self.begun: list[str] = []
        self._may_end: dict[str, asyncio.Event] = {}

    def make(self, name: str) -> asyncio.Task[str]:
        """Make one."""
        return asyncio.create_task(self.limiter.use(self._call, name))

    def let_end(self, name: str) -> None:
        """Let one end that has begun."""
        self._may_end[name].set()

    async def end(self, name: str) -> None:
        """Wait for it too, and for those that begin then."""
        self.let_end(name)
        await self.turns()

    async def turns(self, count: int = 10) -> None:
        """Let the event loop turn: until whatever is ready has run, or less often."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned

    async def _call(self, name: str) -> str:
        self.begun.append(name)
        self._may_end[name] = asyncio.Event()
        await self._may_end[name].wait()
        return f"{name} is done"


async def test_so_many_run_at_a_time_and_the_others_in_their_order() -> None:
    """Each end lets the one through that has waited longest, also where somebody new asks at that moment."""
    calls = _Calls(2)
    tasks = [calls.make(name) for name in "abcd"]
    await calls.turns()
    assert calls.begun == ["a", "b"]
    calls.let_end("b")
    tasks.append(calls.make("e"))
    await calls.turns()
    assert calls.begun == ["a", "b", "c"]
    for name in "acde":
        await calls.end(name)
    assert calls.begun == ["a", "b", "c", "d", "e"]
    assert await asyncio.gather(*tasks) == [f"{name} is done" for name in "abcde"]


async def test_who_waits_too_long_is_told_and_holds_up_nobody() -> None:
    """It is an outage, as if MongoDB did not answer; who comes later has a turn."""
    calls = _Calls(1, wait_seconds=0.05)
    calls.make("a")
    late = calls.make("b")
    with pytest.raises(WaitQueueTimeoutError) as raised:
        await late
    assert is_outage(raised.value)
    await calls.end("a")
    calls.make("c")
    await calls.turns()
    assert calls.begun == ["a", "c"]
    await calls.end("c")


async def test_who_is_cancelled_while_waiting_leaves_the_queue() -> None:
    """It has no turn, and the next one has."""
    calls = _Calls(1)
    calls.make("a")
    leaving, staying = calls.make("b"), calls.make("c")
    await calls.turns()
    leaving.cancel()
    await calls.end("a")
    assert calls.begun == ["a", "c"]
    await calls.end("c")
    assert await staying == "c is done"


@pytest.mark.parametrize("turns", range(6))
async def test_no_slot_is_lost_when_a_turn_and_a_cancellation_meet(turns: int) -> None:
    """A call that is cancelled just when its slot is free uses the slot, or leaves it to the next call."""
    calls = _Calls(1)
    calls.make("a")
    leaving, staying = calls.make("b"), calls.make("c")
    await calls.turns()
    calls.let_end("a")
    await calls.turns(turns)
    leaving.cancel()
    await calls.turns()
    if "b" in calls.begun:
        await calls.end("b")
    await calls.end("c")
    assert await staying == "c is done"


async def test_a_call_that_nobody_waits_for_keeps_its_slot_to_its_end() -> None:
    """MongoDB is still busy with it, however many come and are cancelled."""
    calls = _Calls(1)
    for name in "abc":
        task = calls.make(name)
        await calls.turns()
        task.cancel()
        await calls.turns()
    calls.make("d")
    await calls.turns()
    assert calls.begun == ["a"]
    await calls.end("a")
    assert calls.begun == ["a", "d"]
    await calls.end("d")


async def test_a_call_that_fails_gives_its_slot_back() -> None:
    """The caller receives the error of its call."""
    slots = ConcurrencyLimiter(1, 60, 60)

    async def fail() -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await slots.use(fail)
