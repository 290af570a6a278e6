from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from redis import Redis
from support import Api, wait_until_async
from websockets.asyncio.client import connect

WATCH = gql("""
subscription ($id: ID!) {
  taskUpdated(id: $id) { id revision status isFinal result metadata progress { current percent } }
}
""")


async def _watch(api: Api, id_: str) -> AsyncGenerator[dict[str, Any], None]:
    """Watch a task as an ordinary client does."""
    transport = WebsocketsTransport(url=api.websocket, subprotocols=["graphql-transport-ws"])
    async with Client(transport=transport) as session:
        WATCH.variable_values = {"id": id_}
        async for data in session.subscribe(WATCH):
            yield data["taskUpdated"]


async def test_a_task_is_watched_to_its_end(api: Api, redis: Redis) -> None:
    """The first value is the present state; then every revision rises; the stream completes after the final state."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.wait_for_key", args=[key], kwargs={"progress": 3}, metadata={"a.b": 1})
    seen = []
    async for task in _watch(api, id_):
        seen.append(task)
        assert task["metadata"] == {"a.b": 1}
        if (task["progress"] or {}).get("current") == 3:
            redis.lpush(key, 1)
    revisions = [task["revision"] for task in seen]
    assert revisions == sorted(set(revisions))
    assert (seen[-1]["status"], seen[-1]["result"], seen[-1]["isFinal"]) == ("SUCCESS", "released", True)
    assert seen[-1]["progress"]["percent"] == 100.0
    assert not any(task["isFinal"] for task in seen[:-1])


async def test_a_finished_task_is_told_once(api: Api) -> None:
    """Who comes after the end sees the end, and the stream completes."""
    id_ = api.create("task_modules.add", args=[1])
    api.finished(id_)
    seen = [task async for task in _watch(api, id_)]
    assert [(task["status"], task["result"]) for task in seen] == [("SUCCESS", 2)]


async def test_joining_at_any_moment_sees_the_end(api: Api) -> None:
    """Subscriptions spread over the whole short life of tasks, many at once, all reach the final state."""

    async def follow(delay: float) -> list[dict[str, Any]]:
        id_ = await asyncio.to_thread(api.create, "task_modules.burst", args=[20])
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=delay)
        return [task async for task in _watch(api, id_)]

    for _ in range(4):
        stories = await asyncio.wait_for(asyncio.gather(*(follow(step * 0.004) for step in range(25))), 60)
        for story in stories:
            revisions = [task["revision"] for task in story]
            assert revisions == sorted(set(revisions))
            assert story[-1]["status"] == "SUCCESS"
            assert story[-1]["progress"]["current"] == 20


async def test_an_unknown_id_is_an_error(api: Api) -> None:
    """There is nothing to wait for when there is no such task."""
    with pytest.raises(TransportQueryError, match="No task with id nope") as refused:
        await anext(_watch(api, "nope"))
    (error,) = refused.value.errors or []
    assert error["extensions"]["code"] == "NOT_FOUND"


async def test_large_results_reach_their_watchers_whole(api: Api, redis: Redis) -> None:
    """A result too large for an event is read from MongoDB when the operation selects it."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.echo", args=[key, "x" * 50_000])
    seen = [task async for task in _watch(api, id_)]
    assert seen[-1]["result"] == [[key, "x" * 50_000], {}]
    assert redis.ping()


async def test_a_watcher_that_leaves_is_forgotten(api: Api, redis: Redis) -> None:
    """When the last socket goes, its Redis subscription goes, though the task never ended."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.wait_for_key", args=[key])

    async def subscribed(count: int) -> bool:
        return len(redis.pubsub_channels(f"gql-api:*:task:{id_}")) == count

    async with connect(api.websocket, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init"}))
        query = f'subscription {{ taskUpdated(id: "{id_}") {{ revision }} }}'
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}))
        await wait_until_async(lambda: subscribed(1))
    await wait_until_async(lambda: subscribed(0))
    redis.lpush(key, 1)
    assert api.finished(id_)["status"] == "SUCCESS"
