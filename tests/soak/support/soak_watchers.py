"""Clients of a soak: they follow a task, a list or a log over a WebSocket, and reconnect after each loss."""

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

# The errors of a client whose server stops, is down, or does not listen yet.
_LOSSES = (OSError, WebSocketException, TimeoutError, EOFError)
_TRY_AGAIN = "SERVICE_UNAVAILABLE"
_MAX_BACK_OFF_SECONDS = 0.5
_ANSWER_SECONDS = 15
_VISIT_CONCURRENCY = 50
_MAX_VISIT_SECONDS = 20.0
_AWAY, _LONG_AWAY = timedelta(seconds=3), timedelta(seconds=60)


class UnavailableError(Exception):
    """The server asked to try again later."""


class SubscriptionError(AssertionError):
    """A subscription ended by itself, with an error or without."""


@dataclass
class LiveList:
    """The list that a client of ``taskChanges`` shows, and the last revision that it received of each task."""

    group: str
    unfinished_only: bool
    shown: set[str] = field(default_factory=set)
    revisions: dict[str, int] = field(default_factory=dict)
    since: str | None = None

    @property
    def filter(self) -> dict[str, Any]:
        """The filter of the subscription."""
        statuses = {"statuses": _UNFINISHED} if self.unfinished_only else {}
        return {"metadata": [{"path": "group", "eq": self.group}], **statuses}

    def apply(self, change: dict[str, Any]) -> None:
        """Apply a change to the list."""
        self.since = change["at"]
        if change["kind"] == "UPDATED":
            self.shown.add(change["taskId"])
            self.revisions[change["taskId"]] = change["task"]["revision"]
        else:
            self.shown.discard(change["taskId"])

    def lacks(self, population: Population) -> list[str]:
        """Return the group's tasks that the list does not show as they have ended."""
        lives = [life for life in population.lives.values() if life.group == self.group]
        if self.unfinished_only:
            return [life.id for life in lives if life.id in self.shown]
        return [life.id for life in lives if self.revisions.get(life.id) != life.last_revision]


@dataclass
class Watchers:
    """All clients, and the tasks and logs that they have followed to their ends."""

    url: str
    population: Population
    chance: random.Random
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    ends: list[tuple[str, int]] = field(default_factory=list)
    logs: list[tuple[str, int]] = field(default_factory=list)
    # By id of a followed task: the last revision, and the number of lines, that a client received.
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
            async for data in self._subscribe(_TASK, id=life.id):
                assert data["taskUpdated"]["revision"] >= revision, "a state is older than the one before it"
                revision, is_final = data["taskUpdated"]["revision"], data["taskUpdated"]["isFinal"]
                self.revisions[life.id] = revision

        await self._until_complete(once)
        assert is_final, f"{life.id} was completed before its end"
        self.ends.append((life.id, revision))

    async def follow_log(self, life: Life) -> None:
        """Read a log to its end; after each loss resume from the last line."""
        after, lines = None, 0

        async def once() -> None:
            nonlocal after, lines
            async for data in self._subscribe(_LOG, id=life.id, after=after):
                lines += 1
                self.lines[life.id] = lines
                assert data["taskLogged"]["message"] == f"line {lines}"
                after = data["taskLogged"]["cursor"]

        await self._until_complete(once)
        self.logs.append((life.id, lines))

    async def follow_list(self, shown: LiveList) -> None:
        """Follow a list without end; after each loss resume from the last change."""

        async def once() -> None:
            since = {} if shown.since is None else {"since": shown.since}
            async for data in self._subscribe(_LIST if since else _LIVE_LIST, filter=shown.filter, **since):
                shown.apply(data["taskChanges"])

        await self._until_complete(once)
        raise SubscriptionError("a list was completed")

    async def come_and_go(self, over: asyncio.Event) -> None:
        """Make one visit after the other, of random duration: half of them shorter than three seconds."""
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

    async def visit(self, life: Life, times: int) -> None:
        """Subscribe, wait for the first result and leave, ``times`` for a task and its log, and less for a list."""
        since = {"filter": LiveList(life.group, unfinished_only=False).filter, "since": self.began}
        semaphore = asyncio.Semaphore(_VISIT_CONCURRENCY)

        async def visit_once(query: str, variables: dict[str, Any]) -> None:
            async with semaphore, contextlib.aclosing(self._subscribe(query, **variables)) as results:
                await anext(results)

        # A list sends all tasks to each visitor.
        for query, variables, share in ((_TASK, {"id": life.id}, 1), (_LOG, {"id": life.id}, 1), (_LIST, since, 5)):
            await asyncio.gather(*(visit_once(query, variables) for _ in range(times // share)))

    async def _one_visit(self, life: Life) -> None:
        """Follow a task, a log or a list; a list from now on, or from a time in the past."""
        kind = self.chance.choices(["task", "log", "list"], [4, 3, 3])[0]
        if kind == "task":
            await self.follow_task(life)
        elif kind == "log":
            await self.follow_log(life)
        else:
            # Not from the start of the soak: replays would grow with it, and resident memory with them.
            away = self.chance.choice([None, _AWAY, _LONG_AWAY])
            since = None if away is None else (datetime.now(UTC) - away).isoformat()
            await self.follow_list(LiveList(life.group, unfinished_only=self.chance.random() < 1 / 2, since=since))

    async def _until_complete(self, once: Callable[[], Awaitable[None]]) -> None:
        """Reconnect after each loss. A client's back-off is a time, not a condition to wait for."""
        while True:
            try:
                await once()
            except (*_LOSSES, UnavailableError) as loss:
                self.losses += 1
                self.refusals += isinstance(loss, UnavailableError)
                await asyncio.sleep(self.chance.uniform(0, _MAX_BACK_OFF_SECONDS))
            else:
                return

    async def _subscribe(self, query: str, **variables: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the results of a subscription until it completes."""
        # With a bounded queue a client that leaves during a replay waits ten seconds for the answer to its close frame.
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
        """Leave in one of the ways of real clients; the caller closes the socket."""
        way = self.chance.choice(["complete", "close", "abort"])
        if way == "abort":
            socket.transport.abort()
        elif way == "complete":
            with contextlib.suppress(*_LOSSES):
                await socket.send('{"type": "complete", "id": "1"}')
