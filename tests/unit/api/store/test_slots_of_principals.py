"""The calls of principals that wait for the slots of a limiter."""

from __future__ import annotations

import asyncio

from gql_api.access.principal import ALL_SCOPES, Principal
from gql_api.api.errors import NoSlotError
from gql_api.api.store.limiter import ConcurrencyLimiter
from gql_api.api.store.slots import one_requester

_ALICE, _BOB = Principal("alice", ALL_SCOPES, "acme"), Principal("bob", ALL_SCOPES, "acme")


async def test_a_principal_does_not_fill_the_waiting_room() -> None:
    """Only its own further calls are refused at once; those of another one wait and get a slot."""
    limiter = ConcurrencyLimiter(1, 20, 20, share=1)
    may_end = asyncio.Event()

    def use(principal: Principal) -> asyncio.Task[bool]:
        with one_requester(principal):
            return asyncio.create_task(limiter.use(may_end.wait))

    calls = [use(_ALICE) for _ in range(1100)]
    other = use(_BOB)
    await asyncio.sleep(0)  # the calls begin
    refused = [call for call in calls if call.done()]
    assert len(refused) == 1100 - 1 - 250
    assert all(isinstance(call.exception(), NoSlotError) for call in refused)
    may_end.set()
    assert await other
    await asyncio.gather(*calls, return_exceptions=True)
