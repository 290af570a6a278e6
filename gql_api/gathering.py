"""Reads by id, gathered: however many ask at once, MongoDB sees a few queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")

_AT_ONCE = 2
_MOST_IDS = 500


class GatheredReads(Generic[Value]):
    """Gathers reads that are asked for within a turn of the event loop, or while others are under way.

    Nothing is kept: a read begins after it was asked for, so that it is never older.

    Args:
        read: reads many, in the order of their ids.
    """

    def __init__(self, read: Callable[[list[str]], Awaitable[Sequence[Value]]]) -> None:
        self._read = read
        self._waiting: list[tuple[str, asyncio.Future[Value]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    async def load(self, id_: str) -> Value:
        """Read one; raises what the query that it was part of raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        self._waiting.append((id_, future))
        if not self._is_scheduled and len(self._under_way) < _AT_ONCE:
            self._is_scheduled = True
            loop.call_soon(self._begin)
        return await future

    def _begin(self) -> None:
        self._is_scheduled = False
        while self._waiting and len(self._under_way) < _AT_ONCE:
            batch, self._waiting = self._waiting[:_MOST_IDS], self._waiting[_MOST_IDS:]
            task = asyncio.create_task(self._answer(batch))
            self._under_way.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
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
