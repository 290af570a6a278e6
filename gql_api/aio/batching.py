"""Reads by id, gathered: however many ask at once, MongoDB sees a few queries."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")

_CONCURRENCY = 2
_LONG_SECONDS = 0.05
_MAX_IDS = 500


class BatchedReads(Generic[Value]):
    """Gathers reads that are asked for within a turn of the event loop, or while others are under way.

    Nothing is kept: a read begins after it was asked for, so that it is never older. One query at a time is enough, for
    PyMongo takes longer for a query than for its documents. Beside one that takes long a second one begins: the first
    may wait on a connection that is dead.

    Args:
        read: reads many, in the order of their ids.
        long_seconds: after which another query may begin beside one.
    """

    def __init__(
        self, read: Callable[[list[str]], Awaitable[Sequence[Value]]], long_seconds: float = _LONG_SECONDS
    ) -> None:
        self._read = read
        self._long_seconds = long_seconds
        self._waiting: list[tuple[str, asyncio.Future[Value]]] = []
        self._under_way: dict[asyncio.Task[None], bool] = {}  # whether it takes long
        self._is_scheduled = False

    async def load(self, id_: str) -> Value:
        """Read one; raises what the query that it was part of raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        self._waiting.append((id_, future))
        if not self._is_scheduled and self._may_begin():
            self._is_scheduled = True
            loop.call_soon(self._begin)
        return await future

    def _may_begin(self) -> bool:
        return len(self._under_way) < _CONCURRENCY and all(self._under_way.values())

    def _begin(self) -> None:
        self._is_scheduled = False
        if not self._waiting or not self._may_begin():
            return
        batch, self._waiting = self._waiting[:_MAX_IDS], self._waiting[_MAX_IDS:]
        task = asyncio.create_task(self._answer(batch))
        self._under_way[task] = False
        timer = asyncio.get_running_loop().call_later(self._long_seconds, self._go_on_beside, task)
        task.add_done_callback(functools.partial(self._end, timer))

    def _go_on_beside(self, task: asyncio.Task[None]) -> None:
        self._under_way[task] = True
        self._begin()

    def _end(self, timer: asyncio.TimerHandle, task: asyncio.Task[None]) -> None:
        timer.cancel()
        del self._under_way[task]
        self._begin()

    async def _answer(self, batch: list[tuple[str, asyncio.Future[Value]]]) -> None:
        wanted = [(id_, future) for id_, future in batch if not future.done()]
        try:
            values = await self._read([id_ for id_, _ in wanted])
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), value in zip(wanted, values, strict=True):
                if not future.done():
                    future.set_result(value)
