"""Slots that requesters share: whoever holds none comes first, and nobody takes them all."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Hashable, Mapping
from contextvars import ContextVar

from gql_api.access.principal import ANONYMOUS, Principal

# The kinds of groups of requesters.
PRINCIPAL = "principal"
TENANT = "tenant"


class Requester:
    """A request, a socket, or a shared execution.

    Args:
        groups: the groups that it belongs to, each with its kind: its principal first, then its tenant.
    """

    __slots__ = ("groups",)

    def __init__(self, *groups: tuple[str, Hashable]) -> None:
        self.groups = groups

    @classmethod
    def of(cls, principal: Principal) -> Requester:
        """Return a requester for a principal; without authentication it belongs to no group."""
        if principal.subject is None:
            return cls()
        own = (PRINCIPAL, (principal.tenant, principal.subject))
        return cls(own) if principal.tenant is None else cls(own, (TENANT, principal.tenant))


class _Call:
    """The current requester, which changes once its principal is known."""

    __slots__ = ("requester",)

    def __init__(self, principal: Principal) -> None:
        self.requester = Requester.of(principal)


_call: ContextVar[_Call | None] = ContextVar("requester of slots", default=None)


class _OneRequester:
    """A block of code with a requester of its own. Every request has one: a generator takes three times as long."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: _Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _call.set(self._call)

    def __exit__(self, *_exc: object) -> None:
        _call.reset(self._token)


def one_requester(principal: Principal = ANONYMOUS) -> contextlib.AbstractContextManager[None]:
    """Let all calls in the block share what one requester may take: a request, a socket, or a shared execution."""
    return _OneRequester(_Call(principal))


def stay_one_requester(principal: Principal) -> None:
    """Let all calls of the current task from now on share what one requester may take."""
    _call.set(_Call(principal))


def identify_requester(principal: Principal) -> None:
    """Set the principal of the current requester, for one that is known later than its socket was opened."""
    if (call := _call.get()) is not None:
        call.requester = Requester.of(principal)


def current_requester() -> Requester:
    """Return the requester of the current call; a call outside of all requests is a requester of its own."""
    call = _call.get()
    return Requester() if call is None else call.requester


class FairSlots:
    """A semaphore whose slots go round among the requesters that wait, first come first served within each.

    A requester that holds a slot gets another one only while it holds fewer than its share, and while half of the slots
    are free: the other half is for requesters that hold none. Of several requesters, the one whose principal holds the
    fewest slots is next, and the last eighth of the slots is for principals that hold none.

    Args:
        count: the number of slots.
        share: how many of them one requester may hold; None for all.
        caps: how many of them a group of each kind may hold; 0 for all.
    """

    def __init__(self, count: int, share: int | None = None, caps: Mapping[str, int] | None = None) -> None:
        self._free = count
        self._share = share
        self._caps = caps or {}
        self._reserved = 0 if share is None else count // 2
        self._reserved_for_principals = 0 if share is None else count // 8
        self._held = Counter[Requester | tuple[str, Hashable]]()
        # In the order of their turns.
        self._queues: dict[Requester, deque[asyncio.Future[None]]] = {}
        self.waiting = 0
        self._waiting = Counter[tuple[str, Hashable]]()

    @property
    def held(self) -> int:
        """The number of requesters, principals and tenants that hold slots."""
        return len(self._held)

    def take(self, requester: Requester) -> bool:
        """Take a slot that is free, and return whether there was one for this requester."""
        if not self._is_due(requester):
            return False
        self._free -= 1
        self._held[requester] += 1
        for group in requester.groups:
            self._held[group] += 1
        return True

    async def acquire(self, requester: Requester) -> None:
        """Wait for a slot and take it."""
        if self.take(requester):
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(requester, deque()).append(turn)
        self._count_waiting(requester, 1)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(requester, turn)
            else:  # its turn has come at the same moment
                self.release(requester)
            raise
        finally:
            self._count_waiting(requester, -1)

    def release(self, requester: Requester) -> None:
        """Return a slot, and give it to the next requester."""
        self._free += 1
        self._count_off(requester)
        for group in requester.groups:
            self._count_off(group)
        if requester in self._queues:
            self._queues[requester] = self._queues.pop(requester)  # behind all others
        while (following := self._next()) is not None:
            turns = self._queues.pop(following)
            turn = turns.popleft()
            if turns:
                self._queues[following] = turns
            if not turn.cancelled():
                self.take(following)
                turn.set_result(None)

    def full_group(self, requester: Requester) -> tuple[str, int] | None:
        """Return the kind and the cap of a group of a requester that holds all that it may."""
        for kind, name in requester.groups:
            cap = self._caps.get(kind, 0)
            if cap and self._held.get((kind, name), 0) >= cap:
                return kind, cap
        return None

    def waiting_of_principal(self, requester: Requester) -> int:
        """Return how many calls of the principal of a requester wait; 0 without one."""
        return self._waiting.get(requester.groups[0], 0) if requester.groups else 0

    def _count_waiting(self, requester: Requester, change: int) -> None:
        self.waiting += change
        for group in requester.groups[:1]:
            self._waiting[group] += change
            if not self._waiting[group]:
                del self._waiting[group]

    def _next(self) -> Requester | None:
        """Return the requester whose turn it is."""
        following, fewest = None, 0
        for requester in self._queues if self._free > 0 else ():
            if not self._is_due(requester):
                continue
            held = self._held_by_principal(requester)
            if not held:
                return requester
            if following is None or held < fewest:
                following, fewest = requester, held
        return following

    def _held_by_principal(self, requester: Requester) -> int:
        return self._held.get(requester.groups[0], 0) if requester.groups else 0

    def _is_due(self, requester: Requester) -> bool:
        if self._free <= 0 or self.full_group(requester) is not None:
            return False
        if self._held_by_principal(requester) and self._free <= self._reserved_for_principals:
            return False
        held = self._held.get(requester, 0)
        if not held or self._share is None:
            return True
        return held < self._share and self._free > self._reserved

    def _count_off(self, holder: Requester | tuple[str, Hashable]) -> None:
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]

    def _leave(self, requester: Requester, turn: asyncio.Future[None]) -> None:
        turns = self._queues.get(requester, deque())
        if turn in turns:  # otherwise its turn came after it was cancelled
            turns.remove(turn)
            if not turns:
                del self._queues[requester]
