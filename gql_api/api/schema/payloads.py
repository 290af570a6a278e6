"""Inputs and payloads of mutations. Refusals become ``userErrors`` here, and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Self

import strawberry
from strawberry import UNSET

from gql_api.api.commands.create import Creation
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.context import Context
from gql_api.api.errors import MutationRefusedError, Refusal, TaskErrorCode
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.scalars import JSON, expose_enum, of_leaves, or_default
from gql_api.api.schema.tasks import Task
from gql_api.query.compile import compile_filter
from gql_api.record.bulk import Action
from gql_api.record.reads import TaskRecord
from gql_api.values import InvalidValueError
from gql_api.values.operations import MetadataOp, Operation

expose_enum(
    TaskErrorCode,
    {
        TaskErrorCode.INVALID_INPUT: "An argument has a value that is not allowed, in general or with the caller's "
        "token, or the task is in a status in which this cannot be done.",
        TaskErrorCode.UNKNOWN_TASK_NAME: "No worker has announced a task function with this name, or the caller's "
        "token does not allow it.",
        TaskErrorCode.METADATA_TOO_LARGE: "The metadata has more bytes, keys or levels than allowed, or would have "
        "after the operations.",
        TaskErrorCode.NOT_FOUND: "There is no task, or no API token, with this id that the caller may see.",
        TaskErrorCode.ALREADY_FINAL: "The task has already ended, so it cannot be cancelled or rescheduled.",
        TaskErrorCode.IDEMPOTENCY_CONFLICT: "The idempotency key belongs to a task with another input, or other calls "
        "are taking it at this moment; the message says which, and names that task if the caller may see it. In the "
        "second case, call again.",
        TaskErrorCode.REVISION_CONFLICT: "The metadata has changed since expectedRevision. Read it and try again.",
    },
    description="The kind of an expected failure of a mutation.",
)

expose_enum(
    MetadataOp,
    {
        MetadataOp.SET: "Store the value. Creates missing objects on the path; in an array it replaces an element.",
        MetadataOp.UNSET: "Remove the key, or the element of an array. Nothing happens if it is missing.",
        MetadataOp.INCREMENT: "Add the value to the number at the path; a missing number counts as 0.",
        MetadataOp.APPEND: "Add the value to the end of the array at the path; a missing array is created.",
    },
    description="What an operation does to the value at its path.",
)

_USER_ERRORS = "Why nothing was changed, for reasons that the caller can correct; empty on success."


@strawberry.type(description="An expected failure of a mutation, which the caller can correct.")
class UserError:
    """An item of ``userErrors``."""

    code: TaskErrorCode = strawberry.field(description="The kind of failure, on which a program can decide.")
    message: str = strawberry.field(description="What is wrong, the limit and the value that was sent, in English.")
    field: list[str] | None = strawberry.field(
        description='The path of the argument that caused it, like ["input", "kwargs", "x"]; null when no argument '
        "caused it."
    )

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """Convert a reason."""
        return cls(code=refusal.code, message=refusal.message, field=refusal.field)


@of_leaves
@strawberry.input(description="A call of a task function, with options for when, where and how it runs.")
class CreateTaskInput:
    """The input of createTask."""

    name: str = strawberry.field(description="The Celery task name; taskDefinitions lists those that can be created.")
    args: JSON | None = strawberry.field(
        default=UNSET, description="The positional arguments of the function, a JSON array; [] by default."
    )
    kwargs: JSON | None = strawberry.field(
        default=UNSET, description="The keyword arguments of the function, a JSON object; {} by default."
    )
    metadata: JSON | None = strawberry.field(
        default=UNSET,
        description="A JSON object of your own, which is stored with the task and which filters can search; {} by "
        "default, at most 64 KiB unless METADATA_MAX_BYTES says otherwise. The metadata of the caller's token is "
        "merged into it, and its values win.",
    )
    idempotency_key: str | None = strawberry.field(
        default=UNSET,
        description="A text of 1 to 255 characters that makes the call safe to repeat: the same key with the same "
        "input returns the task that the first call created. A key belongs to the task name, and to the subject "
        "and the filter of the caller's token; it expires after 24 hours unless IDEMPOTENCY_KEY_SECONDS says "
        "otherwise.",
    )
    scheduled_for: datetime | None = strawberry.field(
        default=UNSET,
        description="The time before which the task must not start, at most ten years ahead; at once by default. Not "
        "together with delaySeconds.",
    )
    delay_seconds: float | None = strawberry.field(
        default=UNSET,
        description="The same as scheduledFor, as a number of seconds from now. Not together with scheduledFor.",
    )
    expires_in_seconds: float | None = strawberry.field(
        default=UNSET,
        description="The number of seconds, counted from when the task may start, after which it becomes REVOKED "
        "unless a worker has started it; it never expires by default.",
    )
    priority: int | None = strawberry.field(
        default=UNSET, description="From 0 (runs first, the default) to 9 (runs last)."
    )
    queue: str | None = strawberry.field(
        default=UNSET,
        description="A queue that is consumed by a live worker which can run the task; the task function's own queue "
        "by default.",
    )
    time_limit_seconds: float | None = strawberry.field(
        default=UNSET,
        description="How many seconds an attempt may run. After that its process is ended and the task fails. It is "
        "refused while a live worker that consumes the queue and knows the task function has a pool that cannot do "
        "that (thread or solo). By default the limit of the task function applies.",
    )
    parent_id: str | None = strawberry.field(
        default=UNSET,
        graphql_type=strawberry.ID | None,
        description="The id of an existing task that becomes the parent of this one; no parent by default.",
    )

    def task_input(self) -> TaskInput:
        """Convert the input, with defaults for the fields that were left out."""
        return TaskInput(
            name=self.name,
            args=or_default(self.args, JSON([])),
            kwargs=or_default(self.kwargs, JSON({})),
            metadata=or_default(self.metadata, JSON({})),
            idempotency_key=or_default(self.idempotency_key, None),
            scheduled_for=or_default(self.scheduled_for, None),
            delay_seconds=or_default(self.delay_seconds, None),
            expires_in_seconds=or_default(self.expires_in_seconds, None),
            priority=or_default(self.priority, None),
            queue=or_default(self.queue, None),
            time_limit_seconds=or_default(self.time_limit_seconds, None),
            parent_id=or_default(self.parent_id, None),
        )


@strawberry.input(description="One change of one value in a task's metadata.")
class MetadataOperation:
    """An item of ``operations`` of updateTaskMetadata."""

    op: MetadataOp = strawberry.field(description="What to do with the value at the path.")
    path: str = strawberry.field(
        description='Keys and array indexes separated by dots, like "customer.tier" or "items.0". A backslash escapes '
        "a dot or a backslash in a key."
    )
    value: JSON | None = strawberry.field(
        default=UNSET,
        description="The value to store, add or append; null when it is left out. INCREMENT needs a number; UNSET "
        "does not use it.",
    )

    def operation(self) -> Operation:
        """Convert the input."""
        return Operation(self.op, self.path, or_default(self.value, None))


@strawberry.type(description="The result of creating one task.")
class CreateTaskPayload:
    """The result of createTask and replayTask, and an item of createTasks."""

    task: Task | None = strawberry.field(
        default=None,
        description="The new task, or the one that an earlier call with the same idempotency key created. Null "
        "when userErrors is not empty: of a task whose key came with another input, the message has the id.",
    )
    created: bool = strawberry.field(
        default=False,
        description="Whether this call created the task: false for an earlier call's task, and when userErrors is not "
        "empty.",
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)

    @classmethod
    async def of(cls, creation: Awaitable[Creation]) -> Self:
        """Await a creation and return its payload."""
        try:
            return cls.from_outcome(await creation)
        except MutationRefusedError as error:
            return cls.from_outcome(error)

    @classmethod
    def from_outcome(cls, outcome: Creation | MutationRefusedError) -> Self:
        """Convert the outcome of a creation."""
        if isinstance(outcome, MutationRefusedError):
            return cls(user_errors=_user_errors(outcome))
        return cls(task=Task(outcome.record), created=outcome.created)


@strawberry.type(description="The results of creating many tasks.")
class CreateTasksPayload:
    """The result of createTasks."""

    results: list[CreateTaskPayload] = strawberry.field(
        default_factory=list,
        description="The result of each input, in the order of inputs; empty when userErrors is not.",
    )
    user_errors: list[UserError] = strawberry.field(
        default_factory=list,
        description="Why no task was created at all. The failures of single inputs are in their own results.",
    )


@strawberry.type(description="The result of changing one task.")
class TaskPayload:
    """The result of the mutations that change a task."""

    task: Task | None = strawberry.field(
        default=None,
        description="The task after the change. When the change was refused, the task as it is if the refusal is about "
        "its state, otherwise null.",
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)

    @classmethod
    async def of(cls, change: Awaitable[TaskRecord]) -> Self:
        """Await a change and return its payload."""
        try:
            return cls(task=Task(await change))
        except MutationRefusedError as error:
            return cls(task=_task(error), user_errors=_user_errors(error))


@strawberry.type(description="The result of deleting one task.")
class DeleteTaskPayload:
    """The result of deleteTask."""

    deleted_task_id: strawberry.ID | None = strawberry.field(
        default=None, description="The id of the task that this call deleted; null when userErrors is not empty."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)

    @classmethod
    async def of(cls, deletion: Awaitable[str]) -> Self:
        """Await a deletion and return its payload."""
        try:
            return cls(deleted_task_id=strawberry.ID(await deletion))
        except MutationRefusedError as error:
            return cls(user_errors=_user_errors(error))


@strawberry.type(description="The result of changing all tasks that match a filter.")
class BulkTaskPayload:
    """The result of the bulk mutations."""

    matched: int = strawberry.field(
        default=0, description="How many tasks matched the filter and could be changed when the call began."
    )
    changed: int = strawberry.field(
        default=0,
        description="How many tasks this call changed; 0 in a dry run. When it is less than matched, call again for "
        "the rest.",
    )
    user_errors: list[UserError] = strawberry.field(
        default_factory=list,
        description="Why the filter was refused, or why single tasks could not be replayed; empty otherwise.",
    )

    @classmethod
    async def of(cls, context: Context, action: Action, filter_: TaskFilter, dry_run: bool | None) -> Self:
        """Change the tasks that match a filter, or count them in a dry run; null means a dry run."""
        try:
            query = compile_filter(filter_.task_filter()).query
        except InvalidValueError as error:
            return cls(user_errors=_user_errors(MutationRefusedError.for_problems(error.problems, "filter")))
        outcome = await context.bulk.run(action, query, context.principal, dry_run=dry_run is not False)
        user_errors = [UserError.of(refusal) for refusal in outcome.refusals]
        return cls(matched=outcome.matched, changed=outcome.changed, user_errors=user_errors)


def _user_errors(error: MutationRefusedError) -> list[UserError]:
    return [UserError.of(refusal) for refusal in error.refusals]


def _task(error: MutationRefusedError) -> Task | None:
    """Return the task that the refusal is about, so that the caller need not read it."""
    return None if error.task is None else Task(error.task)
