"""What a caller may do to a task that exists: cancel, reschedule, replay, change its metadata, delete it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gql_api import values
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.create import Creation, Creator
from gql_api.api.commands.task_input import TaskInput, too_late
from gql_api.api.errors import RefusedError, TaskErrorCode, already_final, not_found
from gql_api.api.store.tasks import TaskStore
from gql_api.record import bulk, control
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.values.operations import MetadataError, Operation, apply_operations

# A task may begin, or end, between what was read of it and what is written: then it is looked at again.
_TRIES = 10
_MAX_REASON = 1000
_MAX_CANCELLED = 10_000
_CONCURRENCY = 20
_HAS_PROCESSES = "prefork"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How a caller wants a task to end."""

    reason: str | None = None
    force: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be other than in the task that is repeated; None leaves it as it was."""

    kwargs: Any = None
    metadata: Any = None


def replayed(record: TaskRecord, other: Replay, new_id: str | None = None) -> TaskInput:
    """What to create so that a task is repeated."""
    return TaskInput(
        name=record.name,
        args=record.args,
        kwargs=record.kwargs if other.kwargs is None else other.kwargs,
        metadata=record.metadata if other.metadata is None else other.metadata,
        queue=record.queue,
        priority=record.priority,
        replay_of=record.id,
        task_id=new_id,
    )


class Controller:
    """Does it, by conditional writes: what does not fit the task's state any more is not done."""

    def __init__(self, settings: Settings, store: TaskStore, changes: Changes, creator: Creator) -> None:
        self._settings = settings
        self._store = store
        self._changes = changes
        self._creator = creator

    async def cancel(self, task_id: str, how: Cancellation) -> TaskRecord:
        """End a task that waits, at once; ask one that runs for its end.

        Raises:
            RefusedError: there is no such task, it is final, or nothing can end it by force.
        """
        if how.reason is not None and len(how.reason) > _MAX_REASON:
            message = f"reason: is longer than {_MAX_REASON} characters"
            raise RefusedError.because(TaskErrorCode.INVALID_INPUT, message, "reason")
        known = await self._known(task_id)
        record = None if known.is_final else await self._cancel_one(task_id, how)
        # Also below a task that has ended: a call that failed half-way can be repeated.
        if how.cascade:
            await self._cancel_below(task_id, how)
        if record is None:
            raise already_final(known)
        return record

    async def reschedule(self, task_id: str, time: datetime) -> TaskRecord:
        """Let a task that was not started begin at another time.

        Raises:
            RefusedError: there is no such task, or it was started already.
        """
        problem = too_late(time)
        if problem is not None:
            raise RefusedError.because(TaskErrorCode.INVALID_INPUT, f"scheduledFor {problem}", "scheduledFor")
        before = await self._known(task_id)
        record = await self._changes.make(control.reschedule(task_id, time))
        if record is None:
            known = await self._known(task_id)
            if known.is_final:
                raise already_final(known)
            message = f"Only a task that was not started can be rescheduled; this one is {known.status}"
            raise RefusedError.because(TaskErrorCode.INVALID_INPUT, message, "id", task=known)
        if (before.status, record.status) == (Status.SCHEDULED, Status.QUEUED):
            await self._creator.publish(record.as_sent())
        return record

    async def replay(self, task_id: str, other: Replay) -> Creation:
        """Create a task like another one, which it is linked to.

        Raises:
            RefusedError: there is no such task, or it could not be created today.
        """
        record = await self._known(task_id)
        creation = await self._creator.create(replayed(record, other))
        await self._store.change_many([bulk.mark_replayed([task_id])])
        return creation

    async def update_metadata(
        self, task_id: str, operations: Sequence[Operation], expected_revision: int | None
    ) -> TaskRecord:
        """Change the metadata of a task, final or not, all operations or none.

        Raises:
            RefusedError: there is no such task, its metadata has changed since ``expected_revision``, or the
                operations do not fit.
        """
        while True:
            record = await self._known(task_id)
            if expected_revision is not None and (record.metadata_revision or 1) > expected_revision:
                message = f"The metadata was changed at revision {record.metadata_revision}"
                raise RefusedError.because(TaskErrorCode.REVISION_CONFLICT, message, "expectedRevision", task=record)
            try:
                changed = apply_operations(record.metadata, operations, self._settings.metadata_max_bytes)
            except MetadataError as error:
                raise RefusedError.for_problems(error.problems) from error
            write = control.replace_metadata(task_id, changed, record.metadata_revision)
            if (stored := await self._changes.make(write)) is not None:
                return stored

    async def delete(self, task_id: str) -> str:
        """Delete a task that is final.

        Raises:
            RefusedError: there is no such task, or it is not final.
        """
        if not values.is_text(task_id) or not await self._changes.delete([task_id]):
            record = await self._known(task_id)
            message = f"Only a task that has ended can be deleted; this one is {record.status}"
            raise RefusedError.because(TaskErrorCode.INVALID_INPUT, message, "id", task=record)
        return task_id

    async def _known(self, task_id: str) -> TaskRecord:
        record = await self._store.get(task_id)
        if record is None:
            raise not_found(task_id)
        return record

    async def _cancel_one(self, task_id: str, how: Cancellation) -> TaskRecord:
        for _ in range(_TRIES):
            record = await self._known(task_id)
            if record.is_final:
                raise already_final(record)
            if record.status is not Status.STARTED:
                done = await self._changes.make(control.cancel_waiting(task_id, how.reason))
            else:
                if how.force:
                    await self._check_force(record)
                done = await self._changes.make(control.request_cancel(task_id, how.reason, force=how.force))
                if done is None and await self._is_asked_already(task_id):
                    return await self._known(task_id)
            if done is not None:
                return done
        raise AssertionError(f"task {task_id} changes faster than it can be cancelled")

    async def _is_asked_already(self, task_id: str) -> bool:
        record = await self._known(task_id)
        return record.status is Status.STARTED and record.cancel_requested_at is not None

    async def _check_force(self, record: TaskRecord) -> None:
        pool = None if record.worker is None else await self._store.pool_of(record.worker)
        if pool is not None and pool != _HAS_PROCESSES:
            message = f"The {pool} pool of {record.worker} cannot end a task by force; cancel it without"
            raise RefusedError.because(TaskErrorCode.INVALID_INPUT, message, "force", task=record)

    async def _cancel_below(self, task_id: str, how: Cancellation) -> None:
        """Cancel all below a task, level by level; a child that has ended stays.

        Raises:
            RefusedError: there were more than one call may cancel. Repeated, it goes on.
        """
        level, seen, left = [task_id], {task_id}, _MAX_CANCELLED
        while level:
            below = [record for record in await self._store.below(level) if record.id not in seen]
            unfinished = [record.id for record in below if not record.is_final]
            for start in range(0, len(unfinished), _CONCURRENCY):
                if left <= 0:
                    message = f"More than {_MAX_CANCELLED} tasks are below it: call again for the rest"
                    raise RefusedError.because(TaskErrorCode.INVALID_INPUT, message, "cascade")
                some = unfinished[start : start + _CONCURRENCY]
                await asyncio.gather(*(self._cancel_gently(child, how) for child in some))
                left -= len(some)
            level = [record.id for record in below]
            seen.update(level)

    async def _cancel_gently(self, child: str, how: Cancellation) -> None:
        """Cancel a child, without force where force cannot be; one that has ended meanwhile stays."""
        for manner in (how, Cancellation(how.reason)):
            try:
                await self._cancel_one(child, manner)
            except RefusedError:
                continue
            return
