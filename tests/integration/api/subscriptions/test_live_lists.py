"""Live lists on a WebSocket, as a client receives them: a task leaves the lists that may have it, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sockets import socket_of
from support import wait_until_async
from watchers import create, move
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gql_api.api.context import Services
from gql_api.app import create_app
from gql_api.record import writes
from gql_api.record.model import Progress
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

_LIST = """subscription ($filter: TaskFilter, $since: DateTime) {
  taskChanges(filter: $filter, since: $since) { kind taskId task { metadata } }
}"""


class Lists:
    """The lists that one client watches on one connection."""

    def __init__(self, client: ClientConnection, services: Services) -> None:
        self.received: dict[str, list[tuple[str, str]]] = {}
        self._client = client
        self._services = services

    async def watch(self, name: str, filter_: dict[str, Any], since: datetime | None = None) -> None:
        """Begin to watch a list, and return when it misses nothing."""
        self.received[name], lists = [], self._services.feed.lists
        variables = {"filter": filter_, "since": None if since is None else since.isoformat()}
        payload = {"query": _LIST, "variables": variables}
        await self._client.send(json.dumps({"type": "subscribe", "id": name, "payload": payload}))

        async def is_watched() -> bool:
            return lists.watchers == len(self.received) and lists.is_listening

        await wait_until_async(is_watched)

    async def read(self) -> None:
        """Read what comes, until the connection is closed."""
        async for text in self._client:
            message = json.loads(text)
            if message["type"] == "next":
                change = message["payload"]["data"]["taskChanges"]
                self.received[message["id"]].append((change["kind"], change["taskId"]))

    async def all_have(self, change: tuple[str, str]) -> None:
        """Wait until every list has received a change."""

        async def have_come() -> bool:
            return all(change in received for received in self.received.values())

        await wait_until_async(have_come, why=f"{self.received} to have {change}")


@pytest.fixture
async def lists(services: Services, settings: Settings) -> AsyncIterator[Lists]:
    """A client that is connected."""
    app = create_app(settings)
    app.state.services = services
    async with (
        socket_of(app) as port,
        connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as client,
    ):
        await client.send('{"type": "connection_init"}')
        lists = Lists(client, services)
        reader = asyncio.create_task(lists.read())
        yield lists
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


def _kind(*kinds: str) -> dict[str, Any]:
    return {"OR": [{"metadata": [{"path": "kind", "eq": kind}]} for kind in kinds]}


async def test_after_lost_events_a_task_leaves_the_lists_that_it_may_have_been_in(
    lists: Lists, worker: Store, mute_worker: Store
) -> None:
    """The lists of other tasks receive nothing, whether the metadata changed meanwhile or not."""
    for name in ("a", "b", "c", "d"):
        await lists.watch(name, _kind(name, "last"))
    await lists.watch("waiting", {**_kind("a", "last"), "statuses": ["QUEUED"]})
    started, moved = (create(worker, kind="a") for _ in range(2))
    mute_worker.change(writes.start(started, worker="w"))
    worker.change(writes.progress(started, Progress(current=1)))
    for kind in ("b", "c"):
        move(mute_worker, moved, kind=kind)
    worker.change(writes.start(moved, worker="w"))

    async def has_settled() -> bool:
        return ("UPDATED", moved) in lists.received["c"]

    await wait_until_async(has_settled)
    last = create(worker, kind="last")
    await lists.all_have(("UPDATED", last))
    end = ("UPDATED", last)
    assert lists.received["a"][-2:] == [("LEFT", moved), end]
    assert lists.received["b"] == [("LEFT", moved), end]
    assert lists.received["c"] == [("UPDATED", moved), end]
    assert lists.received["d"] == [end]
    assert {change for change in lists.received["waiting"] if change[0] == "LEFT"} == {
        ("LEFT", started),
        ("LEFT", moved),
    }


async def test_a_replay_lets_tasks_leave_that_the_client_may_have(
    lists: Lists, services: Services, worker: Store
) -> None:
    """Those that it could not have received, of a hundred changes, cost no message."""
    old, left_before = create(worker, kind="b"), create(worker, kind="a")
    move(worker, left_before, kind="b")
    since = await services.store.now() + timedelta(seconds=25, milliseconds=1)  # a replay begins 25 seconds earlier
    new = [create(worker, kind="b") for _ in range(30)]
    leaves, comes = create(worker, kind="a"), create(worker, kind="b")
    move(worker, leaves, kind="b")
    move(worker, comes, kind="a")
    for task_id in (old, left_before, *new):
        worker.change(writes.start(task_id, worker="w"))
    await lists.watch("a", _kind("a"), since)
    last = create(worker, kind="a")
    await lists.all_have(("UPDATED", last))
    assert lists.received["a"] == [("LEFT", leaves), ("UPDATED", comes), ("UPDATED", last)]


async def test_a_replay_names_a_deleted_task_only_to_lists_that_may_have_had_it(
    lists: Lists, services: Services, worker: Store
) -> None:
    """The id and the name of a deleted task are known, its metadata are not."""
    since = await services.store.now()
    kept, deleted = create(worker, name="kept", kind="a"), create(worker, name="deleted", kind="a")
    worker.change(writes.succeed(deleted, None))
    worker.delete([deleted])
    await lists.watch("other id", {"ids": [kept]}, since)
    await lists.watch("other name", {"names": ["kept"]}, since)
    await lists.watch("its id", {"ids": [kept, deleted]}, since)
    await lists.watch("metadata", _kind("a"), since)
    await lists.all_have(("UPDATED", kept))  # the replay sends deletions first
    had_it = [name for name, received in lists.received.items() if ("DELETED", deleted) in received]
    assert had_it == ["its id", "metadata"]
