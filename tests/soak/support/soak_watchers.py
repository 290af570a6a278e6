"""Clients of a soak: they follow a task, a list or a log over a WebSocket, and come back after each loss."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from soak_tasks import Life, Population
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

_PROTOCOL = Subprotocol("graphql-transport-ws")
_TASK = "subscription ($id: ID!) { taskUpdated(id: $id) { id revision isFinal progress { message } } }"
_LOG = "subscription ($id: ID!, $after: String) { taskLogged(id: $id, after: $after) { cursor message } }"
_LIST = """subscription ($filter: TaskFilter, $since: DateTime) {
  taskChanges(filter: $filter, since: $since) { kind taskId at task { revision isFinal } }
}"""
_LIVE_LIST = """subscription ($filter: TaskFilter) {
  taskChanges(filter: $filter) { kind taskId at task { revision isFinal } }
}"""
_UNFINISHED = ["QUEUED", "STARTED"]

# What a client meets when its server is stopped, away, or not yet listening.
_LOSSES = (OSError, WebSocketException, TimeoutError, EOFError)
_TRY_AGAIN = "SERVICE_UNAVAILABLE"
_MAX_BACK_OFF_SECONDS = 0.5
_ANSWER_SECONDS = 15
_LOOKING_IN_CONCURRENCY = 50
_MAX_VISIT_SECONDS = 20.0
_AWAY, _LONG_AWAY = timedelta(seconds=3), timedelta(seconds=60)


class UnavailableError(Exception):
    """The server asked to try again later."""


class SubscriptionError(AssertionError):
    """A subscription ended by itself, with an error or without."""


@dataclass
class LiveList:
    """What a client of ``taskChanges`` shows, and the revision of each task that it was told of."""

    group: str
    unfinished_only: bool
    shown: set[str] = field(default_factory=set)
    revisions: dict[str, int] = field(default_factory=dict)
    since: str | None = None

    @property
    def filter(self) -> dict[str, Any]:
        """What it asks for."""
        statuses = {"statuses": _UNFINISHED} if self.unfinished_only else {}
        return {"metadata": [{"path": "group", "eq": self.group}], **statuses}

    def hear(self, change: dict[str, Any]) -> None:
        """Show what a change tells."""
        self.since = change["at"]
        if change["kind"] == "UPDATED":
            self.shown.add(change["taskId"])
            self.revisions[change["taskId"]] = change["task"]["revision"]
        else:
            self.shown.discard(change["taskId"])

    def lacks(self, population: Population) -> list[str]:
        """Which of the group's tasks it shows otherwise than they have ended."""
        lives = [life for life in population.lives.values() if life.group == self.group]
        if self.unfinished_only:
            return [life.id for life in lives if life.id in self.shown]
        return [life.id for life in lives if self.revisions.get(life.id) != life.last_revision]


