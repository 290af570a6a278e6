"""The queries."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from gql_api.context import Info
from gql_api.tasks import Task, TaskConnection, page_of_tasks
from gql_api.types import Node, Queue, TaskDefinition, Worker


@strawberry.type
class Query:
    """Read tasks, and what tasks there can be."""

    @strawberry.field(description="The object with this id; null when there is none.")
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:  # noqa: A002 - the schema's name
        """Find a task by its id."""
        return await _task(info, id)

    @strawberry.field(description="The task with this id; null when there is none.")
    async def task(self, info: Info, id: strawberry.ID) -> Task | None:  # noqa: A002 - the schema's name
        """Find a task by its id."""
        return await _task(info, id)

    @strawberry.field(description="All tasks, newest first.")
    async def tasks(self, info: Info, first: int | None = UNSET, after: str | None = UNSET) -> TaskConnection:
        """Read a page of tasks."""
        return await page_of_tasks(info, first, after)

    @strawberry.field(description="The tasks that workers have announced, by name.")
    async def task_definitions(self, info: Info) -> list[TaskDefinition]:
        """Read what can be created."""
        return [TaskDefinition.of(definition) for definition in await info.context.services.store.definitions()]

    @strawberry.field(description="The queues, by name, with what waits in them.")
    async def queues(self, info: Info) -> list[Queue]:
        """Read what waits."""
        return [Queue.of(queue) for queue in await info.context.services.store.queues()]

    @strawberry.field(description="The live workers, by hostname.")
    async def workers(self, info: Info) -> list[Worker]:
        """Read who works."""
        return [Worker.of(worker) for worker in await info.context.services.store.workers()]


async def _task(info: Info, task_id: str) -> Task | None:
    record = await info.context.services.store.get(task_id)
    return None if record is None else Task.of(record)
