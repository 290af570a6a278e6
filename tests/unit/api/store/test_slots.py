"""Slots that requesters share."""

from __future__ import annotations

import asyncio

import pytest

from gql_api.api.store.slots import FairSlots, current_requester, one_requester


class _Waiting:
    """Requesters that wait for slots, in the order in which they get them."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.turns: list[str] = []

    def ask(self, requester: str, times: int = 1) -> list[asyncio.Task[None]]:
        """Ask for slots."""
        return [asyncio.create_task(self._ask(requester)) for _ in range(times)]

    async def turns_after(self, *released: str) -> str:
        """Return the requesters that have got a slot since the last call, once others have returned theirs."""
        for requester in released:
            self.slots.release(requester)
        for _ in range(10):
            await asyncio.sleep(0)
        turns, self.turns = "".join(self.turns), []
        return turns

    async def _ask(self, requester: str) -> None:
        await self.slots.acquire(requester)
        self.turns.append(requester)


async def test_nobody_takes_all_slots() -> None:
    """A requester has its share at most, and half of the slots are for those without one."""
    waiting = _Waiting(FairSlots(8, share=3))
    asking = waiting.ask("a", 10) + waiting.ask("b", 10) + waiting.ask("c", 10)
    assert await waiting.turns_after() == "aaabc"
    asking += waiting.ask("d")
    assert await waiting.turns_after() == "d"
    assert await waiting.turns_after("a", "a", "a") == "ba"
    assert await waiting.turns_after("d") == ""
    for task in asking:
        task.cancel()


async def test_a_requester_without_a_slot_is_next() -> None:
    """One that holds a slot waits for its next one behind those that hold none, however long it has waited."""
    waiting = _Waiting(FairSlots(2, share=2))
    asking = waiting.ask("a", 9)
    assert await waiting.turns_after() == "a"
    asking += waiting.ask("b", 2) + waiting.ask("c", 2)
    assert await waiting.turns_after() == "b"
    assert await waiting.turns_after("a") == "c"
    assert await waiting.turns_after("b") == "a"
    for task in asking:
        task.cancel()


async def test_a_requester_that_leaves_the_queue_holds_up_nobody() -> None:
    """Its turn goes to the next one, also when it leaves at the moment of its turn."""
    slots = FairSlots(1, share=1)
    waiting = _Waiting(slots)
    slots.take("x")
    leaving, late, *staying = [*waiting.ask("a"), *waiting.ask("b"), *waiting.ask("c")]
    assert await waiting.turns_after() == ""
    leaving.cancel()
    slots.release("x")  # before the coroutine of the one that leaves runs
    late.cancel()  # after its turn
    assert await waiting.turns_after() == "c"
    assert await waiting.turns_after("c") == ""
    assert (slots.waiting, slots.take("y")) == (0, True)
    await asyncio.gather(*staying)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_the_calls_of_a_request_have_one_requester(is_shared: bool) -> None:
    """So have the tasks that it starts; calls outside of all requests have one each."""

    async def ask() -> object:
        return current_requester()

    if is_shared:
        with one_requester():
            first, second = await asyncio.gather(ask(), asyncio.create_task(ask()))
    else:
        first, second = await asyncio.gather(ask(), ask())
    assert (first is second) is is_shared
    assert current_requester() is not first
