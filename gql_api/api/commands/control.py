"""Commands on one existing task: cancel, reschedule or replay it, change its metadata, delete it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gql_api import values
from gql_api.access.principal import Principal
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.create import Creation, Creator
from gql_api.api.commands.restrictions import changed_values
from gql_api.api.commands.task_input import TaskInput, time_problem
from gql_api.api.errors import ConflictError, MutationRefusedError, TaskErrorCode
from gql_api.api.store.tasks import TaskStore
from gql_api.record import bulk, control
from gql_api.record.fields import Status
from gql_api.record.model import Arguments
from gql_api.record.reads import TaskRecord
from gql_api.registry.redaction import HIDDEN_VALUE
from gql_api.settings import Settings
from gql_api.values.operations import MetadataError, Operation, apply_operations

# A task may start or end between the read and the write: then it is read again, so often at most.
_MAX_TRIES = 10
_MAX_REASON = 1000
_MAX_CANCELLED = 10_000
_CONCURRENCY = 20
_POOL_WITH_PROCESSES = "prefork"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The options of a cancellation."""

    reason: str | None = None
    force: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class ReplayOverrides:
    """The values that a replay has instead of those of the repeated task; None keeps the repeated task's."""

    kwargs: Any = None
    metadata: Any = None


def replay_input(record: TaskRecord, overrides: ReplayOverrides, new_id: str | None = None) -> TaskInput:
    """Return the input that creates a replay of a task, whose hidden arguments are hidden again."""
    real, shown = record.arguments, None
    if record.hidden is not None:
        is_repeated = overrides.kwargs is None
        shown = Arguments(record.args, record.kwargs if is_repeated else _shown_kwargs(record, overrides.kwargs))
    return TaskInput(
        name=record.name,
        args=real.args,
        kwargs=real.kwargs if overrides.kwargs is None else overrides.kwargs,
        shown=shown,
        metadata=record.metadata if overrides.metadata is None else overrides.metadata,
        queue=record.queue,
        priority=record.priority,
        replay_of=record.id,
        owner=record.owner,
        tenant=record.tenant,
        task_id=new_id,
        as_stored=frozenset({"args"} if overrides.kwargs is not None else {"args", "kwargs"}),
    )


def _shown_kwargs(record: TaskRecord, given: Any) -> Any:
    """Return what clients see of new kwargs for a task with hidden ones: values whose names had visible ones."""
    if not isinstance(given, dict):
        return given
    shown, real = record.kwargs, record.arguments.kwargs
    visible = {name for name, value in shown.items() if name in real and real[name] == value}
    return {name: value if name in visible else HIDDEN_VALUE for name, value in given.items()}