@dataclass
class Watchers:
    """All clients, and what they have seen to the end."""

    url: str
    population: Population
    chance: random.Random
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    ends: list[tuple[str, int]] = field(default_factory=list)
    logs: list[tuple[str, int]] = field(default_factory=list)
    # By id, of what is followed: the revision, and the number of lines, that was told last.
    revisions: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    visits: int = 0
    losses: int = 0
    refusals: int = 0

    async def follow_task(self, life: Life) -> None:
        """Watch a task to its end."""
        revision, is_final = 0, False

        async def once() -> None:
            nonlocal revision, is_final
            async for data in self._told(_TASK, id=life.id):
                assert data["taskUpdated"]["revision"] >= revision, "what was told is older than what was told before"
                revision, is_final = data["taskUpdated"]["revision"], data["taskUpdated"]["isFinal"]
                self.revisions[life.id] = revision

        await self._until_complete(once)
        assert is_final, f"{life.id} was completed before its end"
        self.ends.append((life.id, revision))

    async def follow_log(self, life: Life) -> None:
        """Read a log to its end; after each loss from the last line on."""
        after, lines = None, 0

        async def once() -> None:
            nonlocal after, lines
            async for data in self._told(_LOG, id=life.id, after=after):
                lines += 1
                self.lines[life.id] = lines
                assert data["taskLogged"]["message"] == f"line {lines}"
                after = data["taskLogged"]["cursor"]

        await self._until_complete(once)
        self.logs.append((life.id, lines))

    async def follow_list(self, shown: LiveList) -> None:
        """Keep a list live for good; after each loss from the last change on, where it began with a time."""

        async def once() -> None:
            since = {} if shown.since is None else {"since": shown.since}
            async for data in self._told(_LIST if since else _LIVE_LIST, filter=shown.filter, **since):
                shown.hear(data["taskChanges"])

        await self._until_complete(once)
        raise SubscriptionError("a list was completed")

    async def come_and_go(self, over: asyncio.Event) -> None:
        """Watch one thing after the other, each for as long as it pleases: half of them for less than three seconds."""
        while not over.is_set():
            self.visits += 1
            # A copy: threads change the list.
            life = self.chance.choice(list(self.population.alive))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.chance.random() ** 3 * _MAX_VISIT_SECONDS):
                    await self._one_visit(life)

    async def stay(self, over: asyncio.Event) -> None:
        """Watch one task or log after the other, each to its end."""
        while not over.is_set():
            follow = self.chance.choice([self.follow_task, self.follow_log])
            await follow(self.chance.choice(list(self.population.alive)))

    async def look_in(self, life: Life, times: int) -> None:
        """Come, wait for the first that is told, and leave: so often for a task, for its log, and less for a list."""
        since = {"filter": LiveList(life.group, unfinished_only=False).filter, "since": self.began}
        asking = asyncio.Semaphore(_LOOKING_IN_CONCURRENCY)

        async def look(query: str, variables: dict[str, Any]) -> None:
            async with asking, contextlib.aclosing(self._told(query, **variables)) as told:
                await anext(told)

        # A list tells each visitor of all tasks there are.
        for query, variables, share in ((_TASK, {"id": life.id}, 1), (_LOG, {"id": life.id}, 1), (_LIST, since, 5)):
            await asyncio.gather(*(look(query, variables) for _ in range(times // share)))

    async def _one_visit(self, life: Life) -> None:
        """Watch a task, a log or a list: from now on, since shortly ago, or since long ago."""
        kind = self.chance.choices(["task", "log", "list"], [4, 3, 3])[0]
        if kind == "task":
            await self.follow_task(life)
        elif kind == "log":
            await self.follow_log(life)
        else:
            # Not since the beginning: replays would grow with the soak, and what is resident with them.
            away = self.chance.choice([None, _AWAY, _LONG_AWAY])
            since = None if away is None else (datetime.now(UTC) - away).isoformat()
            await self.follow_list(LiveList(life.group, unfinished_only=self.chance.random() < 1 / 2, since=since))

    async def _until_complete(self, once: Callable[[], Awaitable[None]]) -> None:
        """Come back after each loss. A client's back-off is time that passes, not a condition."""
        while True:
            try:
                await once()
            except (*_LOSSES, UnavailableError) as loss:
                self.losses += 1
                self.refusals += isinstance(loss, UnavailableError)
                await asyncio.sleep(self.chance.uniform(0, _MAX_BACK_OFF_SECONDS))
            else:
                return

    async def _told(self, query: str, **variables: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what a subscription tells until it completes. Some who leave say so, others are just gone."""
        # With a queue that has a bound, who leaves in the middle of a replay waits ten seconds for the close's answer.
        async with connect(
            self.url, subprotocols=[_PROTOCOL], compression=None, ping_interval=None, max_queue=None
        ) as socket:
            await socket.send('{"type": "connection_init"}')
            async with asyncio.timeout(_ANSWER_SECONDS):
                assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": query, "variables": variables}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            try:
                while (message := json.loads(await socket.recv()))["type"] != "complete":
                    if message["type"] == "next" and "errors" not in message["payload"]:
                        yield message["payload"]["data"]
                    elif _TRY_AGAIN in json.dumps(message):
                        raise UnavailableError
                    elif message["type"] != "ping":
                        raise SubscriptionError(f"{query}: {message}")
            finally:
                await self._leave(socket)

    async def _leave(self, socket: ClientConnection) -> None:
        how = self.chance.choice(["says so", "closes", "is gone"])
        if how == "is gone":
            socket.transport.abort()
        elif how == "says so":
            with contextlib.suppress(*_LOSSES):
                await socket.send('{"type": "complete", "id": "1"}')
