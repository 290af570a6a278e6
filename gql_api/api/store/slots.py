"""Slots that requesters share: whoever holds none comes first, and nobody takes them all."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from contextvars import ContextVar

_requester: ContextVar[object] = ContextVar("requester of slots", default=None)


@contextlib.contextmanager
def one_requester() -> Iterator[None]:
    """Let all calls in the block share what one requester may take: a request, a socket, or a shared execution."""
    token = _requester.set(object())
    try:
        yield
    finally:
        _requester.reset(token)


def current_requester() -> object:
    """Return the requester of the current call; a call outside of all requests is a requester of its own."""
    return _requester.get() or object()


class FairSlots:
    """A semaphore whose slots go round among the requesters that wait, first come first served within each.

    A requester that holds a slot gets another one only while it holds fewer than its share, and while half of the slots
    are free: the other half is for requesters that hold none.

    Args:
        count: the number of slots.
        share: how many of them one requester may hold; None for all.
    """

    def __init__(self, count: int, share: int | None = None) -> None:
        self._free = count
        self._share = share
        self._reserved = 0 if share is None else count // 2
        self._held = Counter[object]()
        # In the order of their turns.
        self._queues: dict[object, deque[asyncio.Future[None]]] = {}
        self.waiting = 0

    def take(self, requester: object) -> bool:
        """Take a slot that is free, and return whether there was one for this requester."""
        if not self._is_due(requester):
            return False
        self._free -= 1
        self._held[requester] += 1
        return True

    async def acquire(self, requester: object) -> None:
        """Wait for a slot and take it."""
        if self.take(requester):
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(requester, deque()).append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(requester, turn)
            else:  # its turn has come at the same moment
                self.release(requester)
            raise
        finally:
            self.waiting -= 1

    def release(self, requester: object) -> None:
        """Return a slot, and give it to the next requester."""
        self._free += 1
        self._held[requester] -= 1
        if not self._held[requester]:
            del self._held[requester]
        if requester in self._queues:
            self._queues[requester] = self._queues.pop(requester)  # behind all others
        while (following := next(filter(self._is_due, self._queues), None)) is not None:
            turns = self._queues.pop(following)
            turn = turns.popleft()
            if turns:
                self._queues[following] = turns
            if not turn.cancelled():
                self.take(following)
                turn.set_result(None)

    def _is_due(self, requester: object) -> bool:
        held = self._held.get(requester, 0)
        if not held or self._share is None:
            return self._free > 0
        return held < self._share and self._free > self._reserved

    def _leave(self, requester: object, turn: asyncio.Future[None]) -> None:
        turns = self._queues.get(requester, deque())
        if turn in turns:  # otherwise its turn came after it was cancelled
            turns.remove(turn)
            if not turns:
                del self._queues[requester]
