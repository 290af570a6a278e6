"""The queries."""

from __future__ import annotations

import asyncio

import strawberry
from strawberry import UNSET

from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.schema.filters import TaskFilter, TaskOrder, query_of
from gql_api.api.schema.pagination import MAX_PAGE_SIZE, PageArgs
from gql_api.api.schema.scalars import given
from gql_api.api.schema.tasks import Task, TaskConnection
from gql_api.api.schema.types import Node, Queue, TaskDefinition, Worker


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

    @strawberry.field(description="The objects with these ids, in their order; null where there is none.")
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        """Find tasks by their ids."""
        if len(ids) > MAX_PAGE_SIZE:
            raise ClientError(f"ids are {len(ids)}, more than {MAX_PAGE_SIZE}", BAD_INPUT)
        return [*await asyncio.gather(*(_task(info, task_id) for task_id in ids))]

    @strawberry.field(description="The tasks that the filter finds, newest first unless ordered otherwise.")
    async def tasks(
        self,
        info: Info,
        first: int | None = UNSET,
        after: str | None = UNSET,
        last: int | None = UNSET,
        before: str | None = UNSET,
        filter: TaskFilter | None = UNSET,  # noqa: A002 - the schema's name
        order_by: TaskOrder | None = UNSET,
    ) -> TaskConnection:
        """Read a page of tasks."""
        stretch = PageArgs(first, after, last, before).stretch(given(order_by, TaskOrder()).order())
        query = query_of(given(filter, None), stretch.order)
        found = await info.context.services.store.lists.page(query, stretch)
        return TaskConnection.of(found, stretch, query)

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
    record = await info.context.services.tasks.load(task_id)
    return None if record is None else Task(record)
