"""The root type of subscriptions, and how subscribers of each field share its execution."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.types.nodes import Selection

from gql_api import values
from gql_api.api.context import Info, Services
from gql_api.api.errors import ClientError
from gql_api.api.pubsub.mailbox import Mailbox
from gql_api.api.schema.filters import TaskFilter, list_filter
from gql_api.api.schema.logs import TaskLog, follow_log, read_to_watch
from gql_api.api.schema.scalars import or_default
from gql_api.api.schema.task_changes import ListWatch, TaskChange
from gql_api.api.schema.tasks import Task
from gql_api.api.store.budget import begin_event
from gql_api.api.store.committed import VisibleTask
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Policy
from gql_api.record.logs import LogLevel
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

SHARED = {"taskUpdated": Policy.LATEST, "taskChanges": Policy.EVERY}
"""The fields whose subscribers share an execution. A log has one for each subscriber, from its own cursor on."""
PERSONAL = frozenset({"since"})
"""The arguments that make an execution personal: a replay is as fast as its client reads."""

_WaitForCreation = Annotated[
    bool | None,
    strawberry.argument(
        description="Wait for a task that does not exist yet, for example a later step of a chain, whose id its sender "
        "knows before the step is sent. null is false."
    ),
]


@strawberry.type(
    description="Live updates. After a lost connection, subscribe again: taskUpdated begins with the present state, "
    "taskChanges and taskLogged continue with since and after. All need the scope TASKS_READ, and show only tasks that "
    "the caller may see. When its token ends, so do they."
)
class Subscription:
    """The fields of a subscription."""

    @strawberry.subscription(
        description="One task: its present state at once, then its state after each change, with rising revisions. "
        "Completes when the task is final, was deleted, or is not visible to the caller any more. A slow client skips "
        "intermediate states and always receives the newest one. An id that is unknown, or not visible to the caller, "
        "is an error with the code NOT_FOUND, unless waitForCreation is true."
    )
    async def task_updated(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The Celery task id, as createTask returned it.")],
        wait_for_creation: _WaitForCreation = False,
    ) -> AsyncGenerator[Task, None]:
        """Watch one task."""
        services = info.context.services
        fanout = info.context.fanout or Fanout()
        if not values.is_text(id):
            raise ClientError.not_found(id)
        seen = VisibleTask(id, info.context.visibility)
        async with services.feed.watch(*seen) as mailbox:
            fanout.open()
            waits = or_default(wait_for_creation, False)
            await fanout.snapshot(functools.partial(_read_snapshot, seen, mailbox, services, waits=waits))
            mailbox.deliver_directly(services.tick_queue.schedule, functools.partial(_publish, fanout))
            while (received := await mailbox.take()) is not None:
                record = await _complete(received, mailbox, info) if received.omitted else received
                is_final, fanout.version = record.is_final, record.version
                task = Task(record)
                if not fanout.deliver(task):
                    begin_event()
                    yield task
                if is_final:
                    return
                del received, record, task  # the next one may take long, and thousands of subscriptions wait for theirs

    @strawberry.subscription(
        description="A live list: every change of the tasks that match the filter, from now on, and of tasks that stop "
        "matching. When one task changes faster than the client reads, only its newest change is sent. A client that "
        "falls too far behind gets an error with the code SLOW_CONSUMER, and resumes with `since`."
    )
    async def task_changes(
        self,
        info: Info,
        filter: Annotated[
            TaskFilter | None, strawberry.argument(description="Which tasks to watch; all tasks by default.")
        ] = strawberry.UNSET,
        since: Annotated[
            datetime | None,
            strawberry.argument(
                description="The latest value of `at` among the changes that the client has received. The newest "
                "change of each task since then is sent first, with LEFT for each task that does not match now and "
                "may have matched since then; the last 25 seconds before it are repeated."
            ),
        ] = strawberry.UNSET,
    ) -> AsyncGenerator[TaskChange, None]:
        """Watch the tasks that match a filter."""
        fanout = info.context.fanout or Fanout()
        selected = frozenset(_names(info.selected_fields))
        list_ = list_filter(or_default(filter, None), info.context.visibility)
        watch = ListWatch(info.context.services, list_, selected)
        changes = watch.changes(or_default(since, None), fanout.open)
        async with contextlib.aclosing(changes):
            async for change in changes:
                begin_event()
                yield change

    @strawberry.subscription(
        description="The log of one task: the stored lines after the cursor, then new lines as the task logs "
        "them. Completes when the task is final and all its lines are sent, or when the task is not visible to the "
        "caller any more. An id that is unknown, or not visible to the caller, is an error with the code NOT_FOUND, "
        "unless waitForCreation is true."
    )
    async def task_logged(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The Celery task id, as createTask returned it.")],
        min_level: Annotated[
            LogLevel | None, strawberry.argument(description="Leave out the lines below this level.")
        ] = LogLevel.INFO,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="The cursor of the last line that the client has received; by default the log begins with "
                "its first line."
            ),
        ] = strawberry.UNSET,
        wait_for_creation: _WaitForCreation = False,
    ) -> AsyncGenerator[TaskLog, None]:
        """Watch the log of one task."""
        level = or_default(min_level, LogLevel.INFO)
        waits = or_default(wait_for_creation, False)
        seen = VisibleTask(id, info.context.visibility)
        lines = follow_log(info.context.services, seen, or_default(after, None), level, waits=waits)
        async with contextlib.aclosing(lines):
            async for line in lines:
                yield line


def _publish(fanout: Fanout, record: TaskRecord) -> bool:
    """Publish a record without waking the subscription; return False for one that only the subscription can handle."""
    if record.is_final or record.omitted:
        return False
    fanout.version = record.version
    return fanout.deliver(Task(record))


async def _read_snapshot(task: VisibleTask, mailbox: Mailbox, services: Services, *, waits: bool) -> Version:
    """Read a task for its subscribers, and return its version."""
    record = await read_to_watch(task, services, waits=waits)
    if record is None:
        return NO_VERSION
    mailbox.put(record, record.version)
    return record.version


async def _complete(record: TaskRecord, mailbox: Mailbox, info: Info) -> TaskRecord:
    """Read the record from MongoDB if its event left out something that the operation selects."""
    if record.omitted.isdisjoint(_names(info.selected_fields)):
        return record
    services, seen = info.context.services, VisibleTask(record.id, info.context.visibility)
    whole = await services.tasks.load(seen)
    if whole is None or whole.version != record.version:
        # What the primary has by now may be lost again: the subscription must not end with that.
        whole = await services.store.committed.load(*seen) or record
        mailbox.skip(whole.version)
    return whole


def _names(selections: Iterable[Selection]) -> Iterable[str]:
    for selection in selections:
        name = getattr(selection, "name", None)
        if name is not None:
            yield name
        yield from _names(selection.selections)
