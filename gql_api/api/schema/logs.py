"""The log of a task as clients see it: in pages, and live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Self

import strawberry

from gql_api import values
from gql_api.api.context import Info, Services
from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.pubsub.mailbox import LogMailbox
from gql_api.api.schema.pagination import MAX_PAGE_SIZE, CursorError, LogCursor, checked_size
from gql_api.api.schema.scalars import expose_enum
from gql_api.api.schema.types import PageInfo
from gql_api.api.store.budget import current_budget
from gql_api.api.store.committed import VisibleTask
from gql_api.record.logs import LogLevel, LogLine
from gql_api.record.reads import TaskRecord

expose_enum(
    LogLevel,
    {
        LogLevel.DEBUG: "Details that help to examine the task function.",
        LogLevel.INFO: "What the task is doing.",
        LogLevel.WARNING: "Something unexpected that did not stop the task.",
        LogLevel.ERROR: "Something failed. Python's CRITICAL is stored as ERROR too.",
    },
    name="LogLevel",
    description="The severity of a log line, from DEBUG, the lowest, to ERROR, the highest.",
)

DEFAULT_LOG_PAGE_SIZE = 100


@strawberry.type(
    description="A line that a task logged, by self.log or by a logger of Celery's get_task_logger. A traceback is "
    "part of its line."
)
class TaskLog:
    """A line of a task's log."""

    cursor: str = strawberry.field(
        description="The position of the line in the log. Pass it as after to continue with the next line."
    )
    at: datetime = strawberry.field(description="When the line was logged, by the clock of the database.")
    level: LogLevel = strawberry.field(description="The severity with which the task logged it.")
    message: str = strawberry.field(description='The text. Text above 8 KiB is cut and ends in "…".')

    @classmethod
    def of(cls, task_id: str, line: LogLine) -> Self:
        """Convert a stored line."""
        cursor = str(LogCursor(task_id, line.position))
        return cls(cursor=cursor, at=line.at, level=line.level, message=line.message)


@strawberry.type(description="A log line with its cursor, as Relay expects it.")
class TaskLogEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The same as node.cursor.")
    node: TaskLog = strawberry.field(description="The log line itself.")


@strawberry.type(description="A page of a task's log, oldest line first.")
class TaskLogConnection:
    """Relay's connection, with the nodes also without their edges."""

    edges: list[TaskLogEdge] = strawberry.field(description="The lines of the page, each with its cursor.")
    nodes: list[TaskLog] = strawberry.field(description="The lines of the page, without edges around them.")
    page_info: PageInfo = strawberry.field(description="Cursors to continue from, and whether there are more lines.")


async def log_page(info: Info, task_id: str, first: int, after: str | None, level: LogLevel) -> TaskLogConnection:
    """Read a page of a task's log.

    Raises:
        ClientError: the size or the cursor is invalid, or the budget of the answer is spent.
    """
    size, position = checked_size("first", first), _position(task_id, after)
    # One more line shows whether there is a next page.
    lines = await info.context.store.log_lines.after(task_id, position, level, size + 1, info.context.visibility)
    current_budget().spend(sum(len(line.message.encode()) for line in lines), info.context.store.max_bytes)
    nodes = [TaskLog.of(task_id, line) for line in lines[:size]]
    return TaskLogConnection(
        edges=[TaskLogEdge(cursor=node.cursor, node=node) for node in nodes],
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=len(lines) > size,
            has_previous_page=after is not None,
            start_cursor=nodes[0].cursor if nodes else None,
            end_cursor=nodes[-1].cursor if nodes else None,
        ),
    )


async def follow_log(
    services: Services, task: VisibleTask, after: str | None, level: LogLevel, *, waits: bool = False
) -> AsyncGenerator[TaskLog, None]:
    """Yield the lines that are stored after a cursor, then new ones, until the task has ended and all are yielded.

    A task that is not visible any more has ended.

    Raises:
        ClientError: there is no such task and ``waits`` is false, or the cursor does not belong to its log.
    """
    task_id = task.task_id
    if not values.is_text(task_id):
        raise ClientError.not_found(task_id)
    position = _position(task_id, after)
    async with services.feed.watch_log(*task) as mailbox:
        record = await read_to_watch(task, services, waits=waits)
        if record is not None:
            mailbox.put(record, record.version)
        while not mailbox.has_left:
            # Read before MongoDB is: the lines of a task are stored before its end is.
            is_last = mailbox.is_final
            if is_last:  # no later read will find what a new primary does not show yet
                await services.store.committed.barrier()
            async for line in _stored(services, task, position, level):
                position = line.position
                yield TaskLog.of(task_id, line)
            if is_last:
                return
            async for line in _received(mailbox):
                if line.position > position and not mailbox.has_left:
                    position = line.position
                    if line.level >= level:
                        yield TaskLog.of(task_id, line)


async def read_to_watch(task: VisibleTask, services: Services, *, waits: bool) -> TaskRecord | None:
    """Read a task for its watcher: the state that the primary has, but an end only when it cannot be lost any more.

    Returns:
        The task; None if there is none yet and its watcher ``waits`` for its creation.

    Raises:
        ClientError: there is no task with this id, or it was deleted.
    """
    record = await services.tasks.load(task)
    if record is not None and record.is_final:
        record = await services.store.committed.load(*task)
    if record is None and (not waits or await services.store.deletions.is_deleted(*task)):
        raise ClientError.not_found(task.task_id)
    return record


async def _stored(
    services: Services, task: VisibleTask, position: int, level: LogLevel
) -> AsyncGenerator[LogLine, None]:
    """Yield all lines that MongoDB has after a position."""
    while True:
        lines = await services.store.log_lines.after(task.task_id, position, level, MAX_PAGE_SIZE, task.visibility)
        for line in lines:
            yield line
        if len(lines) < MAX_PAGE_SIZE:
            return
        position = lines[-1].position


async def _received(mailbox: LogMailbox) -> AsyncGenerator[LogLine, None]:
    """Yield the lines that a mailbox receives, until MongoDB has to be read again."""
    while (lines := await mailbox.take()) is not None:
        for line in lines:
            yield line


def _position(task_id: str, cursor: str | None) -> int:
    try:
        return 0 if cursor is None else LogCursor.parse(cursor, task_id).position
    except CursorError as error:
        raise ClientError(f"after: {error}", BAD_INPUT) from error
