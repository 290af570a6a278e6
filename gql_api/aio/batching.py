"""Combine reads by id: however many callers ask at once, MongoDB receives a few queries."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_CONCURRENCY = 2
_SLOW_SECONDS = 0.05
_MAX_IDS = 500


class BatchedReads(Generic[Key, Value]):
    """Reads by id, or by another key, combined when they are requested in the same tick of the event loop.

    Reads that are requested during a query are combined for the next one.

    Nothing is cached: a query begins after the read was requested, so the answer is never older. One query at a time is
    enough, because PyMongo takes longer for a query than for its documents. Beside a slow query a second one begins:
    the first may wait on a dead connection.

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
        max_ids: int = _MAX_IDS,
    ) -> None:
        self._read = read
        self._slow_seconds = slow_seconds
        self._concurrency = concurrency
        self._max_ids = max_ids
        self._waiting: list[tuple[Key, asyncio.Future[Value]]] = []
        self._under_way: dict[asyncio.Task[None], bool] = {}  # whether the query is slow
        self._is_scheduled = False

    async def load(self, id_: Key) -> Value:
        """Read one value; raises what its query raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        self._waiting.append((id_, future))
        if not self._is_scheduled and self._may_begin():
            self._is_scheduled = True
            loop.call_soon(self._begin)
        return await future

    def _may_begin(self) -> bool:
        return len(self._under_way) < self._concurrency and all(self._under_way.values())

    def _begin(self) -> None:
        self._is_scheduled = False
        if not self._waiting or not self._may_begin():
            return
        batch, self._waiting = self._waiting[: self._max_ids], self._waiting[self._max_ids :]
        task = asyncio.create_task(self._answer(batch))
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

    async def _answer(self, batch: list[tuple[Key, asyncio.Future[Value]]]) -> None:
        pending = [(id_, future) for id_, future in batch if not future.done()]
        try:
            values = await self._read([id_ for id_, _ in pending])
        except Exception as error:  # noqa: BLE001 - each caller receives it
            for _, future in pending:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), value in zip(pending, values, strict=True):
                if future.done():
                    continue
                if isinstance(value, Exception):
                    future.set_exception(value)
                else:
                    future.set_result(value)
