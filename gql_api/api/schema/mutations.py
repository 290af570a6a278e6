"""The root type of mutations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import strawberry
from strawberry import UNSET

from gql_api.api.commands.bulk import MAX_TASKS
from gql_api.api.commands.control import Cancellation, ReplayOverrides
from gql_api.api.context import Info
from gql_api.api.errors import Refusal, TaskErrorCode
from gql_api.api.schema.access.audited import audited
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.payloads import (
    BulkTaskPayload,
    CreateTaskInput,
    CreateTaskPayload,
    CreateTasksPayload,
    DeleteTaskPayload,
    MetadataOperation,
    TaskPayload,
    UserError,
)
from gql_api.api.schema.scalars import JSON, or_default
from gql_api.api.schema.tokens import fields as tokens
from gql_api.api.schema.tokens.types import CreateAccessTokenPayload, CreateApiTokenPayload, RevokeApiTokenPayload
from gql_api.record.bulk import Action

_MAX_CREATED = 1000
_BULK = (
    f" One call changes at most {MAX_TASKS:,} tasks, the oldest first, and only tasks that were created before the "
    "call. By default it changes nothing and only counts; see dryRun. It is safe to repeat."
)

_TaskId: TypeAlias = Annotated[
    strawberry.ID, strawberry.argument(description="The Celery task id, as createTask returned it.")
]
_DryRun: TypeAlias = Annotated[
    bool | None,
    strawberry.argument(description="Count the matching tasks and change none, unless this is false. null is true."),
]


@audited
@strawberry.type(
    description="Changes of tasks. Failures that the caller can correct are in userErrors of the payload; all others "
    "are in errors of the answer. A caller changes only tasks that it may see. To create or repeat tasks it needs the "
    "scope TASKS_CREATE, for other changes of tasks TASKS_CONTROL, and to read more of a task in the payload than its "
    "state TASKS_READ; without it, the whole operation fails with the code FORBIDDEN. QUOTA_EXCEEDED means that the "
    "caller has used up a quota: call again after retryAfter seconds, or ask for less if that is not given."
)
class Mutation:
    """The fields of a mutation."""

    @strawberry.mutation(
        description="Store a task and send it to the workers. Without userErrors in the answer the task is stored "
        "durably and will run, even if the broker is down at the moment. The error code CONFLICT means that other "
        "calls were taking the same idempotency key: call again."
    )
    async def create_task(
        self,
        info: Info,
        input: Annotated[CreateTaskInput, strawberry.argument(description="The call and its options.")],
    ) -> CreateTaskPayload:
        """Create one task."""
        return await CreateTaskPayload.of(info.context.creator.create(input.task_input(), info.context.principal))

    @strawberry.mutation(
        description=f"Create up to {_MAX_CREATED:,} tasks at once. Each has a result of its own: one that is refused "
        "does not stop the others."
    )
    async def create_tasks(
        self,
        info: Info,
        inputs: Annotated[
            list[CreateTaskInput], strawberry.argument(description=f"The tasks to create, at most {_MAX_CREATED:,}.")
        ],
    ) -> CreateTasksPayload:
        """Create many tasks."""
        if len(inputs) > _MAX_CREATED:
            message = f"inputs: at most {_MAX_CREATED} allowed, got {len(inputs)}"
            refusal = Refusal(TaskErrorCode.INVALID_INPUT, message, ["inputs"])
            return CreateTasksPayload(user_errors=[UserError.of(refusal)])
        task_inputs = [each.task_input() for each in inputs]
        outcomes = await info.context.creator.create_many(task_inputs, info.context.principal)
        return CreateTasksPayload(results=[CreateTaskPayload.from_outcome(outcome) for outcome in outcomes])

    @strawberry.mutation(
        description="Cancel a task. A task that is not running becomes REVOKED at once and never runs. A running one "
        "gets cancelRequestedAt, and its function is asked to stop; force ends its process. For a task that has ended "
        "the call is refused with ALREADY_FINAL. The error code CONFLICT means that the task changed too often during "
        "the call: call again."
    )
    async def cancel_task(
        self,
        info: Info,
        id: _TaskId,
        reason: Annotated[
            str | None,
            strawberry.argument(
                description='Becomes the message of error, at most 1,000 characters; "cancelled" by default.'
            ),
        ] = UNSET,
        force: Annotated[
            bool | None,
            strawberry.argument(
                description="End the process that runs the function, within seconds. Needs a worker with the prefork "
                "pool."
            ),
        ] = False,
        cascade: Annotated[
            bool | None,
            strawberry.argument(
                description="Cancel the unfinished children too, and theirs, at most 10,000 in one call. It also works "
                "below a task that has ended."
            ),
        ] = False,
    ) -> TaskPayload:
        """Cancel a task."""
        cancellation = Cancellation(or_default(reason, None), force=bool(force), cascade=bool(cascade))
        return await TaskPayload.of(info.context.controller.cancel(id, cancellation, info.context.principal))

    @strawberry.mutation(
        description="Create a task with the name, arguments, metadata, queue and priority of another one, in any "
        "status. replayOf of the new task leads to that one."
    )
    async def replay_task(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The Celery task id of the task to repeat.")],
        kwargs: Annotated[
            JSON | None,
            strawberry.argument(description="Keyword arguments instead of those of the repeated task, a JSON object."),
        ] = UNSET,
        metadata: Annotated[
            JSON | None,
            strawberry.argument(description="A JSON object that replaces the metadata of the repeated task."),
        ] = UNSET,
    ) -> CreateTaskPayload:
        """Replay a task."""
        overrides = ReplayOverrides(or_default(kwargs, None), or_default(metadata, None))
        return await CreateTaskPayload.of(info.context.controller.replay(id, overrides, info.context.principal))

    @strawberry.mutation(
        description="Change the start time of a task that no worker has started yet. Its expiry moves by the same time."
    )
    async def reschedule_task(
        self,
        info: Info,
        id: _TaskId,
        scheduled_for: Annotated[
            datetime,
            strawberry.argument(description="The new start time, at most ten years ahead; at once when it is past."),
        ],
    ) -> TaskPayload:
        """Reschedule a task."""
        return await TaskPayload.of(info.context.controller.reschedule(id, scheduled_for, info.context.principal))

    @strawberry.mutation(
        description="Change the metadata of a task in any status. Either all operations are applied, in their order, "
        "or none."
    )
    async def update_task_metadata(
        self,
        info: Info,
        id: _TaskId,
        operations: Annotated[
            list[MetadataOperation],
            strawberry.argument(description="The changes, at most 100, each applied to the result of the one before."),
        ],
        expected_revision: Annotated[
            int | None,
            strawberry.argument(
                description="The revision of the task that you read. When the metadata has changed since, nothing is "
                "done and the error is REVISION_CONFLICT; other changes of the task do not matter. By default it is "
                "not checked."
            ),
        ] = UNSET,
    ) -> TaskPayload:
        """Update a task's metadata."""
        converted = [operation.operation() for operation in operations]
        update = info.context.controller.update_metadata(
            id, converted, or_default(expected_revision, None), info.context.principal
        )
        return await TaskPayload.of(update)

    @strawberry.mutation(
        description="Delete a task that has ended, with its log and everything else that is stored about it. This "
        "cannot be undone. Members of a chord that has not ended stay, because its body needs their results."
    )
    async def delete_task(self, info: Info, id: _TaskId) -> DeleteTaskPayload:
        """Delete a task."""
        return await DeleteTaskPayload.of(info.context.controller.delete(id, info.context.principal))

    @strawberry.mutation(
        description="Cancel the matching tasks that have not ended and were not asked to stop, as cancelTask does "
        "without force and cascade." + _BULK
    )
    async def cancel_tasks(
        self,
        info: Info,
        filter: Annotated[
            TaskFilter, strawberry.argument(description="Which tasks to cancel; an empty filter matches all.")
        ],
        dry_run: _DryRun = True,
    ) -> BulkTaskPayload:
        """Cancel many tasks."""
        return await BulkTaskPayload.of(info.context, Action.CANCEL, filter, dry_run)

    @strawberry.mutation(
        description="Repeat the matching tasks that were not replayed yet, as replayTask does. Tasks that cannot be "
        "created today are in userErrors, and the others are replayed." + _BULK
    )
    async def replay_tasks(
        self,
        info: Info,
        filter: Annotated[
            TaskFilter, strawberry.argument(description="Which tasks to repeat; an empty filter matches all.")
        ],
        dry_run: _DryRun = True,
    ) -> BulkTaskPayload:
        """Replay many tasks."""
        return await BulkTaskPayload.of(info.context, Action.REPLAY, filter, dry_run)

    @strawberry.mutation(
        description="Delete the matching tasks that have ended, as deleteTask does; the others stay." + _BULK
    )
    async def delete_tasks(
        self,
        info: Info,
        filter: Annotated[
            TaskFilter, strawberry.argument(description="Which tasks to delete; an empty filter matches all.")
        ],
        dry_run: _DryRun = True,
    ) -> BulkTaskPayload:
        """Delete many tasks."""
        return await BulkTaskPayload.of(info.context, Action.DELETE, filter, dry_run)

    create_access_token: CreateAccessTokenPayload = strawberry.mutation(
        resolver=tokens.create_access_token,
        description="Issue a short-lived token for a browser or a job, never wider than your own. Revoking the API "
        "token with which it was made, directly or by another access token, ends it too.",
    )
    create_api_token: CreateApiTokenPayload = strawberry.mutation(
        resolver=tokens.create_api_token,
        description="Make a token for a program, never wider than your own. Needs the scope ADMIN.",
    )
    revoke_api_token: RevokeApiTokenPayload = strawberry.mutation(
        resolver=tokens.revoke_api_token,
        description="Revoke an API token of your tenant. All access with it, and with access tokens that were made "
        "with it, ends within two seconds. It is safe to repeat. Needs the scope ADMIN.",
    )
