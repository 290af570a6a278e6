"""The load of a run: clients that create tasks of every kind, cancel, change and delete them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from chaos_calls import Calls
from chaos_client import RefusedError

_STORIES_PER_SECOND = 4.0
# The load pauses while so many tasks are unfinished, so that it can be worked off.
_MAX_UNFINISHED = 120
_WATCHED_SHARE = 0.5
_RECENT = 30
_BURST = 40
# The options of a task that is to be cancelled before it starts.
_FAR_SECONDS = 3600.0
_FAR: dict[str, Any] = {"delaySeconds": _FAR_SECONDS, "metadata": {"far": True}}


@dataclass
class Load:
    """The clients.

    Args:
        watch: lets a watcher follow a task.
        unfinished: counts the tasks that have not ended.
    """

    calls: Calls
    chance: random.Random
    watch: Callable[[str], None]
    unfinished: Callable[[], int]
    stories: int = 0
    _recent: list[str] = field(default_factory=list)

    async def run(self, over: asyncio.Event) -> None:
        """Begin stories until ``over`` is set, and return when the last one has come to its end."""
        kinds: dict[Callable[[], Awaitable[object]], int] = {
            self._instant: 8,
            self._burst: 1,
            self._long: 4,
            self._failing: 3,
            self._retrying: 4,
            self._retrying_later: 4,
            self._replaced: 4,
            self._chain: 2,
            self._group: 2,
            self._chord: 2,
            self._children: 2,
            self._scheduled: 3,
            self._expiring: 2,
            self._keyed: 4,
            self._cancel_waiting: 2,
            self._cancel_running: 3,
            self._cancel_forced: 2,
            self._cancel_cascade: 1,
            self._cancel_batch: 1,
            self._edit: 5,
            self._delete: 2,
        }
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                await asyncio.sleep(self.chance.expovariate(_STORIES_PER_SECOND))
                if self.unfinished() < _MAX_UNFINISHED:
                    (story,) = self.chance.choices(list(kinds), list(kinds.values()))
                    group.create_task(self._tell(story))
        # Those whose creation was not acknowledged were not cancelled.
        await self._tell(self.calls.cancel_far)

    async def _tell(self, story: Callable[[], Awaitable[object]]) -> None:
        self.stories += 1
        # The client keeps what it was refused.
        with contextlib.suppress(RefusedError):
            await story()

    def _follow(self, task_id: str | None) -> None:
        """Let some tasks be watched, and keep the latest ones for changes of their metadata."""
        if task_id is None:
            return
        self._recent = [*self._recent, task_id][-_RECENT:]
        if self.chance.random() < _WATCHED_SHARE:
            self.watch(task_id)

    async def _instant(self) -> None:
        kwargs = {"value": self.chance.random(), "effects": self.chance.randrange(3), "lines": self.chance.randrange(3)}
        self._follow(await self.calls.create("work", kwargs, priority=self.chance.choice([0, 0, 5])))

    async def _burst(self) -> None:
        await self.calls.create_many("work", [{"value": n, "effects": n % 2} for n in range(_BURST)])

    async def _long(self) -> None:
        steps = self.chance.randint(1, 5)
        kwargs = {"seconds": self.chance.uniform(1, 5), "value": self.chance.random(), "effects": steps, "lines": steps}
        self._follow(await self.calls.create("work", kwargs))

    async def _failing(self) -> None:
        self._follow(await self.calls.create("work", {"seconds": self.chance.random(), "effects": 1, "fail": True}))

    async def _retrying(self) -> None:
        times = self.chance.choice([1, 2, 3, 5, 20])
        self._follow(await self.calls.create("retrying", {"times": times, "countdown": 0.0}))

    async def _retrying_later(self) -> None:
        kwargs = {"times": self.chance.randint(1, 3), "countdown": self.chance.uniform(0.3, 3.0)}
        self._follow(await self.calls.create("retrying", kwargs))

    async def _replaced(self) -> None:
        kwargs = {"seconds": self.chance.random(), "value": self.chance.randrange(1000)}
        self._follow(await self.calls.create("replaced", kwargs))

    async def _chain(self) -> None:
        task_id = await self.calls.create("start_chain", {"seconds": self.chance.random()})
        self._follow(task_id)
        if task_id is not None and self.chance.random() < 1 / 3:
            task = await self.calls.finished(task_id)
            await self.calls.delete(list((task["result"] or {}).get("sent", {}))[1:2])

    async def _group(self) -> None:
        kwargs = {"members": self.chance.randint(2, 5), "seconds": self.chance.random()}
        self._follow(await self.calls.create("start_group", kwargs))

    async def _chord(self) -> None:
        kwargs = {"members": self.chance.randint(2, 5), "seconds": self.chance.random()}
        self._follow(await self.calls.create("start_chord", kwargs))

    async def _children(self) -> None:
        kwargs = {"seconds": self.chance.random(), "countdown": self.chance.uniform(0.5, 3.0), "expires": _FAR_SECONDS}
        self._follow(await self.calls.create("start_children", kwargs))

    async def _scheduled(self) -> None:
        delay = self.chance.uniform(0.5, 5.0)
        self._follow(await self.calls.create("work", {"value": self.chance.random()}, delaySeconds=delay))

    async def _expiring(self) -> None:
        expires = self.chance.uniform(0.2, 4.0)
        self._follow(await self.calls.create("work", {"value": self.chance.random()}, expiresInSeconds=expires))

    async def _keyed(self) -> None:
        for task_id in await self.calls.create_on_all("work", {"value": self.chance.random()}):
            self._follow(task_id)

    async def _cancel_waiting(self) -> None:
        task_id = await self.calls.create("work", {}, **_FAR)
        self._follow(task_id)
        await self.calls.cancel(task_id)

    async def _cancel_running(self) -> None:
        await self._cancel_soon(await self.calls.create("until_cancelled", {"seconds": 10.0}), force=False)

    async def _cancel_forced(self) -> None:
        kwargs = {"seconds": self.chance.uniform(4, 6), "effects": 3}
        await self._cancel_soon(await self.calls.create("work", kwargs), force=True)

    async def _cancel_soon(self, task_id: str | None, *, force: bool) -> None:
        self._follow(task_id)
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await self.calls.cancel(task_id, force=force)

    async def _cancel_cascade(self) -> None:
        parent = await self.calls.create("work", {}, **_FAR)
        children = [await self.calls.create("work", {}, **_FAR, parentId=parent) for _ in range(2) if parent]
        for task_id in (parent, *children):
            self._follow(task_id)
        await self.calls.cancel_with_children(parent, children)

    async def _cancel_batch(self) -> None:
        batch = uuid.uuid4().hex
        options = {**_FAR, "metadata": {"far": True, "batch": batch}}
        ids = [await self.calls.create("work", {}, **options) for _ in range(3)]
        await self.calls.cancel_batch(batch, ids)

    async def _edit(self) -> None:
        if self._recent:
            await self.calls.edit(self.chance.choice(self._recent))

    async def _delete(self) -> None:
        task_id = await self.calls.create("work", {"effects": 1, "lines": 1})
        if task_id is not None:
            await self.calls.delete([task_id])
