"""Share reads: equal ones that are requested while one of them waits to begin become one."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Caller = TypeVar("Caller")
Value = TypeVar("Value")

_SLOW_SECONDS = 0.05


class _Shared(Generic[Caller, Value]):
    """A read with its callers, in the context of the first of them."""

    def __init__(self) -> None:
        self.callers: dict[asyncio.Future[Value], Caller] = {}
        self.context = contextvars.copy_context()
        self.timer: asyncio.Handle | None = None
        self.task: asyncio.Task[None] | None = None


class SharedReads(Generic[Key, Caller, Value]):
    """Reads of which equal ones, those with the same key, are shared by all who request them before they begin.

    A read begins at the end of the tick of the event loop in which it was requested; if an equal one is under way, at
    its end, or beside it when that has taken long. Nothing is cached: a read begins after all its callers have
    requested it, so no answer is older than its request. A read is cancelled when all its callers are.

    Args:
        read: reads the value of a key for some callers, in the context of the first.
        slow_seconds: the longest time that a read waits for an equal one.
    """

    def __init__(
        self, read: Callable[[Key, Sequence[Caller]], Awaitable[Value]], slow_seconds: float = _SLOW_SECONDS
    ) -> None:
        self._read = read
        self._slow_seconds = slow_seconds
        self._waiting: dict[Key, _Shared[Caller, Value]] = {}
        self._under_way: dict[Key, _Shared[Caller, Value]] = {}

    async def load(self, key: Key, caller: Caller) -> Value:
        """Read a value; raises what the read raised."""
        shared = self._waiting.get(key)
        if shared is None:
            shared = self._waiting[key] = self._scheduled(key)
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        shared.callers[future] = caller
        try:
            return await future
        except asyncio.CancelledError:
            self._leave(key, shared, future)
            raise

    def _scheduled(self, key: Key) -> _Shared[Caller, Value]:
        loop, shared = asyncio.get_running_loop(), _Shared[Caller, Value]()
        if key in self._under_way:
            shared.timer = loop.call_later(self._slow_seconds, self._begin, key)
        else:
            shared.timer = loop.call_soon(self._begin, key)
        return shared

    def _begin(self, key: Key) -> None:
        shared = self._waiting.pop(key)
        if shared.timer is not None:
            shared.timer.cancel()
        self._under_way[key] = shared
        shared.task = asyncio.get_running_loop().create_task(self._answer(key, shared), context=shared.context)
        shared.task.add_done_callback(lambda _: self._end(key, shared))

    def _end(self, key: Key, shared: _Shared[Caller, Value]) -> None:
        for future in shared.callers:  # of a read that was cancelled
            future.cancel()
        if self._under_way.get(key) is shared:
            del self._under_way[key]
            if key in self._waiting:
                self._begin(key)

    def _leave(self, key: Key, shared: _Shared[Caller, Value], future: asyncio.Future[Value]) -> None:
        shared.callers.pop(future, None)
        if shared.callers:
            return
        if shared.task is not None:
            shared.task.cancel()
        elif self._waiting.get(key) is shared:
            del self._waiting[key]
            if shared.timer is not None:
                shared.timer.cancel()

    async def _answer(self, key: Key, shared: _Shared[Caller, Value]) -> None:
        try:
            value = await self._read(key, [*shared.callers.values()])
        except Exception as error:  # noqa: BLE001 - each caller receives it
            for future in shared.callers:
                if not future.done():
                    future.set_exception(error)
        else:
            for future in shared.callers:
                if not future.done():
                    future.set_result(value)
