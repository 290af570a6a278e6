"""The peer in Python, in its simplest form: Strawberry, one Redis subscription a process, a queue a subscriber.

uvicorn strawberry_queues:app
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import strawberry
from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL

watchers: defaultdict[str, set[asyncio.Queue[dict[str, Any]]]] = defaultdict(set)


@strawberry.type
class Progress:
    """The progress of a task."""

    current: float
    total: float
    message: str


@strawberry.type
class Task:
    """A task."""

    id: strawberry.ID
    name: str
    status: str
    revision: int
    is_final: bool
    created_at: str
    updated_at: str
    progress: Progress


@strawberry.type
class Query:
    """Return a constant; a schema needs a query type."""

    ok: bool = True


@strawberry.type
class Subscription:
    """Watch tasks."""

    @strawberry.subscription
    async def task_updated(self, id: strawberry.ID) -> AsyncGenerator[Task, None]:  # noqa: A002 - the schema's name
        """Yield the present state, then every change."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        watchers[id].add(queue)
        try:
            yield _task(await tasks.find_one({"_id": id}))
            while True:
                yield _task(await queue.get())
        finally:
            watchers[id].discard(queue)


def _task(document: Any) -> Task:
    return Task(
        id=document["_id"],
        name=document["name"],
        status=document["status"],
        revision=document["revision"],
        is_final=document["isFinal"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
        progress=Progress(**document["progress"]),
    )


async def _listen() -> None:
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis, redis.pubsub() as pubsub:
        await pubsub.psubscribe("gql-api:*:task:*")
        async for message in pubsub.listen():
            if message["type"] == "pmessage":
                document = json.loads(message["data"])
                for queue in watchers[document["_id"]]:
                    queue.put_nowait(document)


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncIterator[None]:
    listening = asyncio.create_task(_listen())
    yield
    listening.cancel()


mongo = AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URL"])
tasks = mongo["peers"]["tasks"]
graphql = GraphQL[Any, Any](strawberry.Schema(query=Query, subscription=Subscription))
app = Starlette(lifespan=_lifespan, routes=[WebSocketRoute("/graphql", graphql)])
