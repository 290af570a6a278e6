"""The subscriptions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime

import strawberry
from strawberry.types.nodes import Selection

from gql_api import values
from gql_api.api.context import Info, Services
from gql_api.api.errors import unknown_task
from gql_api.api.pubsub.mailbox import Mailbox
from gql_api.api.schema.filters import TaskFilter, compiled_filter
from gql_api.api.schema.logs import TaskLog, follow_log
from gql_api.api.schema.scalars import given
from gql_api.api.schema.task_changes import ListWatch, TaskChange
from gql_api.api.schema.tasks import Task
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Policy
from gql_api.record.logs import LogLevel
from gql_api.record.reads import TaskRecord

SHARED = {"taskUpdated": Policy.LATEST, "taskChanges": Policy.EVERY}
"""How subscriptions are shared. Each subscriber of a log has its own, from its cursor on."""
PERSONAL = frozenset({"since"})
"""The arguments with which they are not. A replay goes as fast as its client reads."""


@strawberry.type
class Subscription:
    """Watch tasks."""

    @strawberry.subscription(
        description="The current state at once, then every change in rising revisions, then complete when final."
    )
    async def task_updated(self, info: Info, id: strawberry.ID) -> AsyncGenerator[Task, None]:  # noqa: A002
        """Watch one task."""
        services = info.context.services
        fanout = info.context.fanout or Fanout()
        if not values.is_text(id):
            raise unknown_task(id)
        async with services.feed.watch(id) as mailbox:
            fanout.open()
            await fanout.snapshot(functools.partial(_look, id, mailbox, services))
            mailbox.deliver_directly(services.turn.schedule, functools.partial(_tell, fanout))
            while (news := await mailbox.take()) is not None:
                record = await _whole(news, info) if news.omitted else news
                is_final = record.is_final
                if record.revision > fanout.revision:
                    fanout.revision = record.revision
                    task = Task(record)
                    if not fanout.deliver(task):
                        yield task
                    del task
                if is_final:
                    return
                del news, record  # it may be long until the next one, and thousands wait for theirs

    @strawberry.subscription(
        description="Every change of the tasks that match, from now on; with since, first the latest state of what "
        "changed after it. A task that does not match any more is told too."
    )
    async def task_changes(
        self,
        info: Info,
        filter: TaskFilter | None = strawberry.UNSET,  # noqa: A002 - the schema's name
        since: datetime | None = strawberry.UNSET,
    ) -> AsyncGenerator[TaskChange, None]:
        """Watch what a filter finds."""
        fanout = info.context.fanout or Fanout()
        watch = ListWatch(
            info.context.services, compiled_filter(given(filter, None)), frozenset(_names(info.selected_fields))
        )
        changes = watch.changes(given(since, None), fanout.open)
        async with contextlib.aclosing(changes):
            async for change in changes:
                yield change

    @strawberry.subscription(
        description="What the task has logged after the cursor, then what it logs, then complete when it is final."
    )
    async def task_logged(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the schema's name
        min_level: LogLevel | None = LogLevel.INFO,
        after: str | None = strawberry.UNSET,
    ) -> AsyncGenerator[TaskLog, None]:
        """Watch what one task logs."""
        lines = follow_log(info.context.services, id, given(after, None), given(min_level, LogLevel.INFO))
        async with contextlib.aclosing(lines):
            async for line in lines:
                yield line


def _tell(fanout: Fanout, record: TaskRecord) -> bool:
    """Tell a record without waking the subscription, unless there is more to it; return whether that was done."""
    if record.is_final or record.omitted:
        return False
    before = fanout.revision
    if record.revision > before:
        fanout.revision = record.revision
        if not fanout.deliver(Task(record)):
            fanout.revision = before
            return False
    return True


async def _look(task_id: str, mailbox: Mailbox, services: Services) -> int:
    """Read a task for its watchers, and return its revision."""
    record = await services.tasks.load(task_id)
    if record is None:
        raise unknown_task(task_id)
    mailbox.put(record)
    return record.revision


async def _whole(record: TaskRecord, info: Info) -> TaskRecord:
    """Read the record itself when the event left out something that the operation selects."""
    if record.omitted.isdisjoint(_names(info.selected_fields)):
        return record
    return await info.context.services.tasks.load(record.id) or record


def _names(selections: Iterable[Selection]) -> Iterable[str]:
    for selection in selections:
        name = getattr(selection, "name", None)
        if name is not None:
            yield name
        yield from _names(selection.selections)
