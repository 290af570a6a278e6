"""Combine work, reads by id for example: however many callers ask at once, MongoDB receives a few calls."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key")
Value = TypeVar("Value")

_CONCURRENCY = 2
_SLOW_SECONDS = 0.05
_MAX_ITEMS = 500


class Batches(Generic[Item]):
    """Work on items that are combined when they are added in the same tick of the event loop.

    Items that are added while a batch is under way are combined for the next one. One batch at a time is enough,
    because PyMongo takes longer for a call than for its documents. Beside a slow batch a second one begins: the first
    may wait on a dead connection.

    Args:
        work: does the work on some items, in the order in which they were added.
        slow_seconds: the time after which another batch may begin beside one under way.
        concurrency: how many batches may be under way, all but the newest of them slow.
        max_items: how many items a batch has at most.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Coroutine[Any, Any, None]],
        slow_seconds: float = _SLOW_SECONDS,
        *,
        concurrency: int = _CONCURRENCY,
        max_items: int = _MAX_ITEMS,
    ) -> None:
        self._work = work
        self._slow_seconds = slow_seconds
        self._concurrency = concurrency
        self._max_items = max_items
        self._waiting: list[Item] = []
        self._under_way: dict[asyncio.Task[None], bool] = {}  # whether the batch is slow
        self._is_scheduled = False

    def add(self, item: Item) -> None:
        """Add an item to the next batch, which does not need its caller any more."""
        self._waiting.append(item)
        if not self._is_scheduled and self._may_begin():
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _may_begin(self) -> bool:
        return len(self._under_way) < self._concurrency and all(self._under_way.values())

    def _begin(self) -> None:
        self._is_scheduled = False
        if not self._waiting or not self._may_begin():
            return
        batch, self._waiting = self._waiting[: self._max_items], self._waiting[self._max_items :]
        task = asyncio.create_task(self._work(batch))
        self._under_way[task] = False
        timer = asyncio.get_running_loop().call_later(self._slow_seconds, self._begin_beside, task)
        task.add_done_callback(functools.partial(self._end, timer))

    def _begin_beside(self, slow: asyncio.Task[None]) -> None:
        self._under_way[slow] = True
        self._begin()

    def _end(self, timer: asyncio.TimerHandle, task: asyncio.Task[None]) -> None:
        timer.cancel()
        del self._under_way[task]
        self._begin()


class BatchedReads(Generic[Key, Value]):
    """Reads by id, or by another key, that are combined like all :class:`Batches`.

    Nothing is cached: a query begins after the read was requested, so the answer is never older.

    Args:
        read: reads many values, in the order of their ids. An exception among them is raised for its caller.
        slow_seconds: the time after which another query may begin beside a running one.
        concurrency: how many queries may run, all but the newest of them slow.
        max_ids: how many values a query reads at most.
    """

    def __init__(
        self,
        read: Callable[[list[Key]], Awaitable[Sequence[Value | Exception]]],
        slow_seconds: float = _SLOW_SECONDS,
        *,
        concurrency: int = _CONCURRENCY,
        max_ids: int = _MAX_ITEMS,
    ) -> None:
        self._read = read
        self._batches: Batches[tuple[Key, asyncio.Future[Value]]] = Batches(
            self._answer, slow_seconds, concurrency=concurrency, max_items=max_ids
        )

    async def load(self, id_: Key) -> Value:
        """Read one value; raises what its query raised."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._batches.add((id_, future))
        return await future

    async def _answer(self, batch: list[tuple[Key, asyncio.Future[Value]]]) -> None:
        pending = [(id_, future) for id_, future in batch if not future.done()]
        try:
            values = await self._read([id_ for id_, _ in pending])
        except Exception as error:  # noqa: BLE001 - each caller receives it
            values = [error] * len(pending)
        for (_, future), value in zip(pending, values, strict=True):
            settle(future, value)


def settle(future: asyncio.Future[Value], outcome: Value | Exception) -> None:
    """Give an outcome, a value or an error, to the caller that waits for it, unless that has left."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
