"""The peer in Python of http_rates.py: Strawberry with its two caches, PyMongo, and Celery's own send_task in a thread.

uvicorn strawberry_tasks:app
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import strawberry
from celery import Celery
from pymongo import DESCENDING, AsyncMongoClient
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.scalars import JSON


@strawberry.type
class TaskProgress:
    """The progress of a task."""

    current: float | None
    total: float | None
    message: str | None


@strawberry.type
class Task:
    """A task."""

    id: strawberry.ID
    name: str
    status: str
    metadata: JSON
    progress: TaskProgress | None
    result: JSON | None
    created_at: datetime
    updated_at: datetime


@strawberry.type
class TaskList:
    """A page of tasks."""

    nodes: list[Task]


@strawberry.type
class UserError:
    """A reason why a call was refused."""

    code: str
    message: str


@strawberry.type
class CreateTaskPayload:
    """The created task."""

    task: Task | None
    user_errors: list[UserError]


@strawberry.input
class CreateTaskInput:
    """A call of a task function."""

    name: str
    args: JSON | None = None
    kwargs: JSON | None = None
    metadata: JSON | None = None


@strawberry.type
class Query:
    """Read tasks."""

    @strawberry.field
    async def task(self, id: strawberry.ID) -> Task | None:  # noqa: A002 - the schema's name
        """Return a task by its id."""
        document = await tasks.find_one({"_id": id})
        return _task(document) if document else None

    @strawberry.field
    async def tasks(self, first: int = 20) -> TaskList:
        """Return the newest tasks."""
        found = tasks.find().sort([("createdAt", DESCENDING), ("_id", DESCENDING)]).limit(first)
        return TaskList(nodes=[_task(document) for document in await found.to_list()])


@strawberry.type
class Mutation:
    """Create tasks."""

    @strawberry.mutation
    async def create_task(self, input: CreateTaskInput) -> CreateTaskPayload:  # noqa: A002 - the schema's name
        """Store a task, then send its message."""
        now = datetime.now(UTC)
        args: Any = input.args or []
        kwargs: Any = input.kwargs or {}
        document = {
            "_id": str(uuid.uuid4()),
            "name": input.name,
            "status": "QUEUED",
            "args": args,
            "kwargs": kwargs,
            "metadata": input.metadata or {},
            "progress": None,
            "result": None,
            "createdAt": now,
            "updatedAt": now,
        }
        await tasks.insert_one(document)
        await asyncio.to_thread(celery.send_task, input.name, args, kwargs, task_id=document["_id"])
        return CreateTaskPayload(task=_task(document), user_errors=[])


def _task(document: Any) -> Task:
    return Task(
        id=document["_id"],
        name=document["name"],
        status=document["status"],
        metadata=document["metadata"],
        progress=TaskProgress(**document["progress"]) if document["progress"] else None,
        result=document["result"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
    )


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncIterator[None]:
    await tasks.create_index([("createdAt", DESCENDING), ("_id", DESCENDING)])
    yield


celery = Celery(broker=os.environ["CELERY_BROKER_URL"])
mongo = AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URL"], tz_aware=True)
tasks = mongo[os.environ["MONGODB_DATABASE"]]["tasks"]
schema = strawberry.Schema(query=Query, mutation=Mutation, extensions=[ParserCache, ValidationCache])
app = Starlette(lifespan=_lifespan, routes=[Route("/graphql", GraphQL[Any, Any](schema), methods=["POST"])])
