"""The changes of a list of tasks, for clients that keep a list live."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import strawberry

from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.api.context import Services
from gql_api.api.errors import ClientError, InvalidRecordError
from gql_api.api.pubsub.list_feed import start_of_replay
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.pubsub.list_mailbox import FellBehindError, ListMailbox, PendingChange
from gql_api.api.schema.tasks import Task
from gql_api.api.store.committed import VisibleTask
from gql_api.api.subscriptions.send_buffer import SLOW_CONSUMER
from gql_api.events import Deletion
from gql_api.record.past.former_states import states_since, with_former_metadata
from gql_api.record.reads import TaskRecord
from gql_api.telemetry.counters import SLOW_CONSUMERS


@strawberry.enum(description="What happened to a task of a list, and so what a client does with it.")
class TaskChangeKind(Enum):
    """The kinds of a change."""

    UPDATED = strawberry.enum_value(
        "UPDATED", description="The task changed, or is new, and matches the filter: add it to the list or replace it."
    )
    LEFT = strawberry.enum_value(
        "LEFT",
        description="The task changed and does not match the filter, or is not visible to the caller any more: remove "
        "it. May name a task that the client never received.",
    )
    DELETED = strawberry.enum_value(
        "DELETED", description="The task was deleted: remove it. May name a task that the client never received."
    )


@strawberry.type(description="A change of one task in a list.")
class TaskChange:
    """One change of one task."""

    kind: TaskChangeKind = strawberry.field(description="Whether to add, replace or remove the task.")
    task_id: strawberry.ID = strawberry.field(description="The id of the task, also when task is null.")
    at: datetime = strawberry.field(
        description="When the task changed, by the clock of the database. An earlier time while the server may not "
        "have found all changes up to then, for example when it cannot reach the database. To resume, pass the latest "
        "value as `since`: no change is missed."
    )
    task: Task | None = strawberry.field(
        description="The task as it is after the change; null when the kind is LEFT or DELETED."
    )


@dataclass(frozen=True)
class ListWatch:
    """A live list, with the names of the fields that its client selects of each task."""

    services: Services
    filter: ListFilter
    selected: frozenset[str]

    @property
    def visibility(self) -> Visibility:
        """The tasks that there are for the watcher."""
        return self.filter.visibility

    async def changes(self, since: datetime | None, opened: Callable[[], object]) -> AsyncGenerator[TaskChange, None]:
        """Yield the changes from now on; with ``since`` first the latest state of each task that changed after it.

        Args:
            since: by the clock of the database.
            opened: called as soon as every later change is certain to be yielded.

        Raises:
            ClientError: the client reads too slowly, and resumes with ``since``.
        """
        start = None if since is None else start_of_replay(since)
        async with self.services.feed.lists.watch(self.filter, start) as mailbox:
            opened()
            if since is not None and start is not None:
                async for change in self._replay(since, start, mailbox):
                    yield change
            while True:
                try:
                    waiting = await mailbox.take()
                except FellBehindError as error:
                    SLOW_CONSUMERS.inc()
                    message = "This client reads changes too slowly: resume with the last at as since"
                    raise ClientError(message, SLOW_CONSUMER) from error
                for each in waiting:
                    if (news := await self._change(each, mailbox)) is not None:
                        yield news

    async def _replay(self, since: datetime, start: datetime, mailbox: ListMailbox) -> AsyncGenerator[TaskChange, None]:
        began = await self.services.store.now()
        await self.services.store.committed.barrier()
        # Deletions come first, with times that do not run ahead of the records: a client that is cut off in between
        # begins again at the last time that it has received, and must not leave out any of them.
        async for deletion in self.services.store.deletions.since(start, self.visibility):
            if self.filter.matched_last(deletion, is_sudden=True):
                yield _deleted(deletion.task_id, min(deletion.at, since))
        changed, query = self.services.feed.lists.changed_since, self.filter.lasting.query
        async for record in changed(start, self.visibility, query=query):
            mailbox.replayed(record, began)
            if self.visibility.sees(record):
                if (matches := self.filter.matches(record)) or self._may_have_matched(record, start):
                    yield _changed(record, record.updated_at, matches=matches)
            elif (left_at := self._left_at(record, start)) is not None:
                yield _left(record.id, left_at)

    def _may_have_matched(self, record: TaskRecord, since: datetime) -> bool:
        """Return whether a client may have a task that does not match in its list, which was right until a time."""
        try:
            return self.filter.may_have_matched(states_since(record, record.revision, since))
        except LookupError:
            return True

    def _left_at(self, record: TaskRecord, since: datetime) -> datetime | None:
        """Return when a task that is not visible stopped to be; None if it is not certain that it was after a time.

        What it did later is none of the client's.
        """
        former = with_former_metadata(record, since)
        return max((until for state, until in former if self.visibility.certainly_sees(state)), default=None)

    async def _change(self, waiting: PendingChange, mailbox: ListMailbox) -> TaskChange | None:
        """Return the change for the client; None if the client must not know of the task."""
        news, matches, resumable = waiting.latest, waiting.matches, self.services.feed.lists.resumable
        if isinstance(news, Deletion):
            return _deleted(news.task_id, resumable(news.at))
        if matches is None or (matches and not news.omitted.isdisjoint(self.selected)):
            try:
                whole = await self.services.tasks.load(VisibleTask(news.id, self.visibility))
            except InvalidRecordError:  # it is logged, and the list goes on without it
                return _changed(news, resumable(news.updated_at), matches=False)
            if whole is None or whole.version != news.version:
                # What the primary has by now may be lost again, and no event would correct it.
                whole = await self.services.store.committed.load(news.id, self.visibility)
                if whole is None:  # the event of its deletion comes next, or it is not visible any more
                    left_at = news.updated_at if waiting.is_known else await self._read_left_at(news.id, mailbox.since)
                    return None if left_at is None else _left(news.id, resumable(left_at))
                mailbox.replayed(whole, whole.updated_at)
            # The events between the two versions do not come any more.
            may_have_matched = waiting.may_have_matched or whole.version != news.version
            news, matches = whole, self.filter.matches(whole)
            if not matches and not may_have_matched:
                return None
        return _changed(news, resumable(news.updated_at), matches=matches)

    async def _read_left_at(self, task_id: str, since: datetime | None) -> datetime | None:
        record = await self.services.store.committed.load(task_id, EVERYTHING)  # only what it was matters
        return None if record is None or since is None else self._left_at(record, since)


def _changed(record: TaskRecord, at: datetime, *, matches: bool) -> TaskChange:
    if not matches:
        return _left(record.id, at)
    return TaskChange(kind=TaskChangeKind.UPDATED, task_id=strawberry.ID(record.id), at=at, task=Task(record))


def _left(task_id: str, at: datetime) -> TaskChange:
    return TaskChange(kind=TaskChangeKind.LEFT, task_id=strawberry.ID(task_id), at=at, task=None)


def _deleted(task_id: str, at: datetime) -> TaskChange:
    return TaskChange(kind=TaskChangeKind.DELETED, task_id=strawberry.ID(task_id), at=at, task=None)
