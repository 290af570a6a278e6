"""The mutations."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import UNSET

from gql_api.api.commands.bulk import MAX_TASKS
from gql_api.api.commands.control import Cancellation, Replay
from gql_api.api.context import Info
from gql_api.api.errors import TaskErrorCode, UserError
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.payloads import (
    BulkTaskPayload,
    CreateTaskInput,
    CreateTaskPayload,
    CreateTasksPayload,
    DeleteTaskPayload,
    MetadataOperation,
    TaskPayload,
)
from gql_api.api.schema.scalars import JSON, given
from gql_api.record.bulk import Action

_MAX_CREATED = 1000
_MANY = (
    f"{{}} the tasks that the filter finds {{}}: at most {MAX_TASKS:,} a call, the oldest first, and only those that "
    "were created before it. A dry run only counts. Fewer changed than matched: call again."
)


@strawberry.type
class Mutation:
    """Change something."""

    @strawberry.mutation(description="Store a task and send it to the workers.")
    async def create_task(self, info: Info, input: CreateTaskInput) -> CreateTaskPayload:  # noqa: A002 - the schema's
        """Create one task."""
        return await CreateTaskPayload.of(info.context.services.creator.create(input.wanted()))

    @strawberry.mutation(description=f"Create up to {_MAX_CREATED} tasks at once, each with an outcome of its own.")
    async def create_tasks(self, info: Info, inputs: list[CreateTaskInput]) -> CreateTasksPayload:
        """Create many tasks."""
        if len(inputs) > _MAX_CREATED:
            message = f"inputs: are {len(inputs)}, more than {_MAX_CREATED}"
            error = UserError(code=TaskErrorCode.INVALID_INPUT, message=message, field=["inputs"])
            return CreateTasksPayload(user_errors=[error])
        outcomes = await info.context.services.creator.create_many([each.wanted() for each in inputs])
        return CreateTasksPayload(results=[CreateTaskPayload.known(outcome) for outcome in outcomes])

    @strawberry.mutation(
        description="End a task: at once while it waits; while it runs its function is asked to stop, or its process "
        "ended by force. Cascade takes along all the tasks below it."
    )
    async def cancel_task(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's
        reason: str | None = UNSET,
        force: bool | None = False,
        cascade: bool | None = False,
    ) -> TaskPayload:
        """Cancel a task."""
        how = Cancellation(given(reason, None), force=bool(force), cascade=bool(cascade))
        return await TaskPayload.of(info.context.services.controller.cancel(id, how))

    @strawberry.mutation(description="Create a task like another one, linked to it by replayOf.")
    async def replay_task(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's
        kwargs: JSON | None = UNSET,
        metadata: JSON | None = UNSET,
    ) -> CreateTaskPayload:
        """Replay a task."""
        other = Replay(given(kwargs, None), given(metadata, None))
        return await CreateTaskPayload.of(info.context.services.controller.replay(id, other))

    @strawberry.mutation(description="Let a task that was not started begin at another time.")
    async def reschedule_task(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's
        scheduled_for: datetime,
    ) -> TaskPayload:
        """Reschedule a task."""
        return await TaskPayload.of(info.context.services.controller.reschedule(id, scheduled_for))

    @strawberry.mutation(
        description="Change the metadata of a task, final or not: all operations, in their order, or none. A conflict "
        "only if the metadata has changed since expectedRevision."
    )
    async def update_task_metadata(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's
        operations: list[MetadataOperation],
        expected_revision: int | None = UNSET,
    ) -> TaskPayload:
        """Update a task's metadata."""
        changes = [operation.operation() for operation in operations]
        controller = info.context.services.controller
        return await TaskPayload.of(controller.update_metadata(id, changes, given(expected_revision, None)))

    @strawberry.mutation(description="Delete a task that has ended, with all that is kept of it.")
    async def delete_task(self, info: Info, id: strawberry.ID) -> DeleteTaskPayload:  # noqa: A002 - the schema's
        """Delete a task."""
        return await DeleteTaskPayload.of(info.context.services.controller.delete(id))

    @strawberry.mutation(description=_MANY.format("End", "and that have not ended, nor been asked to"))
    async def cancel_tasks(
        self,
        info: Info,
        filter: TaskFilter,  # noqa: A002 - the schema's
        dry_run: bool | None = True,
    ) -> BulkTaskPayload:
        """Cancel many tasks."""
        return await BulkTaskPayload.of(info.context.services.bulk, Action.CANCEL, filter, dry_run)

    @strawberry.mutation(description=_MANY.format("Create tasks like", "and that were not replayed yet"))
    async def replay_tasks(
        self,
        info: Info,
        filter: TaskFilter,  # noqa: A002 - the schema's
        dry_run: bool | None = True,
    ) -> BulkTaskPayload:
        """Replay many tasks."""
        return await BulkTaskPayload.of(info.context.services.bulk, Action.REPLAY, filter, dry_run)

    @strawberry.mutation(description=_MANY.format("Delete", "and that have ended"))
    async def delete_tasks(
        self,
        info: Info,
        filter: TaskFilter,  # noqa: A002 - the schema's
        dry_run: bool | None = True,
    ) -> BulkTaskPayload:
        """Delete many tasks."""
        return await BulkTaskPayload.of(info.context.services.bulk, Action.DELETE, filter, dry_run)
