"""The root type of queries."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import strawberry
from strawberry import UNSET

from gql_api.api.commands.restrictions import allows_name
from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError, InvalidRecordError
from gql_api.api.schema.access.audit import AuditLogConnection, AuditLogFilter, audit_log_page
from gql_api.api.schema.access.viewer import Viewer
from gql_api.api.schema.filters import TaskFilter, TaskOrder, query_of
from gql_api.api.schema.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, PageArgs
from gql_api.api.schema.scalars import or_default
from gql_api.api.schema.statistics.fields import TaskStatsBucket, task_stats
from gql_api.api.schema.tasks import Task, TaskConnection, find_task, part_of_nodes
from gql_api.api.schema.tokens import fields as tokens
from gql_api.api.schema.tokens.types import ApiTokenConnection
from gql_api.api.schema.types import Node, Queue, TaskDefinition, Worker
from gql_api.api.store.budget import current_budget


async def _node(info: Info, task_id: str) -> Any:
    """Find a task, or return the error of a record that does not fit: as an element of a list, it is raised there."""
    try:
        return await find_task(info, task_id)
    except InvalidRecordError as error:
        return error


@strawberry.type(
    description="Reads: tasks, the task functions that can be called, queues and workers. A field needs a scope of the "
    "caller: TASKS_READ for tasks and their statistics, OPERATE for task functions, queues and workers, ADMIN for API "
    "tokens and the audit log; viewer needs none. Without the scope, the whole operation fails with the code "
    "FORBIDDEN. An API without authentication allows everything."
)
class Query:
    """The fields of a query."""

    @strawberry.field(
        description="The object with this id; null when there is none that the caller may see. Every object is a Task "
        "today."
    )
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of an object of any type.")],
    ) -> Node | None:
        """Find an object by its id."""
        return await find_task(info, id)

    @strawberry.field(
        description="The task with this id; null when there is none that the caller may see, or when it was deleted."
    )
    async def task(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The Celery task id, as createTask returned it.")],
    ) -> Task | None:
        """Find a task by its id."""
        return await find_task(info, id)

    @strawberry.field(description="The objects with these ids, in the same order, with null for each id without one.")
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="At most 500 ids.")],
    ) -> list[Node | None]:
        """Find objects by their ids."""
        if len(ids) > MAX_PAGE_SIZE:
            raise ClientError(f"ids: at most {MAX_PAGE_SIZE} allowed, got {len(ids)}", BAD_INPUT)
        return [*await asyncio.gather(*(_node(info, task_id) for task_id in ids))]

    @strawberry.field(
        description="A page of the tasks that match the filter and that the caller may see, newest first unless "
        "orderBy says otherwise. Invalid arguments are an error with the code BAD_USER_INPUT; a query that takes too "
        "long is one with QUERY_TIMEOUT."
    )
    async def tasks(
        self,
        info: Info,
        first: Annotated[
            int | None,
            strawberry.argument(
                description="How many tasks the page has at most, from 1 to 500; 20 by default. Not together with last."
            ),
        ] = UNSET,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Return the tasks after this cursor, usually the endCursor of the page before."
            ),
        ] = UNSET,
        last: Annotated[
            int | None,
            strawberry.argument(
                description="Return the last tasks of the list, from 1 to 500; with before, the last ones before that "
                "cursor. Not together with first."
            ),
        ] = UNSET,
        before: Annotated[
            str | None,
            strawberry.argument(
                description="Return the tasks before this cursor, usually the startCursor of the page after."
            ),
        ] = UNSET,
        filter: Annotated[
            TaskFilter | None, strawberry.argument(description="Which tasks to list; all tasks by default.")
        ] = UNSET,
        order_by: Annotated[
            TaskOrder | None,
            strawberry.argument(
                description="The order of the list; by default the task that was created last comes first."
            ),
        ] = UNSET,
    ) -> TaskConnection:
        """Read a page of tasks."""
        request = PageArgs(first, after, last, before).page_request(or_default(order_by, TaskOrder()).order())
        query = query_of(or_default(filter, None), request.order)
        page = info.context.lists.part_of_page(
            query, request, info.context.visibility, part_of_nodes(info, request.order), current_budget()
        )
        return TaskConnection.of(await page, request, query)

    task_stats: list[TaskStatsBucket] = strawberry.field(
        resolver=task_stats,
        description="How many tasks were created and ended, and how long they waited and ran, in buckets of time, the "
        "earliest first. Without by there is a bucket for all times, with by one for each value that has any tasks. "
        "Deleted tasks count, unless the filter, by or the caller's token reads more than names, queues, statuses and "
        "owners: then the tasks are read one by one, at most 200,000, or the error has the code LIMIT_EXCEEDED.",
    )

    @strawberry.field(
        description="The task functions that createTask accepts from the caller, as workers announced them, by name."
    )
    async def task_definitions(self, info: Info) -> list[TaskDefinition]:
        """Read the announcements."""
        restrictions = info.context.principal.restrictions
        found = await info.context.store.definitions()
        return [TaskDefinition.of(each) for each in found if allows_name(restrictions, each.name)]

    @strawberry.field(description="All queues with the number of tasks that wait in each, by name.")
    async def queues(self, info: Info) -> list[Queue]:
        """Read the queues."""
        return [Queue.of(queue) for queue in await info.context.store.queues()]

    @strawberry.field(description="The caller: its subject, its scopes, and until when its token is valid.")
    def viewer(self, info: Info) -> Viewer:
        """Return the principal of the request."""
        return Viewer.of(info.context.principal)

    @strawberry.field(description="The workers that are alive now, by hostname.")
    async def workers(self, info: Info) -> list[Worker]:
        """Read the workers."""
        return [Worker.of(worker) for worker in await info.context.store.workers()]

    @strawberry.field(
        description="A page of the audit log: every call of a mutation by a principal, newest first. Needs the scope "
        "ADMIN; an administrator of a tenant sees the calls of that tenant."
    )
    async def audit_log(
        self,
        info: Info,
        first: Annotated[
            int | None, strawberry.argument(description="How many entries the page has at most, from 1 to 500.")
        ] = DEFAULT_PAGE_SIZE,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Return the entries after this cursor, usually the endCursor of the page before."
            ),
        ] = UNSET,
        filter: Annotated[
            AuditLogFilter | None, strawberry.argument(description="Which entries to list; all entries by default.")
        ] = UNSET,
    ) -> AuditLogConnection:
        """Read a page of the audit log."""
        size = or_default(first, DEFAULT_PAGE_SIZE)
        return await audit_log_page(info, size, or_default(after, None), or_default(filter, AuditLogFilter()))

    api_tokens: ApiTokenConnection = strawberry.field(
        resolver=tokens.api_tokens,
        description="A page of the API tokens of your tenant, the newest first, revoked and expired ones too. Needs "
        "the scope ADMIN.",
    )
