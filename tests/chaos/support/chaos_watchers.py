"""The watchers of a run: of single tasks, and of live lists. They reconnect after each loss, to any replica."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from chaos_client import Client, LossError, RefusedError, Transport

_TASK = """subscription ($id: ID!) {
  taskUpdated(id: $id) { id revision status isFinal }
}"""
_LIST = """subscription ($filter: TaskFilter, $since: DateTime) {
  taskChanges(filter: $filter, since: $since) { kind taskId at task { revision status } }
}"""

UNFINISHED = ["SCHEDULED", "QUEUED", "STARTED", "RETRY"]
FAILED = ["FAILURE", "REVOKED"]
# The lists that are watched, by name, with their filters.
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "unfinished": {"statuses": UNFINISHED},
    "failed": {"statuses": FAILED},
    "shard": {"metadata": [{"path": "shard", "eq": 1}]},
}


@dataclass(frozen=True)
class State:
    """A state of a task that a watcher has received, at a time of ``time.monotonic`` over a numbered connection."""

    at: float
    connection: int
    revision: int
    status: str
    is_final: bool


@dataclass
class Watch:
    """A watcher of one task, with all that it has received."""

    task_id: str
    transport: Transport
    states: list[State] = field(default_factory=list)
    connections: int = 0
    is_complete: bool = False


@dataclass
class LiveList:
    """A client that keeps a list of the tasks that match a filter, by its changes only."""

    name: str
    transport: Transport
    since: str
    shown: dict[str, tuple[int, str]] = field(default_factory=dict)
    # By id of a task, what was received about it.
    states: dict[str, list[State]] = field(default_factory=dict)
    connections: int = 0
    changes: int = 0

    def apply(self, change: dict[str, Any]) -> None:
        """Apply a change to the list."""
        self.changes += 1
        self.since = max(self.since, change["at"])
        task_id, task = change["taskId"], change["task"]
        if change["kind"] == "UPDATED":
            self.shown[task_id] = task["revision"], task["status"]
            state = State(time.monotonic(), self.connections, task["revision"], task["status"], is_final=False)
            self.states.setdefault(task_id, []).append(state)
        else:
            self.shown.pop(task_id, None)


@dataclass
class Watchers:
    """All watchers."""

    client: Client
    chance: random.Random
    since: str
    watches: list[Watch] = field(default_factory=list)
    lists: list[LiveList] = field(default_factory=list)
    losses: int = 0

    async def follow_task(self, task_id: str) -> None:
        """Watch a task until it is complete."""
        watch = Watch(task_id, self.chance.choice(list(Transport)))
        self.watches.append(watch)

        async def once() -> None:
            watch.connections += 1
            async for data in self._results(watch.transport, _TASK, id=task_id):
                task = data["taskUpdated"]
                state = State(time.monotonic(), watch.connections, task["revision"], task["status"], task["isFinal"])
                watch.states.append(state)
            watch.is_complete = True

        await self._until_complete(once)

    async def follow_lists(self) -> None:
        """Keep all lists, each over both transports, for ever."""
        self.lists = [LiveList(name, transport, self.since) for name in LISTS for transport in Transport]
        async with asyncio.TaskGroup() as group:
            for each in self.lists:
                group.create_task(self._follow_list(each))

    async def _follow_list(self, live: LiveList) -> None:
        async def once() -> None:
            live.connections += 1
            async for data in self._results(live.transport, _LIST, filter=LISTS[live.name], since=live.since):
                live.apply(data["taskChanges"])
            raise LossError("a list was completed")

        await self._until_complete(once)

    async def _results(
        self, transport: Transport, query: str, **variables: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        replica = self.client.any_replica()
        async with aclosing(self.client.subscribe(replica, transport, query, **variables)) as results:
            async for data in results:
                yield data

    async def _until_complete(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await once()
            except LossError:
                self.losses += 1
                await self.client.back_off()
            except RefusedError:
                # The client keeps it.
                return
            else:
                return