class Controller:
    """The commands on one task, by conditional writes: a write whose task has changed in between has no effect."""

    def __init__(self, settings: Settings, store: TaskStore, changes: Changes, creator: Creator) -> None:
        self._settings = settings
        self._store = store
        self._changes = changes
        self._creator = creator

    async def cancel(self, task_id: str, cancellation: Cancellation, principal: Principal) -> TaskRecord:
        """Revoke a task that waits; request the cancellation of a task that runs.

        Raises:
            MutationRefusedError: there is no task with this id, it is final, or its worker cannot end it by force.
            ConflictError: the task changed at every try.
        """
        reason = cancellation.reason
        if reason is not None and len(reason) > _MAX_REASON:
            message = f"reason: at most {_MAX_REASON} characters allowed, got {len(reason)}"
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "reason")
        current = await self._get(task_id, principal)
        record = None if current.is_final else await self._cancel_one(task_id, cancellation, principal)
        # Also below a task that has ended: a call that failed midway can be repeated.
        if cancellation.cascade:
            await self._cancel_descendants(task_id, cancellation, principal)
        if record is None:
            raise MutationRefusedError.already_final(current)
        return record

    async def reschedule(self, task_id: str, time: datetime, principal: Principal) -> TaskRecord:
        """Change the start time of a task that was never started.

        Raises:
            MutationRefusedError: there is no task with this id, or it was started already.
        """
        problem = time_problem(time)
        if problem is not None:
            message = f"scheduledFor: {problem}"
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "scheduledFor")
        before = await self._get(task_id, principal)
        write = control.reschedule(task_id, time, actor=principal.subject)
        record = await self._changes.apply(write, principal.visibility)
        if record is None:
            current = await self._get(task_id, principal)
            if current.is_final:
                raise MutationRefusedError.already_final(current)
            if current.waits_for is not None:
                message = "id: the task is a later step of a chain or chord, which starts after the tasks before it"
                raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "id", task=current)
            message = f"id: only a task that was never started can be rescheduled, got one with status {current.status}"
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "id", task=current)
        if (before.status, record.status) == (Status.SCHEDULED, Status.QUEUED):
            await self._creator.publish(record.as_sent())
        return record

    async def replay(self, task_id: str, overrides: ReplayOverrides, principal: Principal) -> Creation:
        """Create a task that repeats another one and is linked to it.

        Raises:
            MutationRefusedError: there is no task with this id, or it could not be created today.
        """
        record = await self._get(task_id, principal)
        creation = await self._creator.create(replay_input(record, overrides), principal)
        await self._store.change_many([bulk.mark_replayed([task_id])], principal.visibility)
        return creation

    async def update_metadata(
        self, task_id: str, operations: Sequence[Operation], expected_revision: int | None, principal: Principal
    ) -> TaskRecord:
        """Apply all operations or none to the metadata of a task, which may be final.

        Raises:
            MutationRefusedError: there is no task with this id, its metadata has changed since ``expected_revision``,
                or an operation cannot be applied, or the token of the caller does not allow the change.
        """
        while True:
            record = await self._get(task_id, principal)
            if expected_revision is not None and (record.metadata_revision or 1) > expected_revision:
                message = (
                    f"expectedRevision: the metadata last changed at revision {record.metadata_revision}, "
                    f"got {expected_revision}"
                )
                raise MutationRefusedError.because(
                    TaskErrorCode.REVISION_CONFLICT, message, "expectedRevision", task=record
                )
            try:
                changed = apply_operations(
                    record.metadata,
                    operations,
                    self._settings.metadata_max_bytes,
                    max_depth=self._settings.metadata_max_depth,
                    max_keys=self._settings.metadata_max_keys,
                )
            except MetadataError as error:
                raise MutationRefusedError.for_problems(error.problems) from error
            _check_metadata(record, changed, principal)
            write = control.replace_metadata(task_id, changed, record.metadata_revision)
            # A write without effect means that another one has succeeded since the read.
            if (stored := await self._changes.apply(write, principal.visibility)) is not None:
                return stored

    async def delete(self, task_id: str, principal: Principal) -> str:
        """Delete a task that is final, and return its id.

        Raises:
            MutationRefusedError: there is no task with this id, or it is not final.
        """
        if not values.is_text(task_id) or not await self._changes.delete([task_id], principal.visibility):
            record = await self._get(task_id, principal)
            message = f"id: only a task that has ended can be deleted, got one with status {record.status}"
            if record.is_final:
                message = (
                    "id: the task belongs to a chain or a chord that has not ended yet, and cannot be deleted before: "
                    "wait for the chord's other members, or cancel them"
                )
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "id", task=record)
        return task_id

    async def _get(self, task_id: str, principal: Principal) -> TaskRecord:
        record = await self._store.get(task_id, principal.visibility)
        if record is None:
            raise MutationRefusedError.not_found(task_id)
        return record

    async def _cancel_one(self, task_id: str, cancellation: Cancellation, principal: Principal) -> TaskRecord:
        for _ in range(_MAX_TRIES):
            record = await self._get(task_id, principal)
            if record.is_final:
                raise MutationRefusedError.already_final(record)
            if record.status is not Status.STARTED:
                write = control.cancel_waiting(task_id, cancellation.reason, actor=principal.subject)
            else:
                if cancellation.force:
                    await self._check_force(record)
                write = control.request_cancel(
                    task_id, cancellation.reason, force=cancellation.force, actor=principal.subject
                )
            cancelled = await self._changes.apply(write, principal.visibility)
            if cancelled is not None:
                return cancelled
            if record.status is Status.STARTED and await self._is_requested(task_id, principal):
                return await self._get(task_id, principal)
        raise ConflictError(f"Task {task_id} changed during each of {_MAX_TRIES} tries to cancel it: call again")

    async def _is_requested(self, task_id: str, principal: Principal) -> bool:
        record = await self._get(task_id, principal)
        return record.status is Status.STARTED and record.cancel_requested_at is not None

    async def _check_force(self, record: TaskRecord) -> None:
        pool = None if record.worker is None else await self._store.worker_pool(record.worker, record.worker_run)
        if pool is not None and pool != _POOL_WITH_PROCESSES:
            message = (
                f"force: needs the {_POOL_WITH_PROCESSES} pool, got {pool} on {record.worker}; cancel without force"
            )
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "force", task=record)

    async def _cancel_descendants(self, task_id: str, cancellation: Cancellation, principal: Principal) -> None:
        """Cancel all visible unfinished descendants of a task, level by level.

        Raises:
            MutationRefusedError: there were more than one call may cancel. A repeated call continues.
        """
        level, seen, left = [task_id], {task_id}, _MAX_CANCELLED
        while level:
            found = await self._store.children_of(level, principal.visibility)
            children = [record for record in found if record.id not in seen]
            unfinished = [record.id for record in children if not record.is_final]
            for start in range(0, len(unfinished), _CONCURRENCY):
                if left <= 0:
                    message = f"cascade: at most {_MAX_CANCELLED} descendants in one call; call again for the rest"
                    raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "cascade")
                some = unfinished[start : start + _CONCURRENCY]
                await asyncio.gather(*(self._cancel_descendant(child, cancellation, principal) for child in some))
                left -= len(some)
            level = [record.id for record in children]
            seen.update(level)

    async def _cancel_descendant(self, child: str, cancellation: Cancellation, principal: Principal) -> None:
        """Cancel a task, without force if its worker cannot use force; skip a task that has ended in between."""
        for options in (cancellation, Cancellation(cancellation.reason)):
            try:
                await self._cancel_one(child, options, principal)
            except MutationRefusedError:
                continue
            return


def _check_metadata(record: TaskRecord, changed: dict[str, Any], principal: Principal) -> None:
    """Check that a caller may give a task other metadata. The write has no effect if it has changed in between.

    Raises:
        MutationRefusedError: a value of the token's metadata would change, or the caller would not see the task any
            more.
    """
    fixed = next(changed_values(record.metadata, changed, principal.restrictions), None)
    if fixed is not None:
        message = f"operations: the token does not allow {'.'.join(fixed)} to be changed"
        raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "operations")
    visibility = principal.visibility
    if not visibility.sees_everything and not visibility.sees(record.with_metadata(changed)):
        message = "operations: the token sees only tasks that match its filter, and this task would not match it"
        raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "operations")
