"""An event and a queue like those of asyncio, whose deques take 4 KiB for each socket of thousands."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class CompactEvent:
    """A flag that coroutines can wait for."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._is_set

    def set(self) -> None:
        """Set the flag, and wake all coroutines that wait for it."""
        self._is_set = True
        for future in self._waiting or ():
            _wake(future)

    def clear(self) -> None:
        """Reset the flag."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until the flag is set."""
        while not self._is_set:
            future = asyncio.get_running_loop().create_future()
            waiting = self._waiting = self._waiting or set()
            waiting.add(future)
            try:
                await future
            finally:
                waiting.remove(future)
                if not self._waiting:
                    self._waiting = None


class CompactQueue(Generic[Item]):
    """A queue without a bound, from which one coroutine at a time may take items."""

    __slots__ = ("_items", "_waiting")

    def __init__(self) -> None:
        # None while there are no items.
        self._items: deque[Item] | None = None
        self._waiting: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        """Return True while the queue has no items."""
        return self._items is None

    def put_nowait(self, item: Item) -> None:
        """Add an item."""
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        if self._waiting is not None:
            _wake(self._waiting)

    async def get(self) -> Item:
        """Wait for an item, and take it."""
        while self._items is None:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        item = self._items.popleft()
        if not self._items:
            self._items = None
        return item


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():  # a coroutine that has just been cancelled has ended it
        future.set_result(None)
