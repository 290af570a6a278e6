"""What becomes of the tasks that a filter finds, as clients with live lists see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import strawberry

from gql_api.api.context import Services
from gql_api.api.errors import ClientError
from gql_api.api.pubsub.list_feed import start_of_replay
from gql_api.api.pubsub.list_mailbox import FellBehindError, ListMailbox, Waiting
from gql_api.api.schema.tasks import Task
from gql_api.api.subscriptions.send_buffer import SLOW_CONSUMER
from gql_api.events import Deletion
from gql_api.query.compile import CompiledFilter
from gql_api.record.reads import TaskRecord
from gql_api.telemetry.counters import SLOW_CONSUMERS


@strawberry.enum
class TaskChangeKind(Enum):
    """What became of a task."""

    UPDATED = strawberry.enum_value("UPDATED", description="It has changed, and the filter finds it.")
    LEFT = strawberry.enum_value(
        "LEFT", description="The filter does not find it any more. May name a task that the client never had."
    )
    DELETED = strawberry.enum_value("DELETED", description="It is no more. May name a task that the client never had.")


@strawberry.type(description="A change of a list.")
class TaskChange:
    """One change of one task."""

    kind: TaskChangeKind
    task_id: strawberry.ID
    at: datetime = strawberry.field(description="When it changed, by the clock of the database: a safe since.")
    task: Task | None = strawberry.field(description="What it is now. Only when it is UPDATED.")


@dataclass(frozen=True)
class ListWatch:
    """A list that is being watched, and what its client wants to know of each task."""

    services: Services
    filter: CompiledFilter
    selected: frozenset[str]

    async def changes(self, since: datetime | None, opened: Callable[[], object]) -> AsyncGenerator[TaskChange, None]:
        """Yield what changes from now on; with ``since`` first the latest of what changed after it.

        Args:
            since: by the clock of the database.
            opened: called when nothing which happens from then on is missed.

        Raises:
            ClientError: the changes came faster than they were taken; the client resumes with ``since``.
        """
        async with self.services.feed.lists.watch(self.filter.matches) as mailbox:
            opened()
            if since is not None:
                async for change in self._replay(since, mailbox):
                    yield change
            while True:
                try:
                    waiting = await mailbox.take()
                except FellBehindError as error:
                    SLOW_CONSUMERS.inc()
                    message = "More has changed than could be told: resume with the last change as since"
                    raise ClientError(message, SLOW_CONSUMER) from error
                for each in waiting:
                    yield await self._change(each, mailbox)

    async def _replay(self, since: datetime, mailbox: ListMailbox) -> AsyncGenerator[TaskChange, None]:
        began, start = await self.services.store.now(), start_of_replay(since)
        async for record in self.services.feed.lists.changed_since(start):
            mailbox.replayed(record, began)
            yield _told(record, matches=self.filter.matches(record))
        async for task_id, at in self.services.store.deletions.since(start):
            yield _deleted(task_id, at)

    async def _change(self, waiting: Waiting, mailbox: ListMailbox) -> TaskChange:
        news, matches = waiting.news, waiting.matches
        if isinstance(news, Deletion):
            return _deleted(news.task_id, news.at)
        if matches is None or (matches and not news.omitted.isdisjoint(self.selected)):
            whole = await self.services.tasks.load(news.id)
            if whole is None:
                return _told(news, matches=False)  # its deletion is told next
            mailbox.replayed(whole, whole.updated_at)
            news, matches = whole, self.filter.matches(whole)
        return _told(news, matches=matches)


def _told(record: TaskRecord, *, matches: bool) -> TaskChange:
    kind, task = (TaskChangeKind.UPDATED, Task(record)) if matches else (TaskChangeKind.LEFT, None)
    return TaskChange(kind=kind, task_id=strawberry.ID(record.id), at=record.updated_at, task=task)


def _deleted(task_id: str, at: datetime) -> TaskChange:
    return TaskChange(kind=TaskChangeKind.DELETED, task_id=strawberry.ID(task_id), at=at, task=None)
