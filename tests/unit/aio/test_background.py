"""What runs beside the requests."""

from __future__ import annotations

import asyncio

import pytest

from gql_api.aio.background import to_its_end


async def test_a_call_goes_on_when_nobody_waits_for_it_any_more() -> None:
    """A caller that is cancelled leaves at once; what it asked for comes to its end all the same."""
    begun, let_go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @to_its_end
    async def work() -> None:
        begun.set()
        await let_go.wait()
        ended.set()

    caller = asyncio.create_task(work())
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not ended.is_set()
    let_go.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_caller_that_stays_has_the_outcome() -> None:
    """What the call returns or raises is told as if it had been awaited itself."""

    @to_its_end
    async def divide(one: int, other: int) -> float:
        return one / other

    assert await divide(1, 2) == 0.5
    with pytest.raises(ZeroDivisionError):
        await divide(1, 0)
