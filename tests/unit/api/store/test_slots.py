"""Slots that requesters share."""

from __future__ import annotations

import asyncio

import pytest

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal
from gql_api.api.store.slots import (
    PRINCIPAL,
    TENANT,
    FairSlots,
    Requester,
    current_requester,
    identify_requester,
    one_requester,
)


class _Waiting:
    """Requesters that wait for slots, in the order in which they get them."""

    def __init__(self, slots: FairSlots, **requesters: Requester) -> None:
        self.slots = slots
        self.turns: list[str] = []
        self._requesters = requesters

    def ask(self, requester: str, times: int = 1) -> list[asyncio.Task[None]]:
        """Ask for slots."""
        return [asyncio.create_task(self._ask(requester)) for _ in range(times)]

    async def turns_after(self, *released: str) -> str:
        """Return the requesters that have got a slot since the last call, once others have returned theirs."""
        for requester in released:
            self.slots.release(self.of(requester))
        for _ in range(10):
            await asyncio.sleep(0)
        turns, self.turns = "".join(self.turns), []
        return turns

    def of(self, name: str) -> Requester:
        """Return the requester with a name, by default one without a principal."""
        return self._requesters.setdefault(name, Requester())

    async def _ask(self, requester: str) -> None:
        await self.slots.acquire(self.of(requester))
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
    slots.take(waiting.of("x"))
    leaving, late, *staying = [*waiting.ask("a"), *waiting.ask("b"), *waiting.ask("c")]
    assert await waiting.turns_after() == ""
    leaving.cancel()
    slots.release(waiting.of("x"))  # before the coroutine of the one that leaves runs
    late.cancel()  # after its turn
    assert await waiting.turns_after() == "c"
    assert await waiting.turns_after("c") == ""
    assert (slots.waiting, slots.take(waiting.of("y"))) == (0, True)
    await asyncio.gather(*staying)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_the_calls_of_a_request_have_one_requester(is_shared: bool) -> None:
    """So have the tasks that it starts; calls outside of all requests have one each."""

    async def ask() -> Requester:
        return current_requester()

    if is_shared:
        with one_requester():
            first, second = await asyncio.gather(ask(), asyncio.create_task(ask()))
    else:
        first, second = await asyncio.gather(ask(), ask())
    assert (first is second) is is_shared
    assert current_requester() is not first


_ALICE, _BOB = Principal("alice", ALL_SCOPES, "acme"), Principal("bob", ALL_SCOPES, "acme")
_CAROL = Principal("carol", ALL_SCOPES, "umbrella")


def _requests(**principals: Principal) -> dict[str, Requester]:
    """Return a request of each principal, by a letter."""
    return {letter: Requester.of(principal) for letter, principal in principals.items()}


async def test_the_requests_of_a_principal_do_not_keep_others_waiting() -> None:
    """Its requests may not take the last slots, and a principal that holds fewer is next, whenever it came."""
    waiting = _Waiting(FairSlots(8, share=3), **_requests(**dict.fromkeys("abcdefgh", _ALICE), x=_BOB, y=_BOB, z=_BOB))
    asking = [task for letter in "abcdefgh" for task in waiting.ask(letter)]
    assert await waiting.turns_after() == "abcdefg"
    asking += [task for letter in "xyz" for task in waiting.ask(letter)]
    assert await waiting.turns_after() == "x"
    assert await waiting.turns_after("a") == ""  # the last one is for a principal without any
    assert await waiting.turns_after("b", "c") == "yz"
    assert await waiting.turns_after("d", "e") == "h"
    for task in asking:
        task.cancel()


async def test_a_principal_and_a_tenant_hold_no_more_slots_than_their_quotas() -> None:
    """Slots stay free then, and other tenants get them."""
    caps = {PRINCIPAL: 2, TENANT: 3}
    requesters = _requests(a=_ALICE, b=_ALICE, c=_ALICE, d=_BOB, e=_BOB, x=_CAROL)
    waiting = _Waiting(FairSlots(16, share=3, caps=caps), **requesters)
    asking = [task for letter in "abcde" for task in waiting.ask(letter)]
    assert await waiting.turns_after() == "abd"
    asking += waiting.ask("x")
    assert await waiting.turns_after() == "x"
    assert waiting.slots.full_group(waiting.of("c")) == (PRINCIPAL, 2)
    assert waiting.slots.full_group(waiting.of("e")) == (TENANT, 3)
    assert waiting.slots.full_group(waiting.of("x")) is None
    assert await waiting.turns_after("a") == "c"
    assert await waiting.turns_after("b") == "e"
    for task in asking:
        task.cancel()


async def test_slots_that_are_returned_leave_nothing_behind() -> None:
    """Nothing is kept of principals and requests that hold no slot."""
    slots = FairSlots(2, share=2, caps={PRINCIPAL: 1, TENANT: 2})
    for _ in range(3):
        requesters = [Requester.of(principal) for principal in (_ALICE, _ALICE, _BOB, _CAROL)]
        asking = [asyncio.create_task(slots.acquire(requester)) for requester in requesters]
        await asyncio.sleep(0)
        asking[1].cancel()
        for task, requester in zip(asking, requesters, strict=True):
            if (await asyncio.gather(task, return_exceptions=True))[0] is None:
                slots.release(requester)
    assert (slots.waiting, slots.held) == (0, 0)


async def test_a_requester_is_identified_later_than_its_socket_is_opened() -> None:
    """From then on, calls in all tasks of the socket are those of its principal."""
    with one_requester():
        identified = asyncio.Event()

        async def groups() -> object:
            await identified.wait()
            return current_requester().groups

        running = asyncio.create_task(groups())
        assert current_requester().groups == ()
        identify_requester(_CAROL)
        identified.set()
        assert await running == ((PRINCIPAL, ("umbrella", "carol")), (TENANT, "umbrella"))
    identify_requester(_CAROL)  # outside of all requests
    assert current_requester().groups == Requester.of(ANONYMOUS).groups == ()
