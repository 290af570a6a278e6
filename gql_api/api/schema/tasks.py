"""The task as clients see it, and the pages of tasks, which a task may have of its own children."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

import strawberry
from strawberry import UNSET

from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.schema.filters import check_metadata_path
from gql_api.api.schema.logs import DEFAULT as LOG_DEFAULT
from gql_api.api.schema.logs import TaskLogConnection, page_of_log
from gql_api.api.schema.pagination import DEFAULT_PAGE_SIZE, Cursor, PageArgs, check_size
from gql_api.api.schema.scalars import JSON, given
from gql_api.api.schema.types import Node, PageInfo, TaskError, TaskProgress, TaskStatus, TaskTransition, reads_from
from gql_api.api.store.lists import ChildPage
from gql_api.query.facets import FacetField
from gql_api.query.lists import Order, PageRequest
from gql_api.record import queries
from gql_api.record.logs import LogLevel
from gql_api.record.reads import Document, TaskRecord, Time

strawberry.enum(FacetField, name="TaskFacet")


@strawberry.type(description="A task: created by a client, run by a worker, kept with its metadata.")
class Task(Node):
    """A task record. Everything is read from it when it is asked for, the plain fields by their names."""

    record: strawberry.Private[TaskRecord]

    id: strawberry.ID = strawberry.field(description="The Celery task id.")
    name: str = strawberry.field(description="The Celery task name.")
    status: TaskStatus
    is_final: bool = strawberry.field(description="SUCCESS, FAILURE or REVOKED: it will never change again.")
    revision: int = strawberry.field(description="Starts at 1, plus one for each stored change.")
    attempts: int = strawberry.field(description="How often a worker has started it.")
    queue: str
    priority: int = strawberry.field(description="0 first, 9 last.")
    worker: str | None = strawberry.field(description="The worker that runs it, or ran it last.")
    owner: str | None
    idempotency_key: str | None = strawberry.field(description="The key it was created with, until that expires.")
    created_at: datetime
    scheduled_for: datetime | None = strawberry.field(description="When it was asked to start.")
    expires_at: datetime | None = strawberry.field(description="When it is revoked unless it has been started.")
    cancel_requested_at: datetime | None = strawberry.field(description="When somebody asked for its end.")
    started_at: datetime | None = strawberry.field(description="When the running or last attempt began.")
    finished_at: datetime | None
    updated_at: datetime

    def __init__(self, record: TaskRecord) -> None:
        self.record = record

    @strawberry.field
    def args(self) -> JSON:
        """Read the positional arguments."""
        return JSON(self.record.args)

    @strawberry.field
    def kwargs(self) -> JSON:
        """Read the keyword arguments."""
        return JSON(self.record.kwargs)

    @strawberry.field(description="The caller's own object, never touched by the lifecycle.")
    def metadata(self) -> JSON:
        """Read the metadata."""
        return JSON(self.record.metadata)

    @strawberry.field(description="What the task function returned.")
    def result(self) -> JSON | None:
        """Read the result."""
        return JSON(self.record.result)

    @strawberry.field
    def error(self) -> TaskError | None:
        """Read the error."""
        error = self.record.error
        return None if error is None else TaskError.of(error)

    @strawberry.field
    def progress(self) -> TaskProgress | None:
        """Read the last progress report."""
        progress = self.record.progress
        return None if progress is None else TaskProgress(progress)

    @strawberry.field(description="Every change of status, oldest first, at most the last 50.")
    def history(self) -> list[TaskTransition]:
        """Read the history."""
        return [TaskTransition.of(transition) for transition in self.record.history]

    @strawberry.field(description="What it logged, over all its attempts, oldest first.")
    async def logs(
        self,
        info: Info,
        first: int | None = LOG_DEFAULT,
        after: str | None = UNSET,
        min_level: LogLevel | None = LogLevel.INFO,
    ) -> TaskLogConnection:
        """Read a page of its log."""
        size, level = given(first, LOG_DEFAULT), given(min_level, LogLevel.INFO)
        return await page_of_log(info, self.record.id, size, given(after, None), level)

    @strawberry.field(description="The task that sent it.")
    async def parent(self, info: Info) -> Task | None:
        """Find the parent, together with those of the other tasks of the answer."""
        return await _other(info, self.record.parent_id)

    @strawberry.field(description="The task that it repeats.")
    async def replay_of(self, info: Info) -> Task | None:
        """Find the task that was replayed, as the parent."""
        return await _other(info, self.record.replay_of)

    @strawberry.field(description="The tasks that it sent, newest first.")
    async def children(self, info: Info, first: int | None = UNSET, after: str | None = UNSET) -> TaskConnection:
        """Read a page of its children."""
        stretch = PageArgs(first, after).stretch(Order())
        found = await info.context.children.load(ChildPage(self.record.id, stretch))
        return TaskConnection.of(found, stretch, queries.children_of(self.record.id), self.record.id)


reads_from(Task, "record")


def _as_stored(time: Time[Any]) -> property:
    return property(lambda task: time.stored(task.record))


# What writes the answer adds the offset. Done here it would take longer than all else of reading a time.
for _name, _time in vars(TaskRecord).items():
    if isinstance(_time, Time) and hasattr(Task, _name):
        setattr(Task, _name, _as_stored(_time))


@strawberry.type(description="A task and its place in the list.")
class TaskEdge:
    """Relay's edge."""

    order: strawberry.Private[Order]
    # Written when it is asked for.
    cursor: str = strawberry.field(resolver=lambda self: str(Cursor.of(self.node.record, self.order)))
    node: Task


