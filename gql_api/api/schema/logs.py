"""What tasks log, as clients see it: in pages, and live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Self

import strawberry

from gql_api import values
from gql_api.api.context import Info, Services
from gql_api.api.errors import BAD_INPUT, ClientError, unknown_task
from gql_api.api.pubsub.mailbox import LogMailbox
from gql_api.api.schema.pagination import CursorError, LogCursor
from gql_api.api.schema.types import PageInfo
from gql_api.record.logs import LogLevel, LogLine

strawberry.enum(LogLevel, name="LogLevel", description="How grave a line of log is.")

_MAX_PAGE_SIZE = 500
DEFAULT = 100


@strawberry.type(description="A line that a task logged.")
class TaskLog:
    """A line of a task's log."""

    cursor: str = strawberry.field(description="Its place in the log, to go on after.")
    at: datetime = strawberry.field(description="When it was logged, by the clock of the database.")
    level: LogLevel
    message: str

    @classmethod
    def of(cls, task_id: str, line: LogLine) -> Self:
        """Make it from what is stored."""
        cursor = str(LogCursor(task_id, line.position))
        return cls(cursor=cursor, at=line.at, level=line.level, message=line.message)


@strawberry.type(description="A line and its place in the log.")
class TaskLogEdge:
    """Relay's edge."""

    cursor: str
    node: TaskLog


@strawberry.type(description="A page of a task's log, oldest first.")
class TaskLogConnection:
    """Relay's connection, with the nodes also without their edges."""

    edges: list[TaskLogEdge]
    nodes: list[TaskLog]
    page_info: PageInfo


async def page_of_log(info: Info, task_id: str, first: int, after: str | None, level: LogLevel) -> TaskLogConnection:
    """Read a page of a task's log.

    Raises:
        ClientError: the size or the cursor cannot be.
    """
    if not 1 <= first <= _MAX_PAGE_SIZE:
        raise ClientError(f"first must be from 1 to {_MAX_PAGE_SIZE}, not {first}", BAD_INPUT)
    # One more than asked for tells whether there is a next page.
    lines = await info.context.services.store.log_lines.after(task_id, _position(task_id, after), level, first + 1)
    nodes = [TaskLog.of(task_id, line) for line in lines[:first]]
    return TaskLogConnection(
        edges=[TaskLogEdge(cursor=node.cursor, node=node) for node in nodes],
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=len(lines) > first,
            has_previous_page=after is not None,
            start_cursor=nodes[0].cursor if nodes else None,
            end_cursor=nodes[-1].cursor if nodes else None,
        ),
    )


async def follow_log(
    services: Services, task_id: str, after: str | None, level: LogLevel
) -> AsyncGenerator[TaskLog, None]:
    """Yield what a task has logged after a cursor, then what it logs, until it has ended and all is told.

    Raises:
        ClientError: there is no such task, or the cursor is none of its log.
    """
    if not values.is_text(task_id):
        raise unknown_task(task_id)
    position = _position(task_id, after)
    async with services.feed.watch_log(task_id) as mailbox:
        record = await services.tasks.load(task_id)
        if record is None:
            raise unknown_task(task_id)
        mailbox.put(record)
        while True:
            # Asked before MongoDB is read: the lines of a task are stored before its end is.
            is_last = mailbox.is_final
            async for line in _stored(services, task_id, position, level):
                position = line.position
                yield TaskLog.of(task_id, line)
            if is_last:
                return
            async for line in _heard(mailbox):
                if line.position > position:
                    position = line.position
                    if line.level >= level:
                        yield TaskLog.of(task_id, line)


async def _stored(services: Services, task_id: str, position: int, level: LogLevel) -> AsyncGenerator[LogLine, None]:
    """Read all that MongoDB has after a position."""
    while True:
        lines = await services.store.log_lines.after(task_id, position, level, _MAX_PAGE_SIZE)
        for line in lines:
            yield line
        if len(lines) < _MAX_PAGE_SIZE:
            return
        position = lines[-1].position


async def _heard(mailbox: LogMailbox) -> AsyncGenerator[LogLine, None]:
    """Yield what comes to a mailbox, until MongoDB has to be read."""
    while (lines := await mailbox.take()) is not None:
        for line in lines:
            yield line


def _position(task_id: str, cursor: str | None) -> int:
    try:
        return 0 if cursor is None else LogCursor.parse(cursor, task_id).position
    except CursorError as error:
        raise ClientError(f"after: {error}", BAD_INPUT) from error
