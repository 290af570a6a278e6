"""What mutations take and answer. Refusals become ``userErrors`` here, and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Self

import strawberry
from strawberry import UNSET

from gql_api.api.commands.bulk import Bulk
from gql_api.api.commands.create import Creation
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.errors import RefusedError, UserError
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.scalars import JSON, given
from gql_api.api.schema.tasks import Task
from gql_api.query.compile import compile_filter
from gql_api.record.bulk import Action
from gql_api.record.reads import TaskRecord
from gql_api.values import InvalidValueError
from gql_api.values.operations import MetadataOp, Operation

strawberry.enum(MetadataOp, description="What an operation does to the value at its path.")


@strawberry.input(description="A task to be run.")
class CreateTaskInput:
    """The input of createTask."""

    name: str = strawberry.field(description="One of taskDefinitions.")
    args: JSON | None = strawberry.field(default=UNSET, description="Positional arguments: a JSON array.")
    kwargs: JSON | None = strawberry.field(default=UNSET, description="Keyword arguments: a JSON object.")
    metadata: JSON | None = strawberry.field(default=UNSET, description="A JSON object of your own.")
    idempotency_key: str | None = strawberry.field(
        default=UNSET, description="The same key and the same input answer the task that they made first."
    )
    scheduled_for: datetime | None = strawberry.field(default=UNSET, description="Not to start before.")
    delay_seconds: float | None = strawberry.field(
        default=UNSET, description="Not to start before so many seconds from now."
    )
    expires_in_seconds: float | None = strawberry.field(
        default=UNSET, description="To be revoked unless it starts so many seconds after it may."
    )
    priority: int | None = strawberry.field(default=UNSET, description="0 first (default), 9 last.")
    queue: str | None = strawberry.field(default=UNSET, description="One that a worker serves which can run it.")
    time_limit_seconds: float | None = strawberry.field(
        default=UNSET, description="The most that its function may take; its process is ended then."
    )
    parent_id: str | None = strawberry.field(
        default=UNSET, graphql_type=strawberry.ID | None, description="The task that it belongs to."
    )

    def wanted(self) -> TaskInput:
        """The same with defaults for what was left out."""
        return TaskInput(
            name=self.name,
            args=given(self.args, JSON([])),
            kwargs=given(self.kwargs, JSON({})),
            metadata=given(self.metadata, JSON({})),
            idempotency_key=given(self.idempotency_key, None),
            scheduled_for=given(self.scheduled_for, None),
            delay_seconds=given(self.delay_seconds, None),
            expires_in_seconds=given(self.expires_in_seconds, None),
            priority=given(self.priority, None),
            queue=given(self.queue, None),
            time_limit_seconds=given(self.time_limit_seconds, None),
            parent_id=given(self.parent_id, None),
        )


@strawberry.input(description="One change of one value of a task's metadata.")
class MetadataOperation:
    """The input of updateTaskMetadata."""

    op: MetadataOp
    path: str = strawberry.field(
        description="Keys and array indexes between dots; a backslash escapes a dot within a key."
    )
    value: JSON | None = strawberry.field(default=UNSET, description="Not for UNSET. Left out it is null.")

    def operation(self) -> Operation:
        """The same, as the record's half knows it."""
        return Operation(self.op, self.path, given(self.value, None))


@strawberry.type(description="The created task, or why there is none.")
class CreateTaskPayload:
    """What became of one task to be created."""

    task: Task | None = None
    created: bool = strawberry.field(default=False, description="False when nothing new was created.")
    user_errors: list[UserError] = strawberry.field(default_factory=list)

    @classmethod
    async def of(cls, creation: Awaitable[Creation]) -> Self:
        """Make it from a creation."""
        try:
            return cls.known(await creation)
        except RefusedError as refusal:
            return cls.known(refusal)

    @classmethod
    def known(cls, outcome: Creation | RefusedError) -> Self:
        """Make it from one that has ended."""
        if isinstance(outcome, RefusedError):
            return cls(task=_task(outcome), user_errors=outcome.errors)
        return cls(task=Task(outcome.record), created=outcome.created)


@strawberry.type(description="What became of each task, in the order of the inputs.")
class CreateTasksPayload:
    """What became of many."""

    results: list[CreateTaskPayload] = strawberry.field(default_factory=list)
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type(description="The task as it is now, or why it was not changed.")
class TaskPayload:
    """What became of a task."""

    task: Task | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)

    @classmethod
    async def of(cls, changing: Awaitable[TaskRecord]) -> Self:
        """Make it from a change."""
        try:
            return cls(task=Task(await changing))
        except RefusedError as refusal:
            return cls(task=_task(refusal), user_errors=refusal.errors)


@strawberry.type(description="The id of the deleted task, or why it is still there.")
class DeleteTaskPayload:
    """What became of a task to be deleted."""

    deleted_task_id: strawberry.ID | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)

    @classmethod
    async def of(cls, deleting: Awaitable[str]) -> Self:
        """Make it from a deletion."""
        try:
            return cls(deleted_task_id=strawberry.ID(await deleting))
        except RefusedError as refusal:
            return cls(user_errors=refusal.errors)


@strawberry.type(description="How many tasks the filter found, and how many were changed.")
class BulkTaskPayload:
    """What became of many tasks."""

    matched: int = strawberry.field(default=0, description="To these it has still to be done.")
    changed: int = strawberry.field(default=0, description="None in a dry run. Fewer than matched: call again.")
    user_errors: list[UserError] = strawberry.field(default_factory=list)

    @classmethod
    async def of(cls, bulk: Bulk, action: Action, wanted: TaskFilter, dry_run: bool | None) -> Self:
        """Do something to many tasks, unless it is a dry run, which null is too."""
        try:
            query = compile_filter(wanted.wanted()).query
        except InvalidValueError as error:
            return cls(user_errors=RefusedError.for_problems(error.problems, "filter").errors)
        outcome = await bulk.run(action, query, dry_run=dry_run is not False)
        return cls(matched=outcome.matched, changed=outcome.changed, user_errors=outcome.errors)


def _task(refusal: RefusedError) -> Task | None:
    """The task that stands in the way, so that a caller need not ask for it."""
    return None if refusal.task is None else Task(refusal.task)