@strawberry.type(description="A value, and how many tasks have it.")
class TaskFacetBucket:
    """A row of a facet."""

    value: JSON | None
    count: int


@strawberry.type(description="A page of tasks.")
class TaskConnection:
    """Relay's connection, with the nodes also without their edges, over all that ``query`` finds."""

    query: strawberry.Private[Document]
    # Of which task these are the children.
    parent_id: strawberry.Private[str | None]

    edges: list[TaskEdge]
    nodes: list[Task]
    page_info: PageInfo

    @strawberry.field(description="How many tasks there are on all pages. Counted only when selected.")
    async def total_count(self, info: Info) -> int:
        """Count them."""
        if self.parent_id is not None:
            return await info.context.child_counts.load(self.parent_id)
        return await info.context.services.store.lists.count(self.query)

    @strawberry.field(
        description="How many tasks of all pages have each value, the most frequent first. An element of an array in "
        "the metadata counts like a value; a task without a value counts nowhere."
    )
    async def facet(
        self,
        info: Info,
        by: FacetField,
        metadata_path: str | None = UNSET,
        first: int | None = DEFAULT_PAGE_SIZE,
    ) -> list[TaskFacetBucket]:
        """Count them by value."""
        lists = info.context.services.store.lists
        size, path = check_size("first", given(first, DEFAULT_PAGE_SIZE)), given(metadata_path, None)
        if (path is None) is (by is FacetField.METADATA):
            raise ClientError("metadataPath has to be given with METADATA, and only then", BAD_INPUT)
        if path is None:
            buckets = await lists.facet(self.query, by, size)
        else:
            check_metadata_path(path)
            buckets = await lists.metadata_facet(self.query, path, size)
        return [TaskFacetBucket(value=JSON(bucket.value), count=bucket.count) for bucket in buckets]

    @classmethod
    def of(
        cls, found: Sequence[TaskRecord], request: PageRequest, query: Document, parent_id: str | None = None
    ) -> Self:
        """Make it from what was read of a request, which has room for one task more than the page."""
        records, has_more = found[: request.limit - 1], len(found) == request.limit
        if request.backwards:
            records = records[::-1]
        edges = [TaskEdge(order=request.order, node=Task(record)) for record in records]
        return cls(
            query=query,
            parent_id=parent_id,
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=PageInfo(
                has_next_page=request.before is not None if request.backwards else has_more,
                has_previous_page=has_more if request.backwards else request.after is not None,
                start_cursor=str(Cursor.of(records[0], request.order)) if records else None,
                end_cursor=str(Cursor.of(records[-1], request.order)) if records else None,
            ),
        )


async def _other(info: Info, task_id: str | None) -> Task | None:
    record = None if task_id is None else await info.context.services.tasks.load(task_id)
    return None if record is None else Task(record)
