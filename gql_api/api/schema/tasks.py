"""The task as clients see it, and pages of tasks, which a task may have of its own children."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

import strawberry
from strawberry import UNSET
from strawberry.utils.str_converters import to_camel_case

from gql_api import values
from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.execution.completion import SharedValues
from gql_api.api.execution.rows.steps import Place, Stored, null_without
from gql_api.api.execution.selections import selected_names
from gql_api.api.schema.filters import check_metadata_path
from gql_api.api.schema.logs import DEFAULT_LOG_PAGE_SIZE, TaskLogConnection, log_page
from gql_api.api.schema.pagination import DEFAULT_PAGE_SIZE, Cursor, PageArgs, checked_size
from gql_api.api.schema.scalars import JSON, AsText, as_json, expose_enum, or_default
from gql_api.api.schema.types import (
    Node,
    PageInfo,
    TaskDefinition,
    TaskError,
    TaskProgress,
    TaskStatus,
    TaskTransition,
    attribute,
)
from gql_api.api.store.budget import current_budget
from gql_api.api.store.definitions import DefinitionRead
from gql_api.api.store.lists import ChildCount, ChildPage
from gql_api.api.store.pages.reading import Page
from gql_api.api.store.partial_reads import TaskRead
from gql_api.query.facets import FacetField
from gql_api.query.lists import Order, PageRequest
from gql_api.record import queries
from gql_api.record.fields import Status
from gql_api.record.logs import LogLevel
from gql_api.record.queries import WHOLE, Part
from gql_api.record.reads import Document, Field, TaskRecord

expose_enum(
    FacetField,
    {
        FacetField.STATUS: "One count for each status, like SUCCESS.",
        FacetField.NAME: "One count for each Celery task name.",
        FacetField.QUEUE: "One count for each Celery queue.",
        FacetField.WORKER: "One count for each worker that ran tasks last. Tasks that never started are left out.",
        FacetField.METADATA: "One count for each value at metadataPath.",
        FacetField.ERROR_TYPE: "One count for each type of error, like ValueError. Tasks without an error are left "
        "out.",
    },
    name="TaskFacet",
    description="The property by whose values a facet counts tasks.",
)


def _place(field: Field[Any]) -> Place:
    return Place("record", field.stored_name, field.may_be_absent)


def _stored(field: Field[Any], description: str) -> Any:
    """Return a field that shows one of the record as it is stored.

    A time is mostly without an offset: the encoder of answers adds it, which takes less time.
    """
    read = Stored(lambda task: field.stored(task.record), _place(field))
    return strawberry.field(default=read, description=description)


@strawberry.type(
    description="A task: created by a client, run by a worker, and kept with its metadata until it is deleted."
)
class Task(Node):
    """A task record, whose fields are read only when a client selects them."""

    record: strawberry.Private[TaskRecord]

    id: strawberry.ID = attribute(
        "record.id", "The Celery task id: a UUID, unless plain Celery code chose another one."
    )
    name: str = _stored(TaskRecord.name, "The Celery task name, which decides the function that runs.")
    status: TaskStatus = attribute("record.status", "The present state of the task.")
    is_final: bool = attribute(
        "record.is_final", "Whether the task has ended: SUCCESS, FAILURE or REVOKED. Its status never changes again."
    )
    revision: int = attribute(
        "record.revision", "The version of the task: 1 when it is created, one more with each stored change."
    )
    attempts: int = _stored(TaskRecord.attempts, "How often a worker has started the task; 0 before the first start.")
    queue: str = _stored(TaskRecord.queue, "The name of the Celery queue in which it waits for a worker.")
    priority: int = _stored(TaskRecord.priority, "From 0 (runs first, the default) to 9 (runs last).")
    worker: str | None = _stored(
        TaskRecord.worker, "The hostname of the worker that runs it or ran it last; null before the first start."
    )
    owner: str | None = _stored(
        TaskRecord.owner,
        "The subject that the task belongs to: the caller that created it, or the owner of its parent or of the task "
        "that it repeats. Null for a task without an owner, such as one that was created without authentication or by "
        "a program that names none; with authentication, only administrators without a tenant see it.",
    )
    idempotency_key: str | None = _stored(
        TaskRecord.idempotency_key,
        "The key with which createTask created it; null without one, and after the key has expired.",
    )
    created_at: datetime = _stored(TaskRecord.created_at, "When createTask, or plain Celery code, stored the task.")
    scheduled_for: datetime | None = _stored(
        TaskRecord.scheduled_for, "The time before which it must not start; null when it may start at once."
    )
    expires_at: datetime | None = _stored(
        TaskRecord.expires_at,
        "When the task becomes REVOKED unless a worker has started it; null when it never expires.",
    )
    cancel_requested_at: datetime | None = _stored(
        TaskRecord.cancel_requested_at, "When cancellation was first requested; null when it never was."
    )
    started_at: datetime | None = _stored(
        TaskRecord.started_at, "When the running or last attempt began; null before the first start."
    )
    finished_at: datetime | None = _stored(
        TaskRecord.finished_at, "When the task reached its final status; null before that."
    )
    updated_at: datetime = _stored(TaskRecord.updated_at, "When the present revision was stored.")

    def __init__(self, record: TaskRecord) -> None:
        self.record = record

    @strawberry.field(description="The positional arguments of the function, a JSON array. Hidden ones are [REDACTED].")
    def args(self, as_text: AsText = False) -> JSON:
        """Read the positional arguments."""
        return as_json(values.plain(self.record.args), as_text)

    @strawberry.field(description="The keyword arguments of the function, a JSON object. Hidden ones are [REDACTED].")
    def kwargs(self, as_text: AsText = False) -> JSON:
        """Read the keyword arguments."""
        return as_json(values.plain(self.record.kwargs), as_text)

    @strawberry.field(
        description="The client's own JSON object. Running the task never changes it; updateTaskMetadata and the task "
        "function can."
    )
    def metadata(self, as_text: AsText = False) -> JSON:
        """Read the metadata."""
        return as_json(self.record.metadata, as_text)

    @strawberry.field(
        description="The return value of the function; null before the end, and when the function returned None or its "
        "result is not kept."
    )
    @null_without(_place(TaskRecord.result))
    def result(self, as_text: AsText = False) -> JSON | None:
        """Read the result."""
        return as_json(values.plain(self.record.result), as_text)

    @strawberry.field(
        description="Why the task failed, was revoked or is to be retried; null otherwise, and again once the next "
        "attempt starts."
    )
    @null_without(_place(TaskRecord.error))
    def error(self) -> TaskError | None:
        """Read the error."""
        error = self.record.error
        return None if error is None else TaskError.of(error)

    @strawberry.field(
        description="The last progress report of the running or last attempt; null when the attempt reported none."
    )
    @null_without(_place(TaskRecord.progress))
    def progress(self) -> TaskProgress | None:
        """Read the last progress report."""
        progress = self.record.progress
        return None if progress is None else TaskProgress(progress)

    @strawberry.field(
        description="Changes of status and custom states of the function, oldest first; the last 50 are kept."
    )
    def history(self) -> list[TaskTransition]:
        """Read the history."""
        return [TaskTransition.of(transition) for transition in self.record.history]

    @strawberry.field(description="What the task logged, over all its attempts, oldest line first.")
    async def logs(
        self,
        info: Info,
        first: Annotated[
            int | None, strawberry.argument(description="How many lines the page has at most, from 1 to 500.")
        ] = DEFAULT_LOG_PAGE_SIZE,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Return the lines after this cursor: an endCursor, or the cursor of a line."
            ),
        ] = UNSET,
        min_level: Annotated[
            LogLevel | None, strawberry.argument(description="Leave out the lines below this level.")
        ] = LogLevel.INFO,
    ) -> TaskLogConnection:
        """Read a page of the log."""
        size, level = or_default(first, DEFAULT_LOG_PAGE_SIZE), or_default(min_level, LogLevel.INFO)
        return await log_page(info, self.record.id, size, or_default(after, None), level)

    @strawberry.field(
        description="The task whose function sent this one, or that createTask named as parentId; null without one, "
        "and when it was deleted or the caller may not see it."
    )
    async def parent(self, info: Info) -> Task | None:
        """Find the parent, together with those of the other tasks of the answer."""
        return await find_task(info, self.record.parent_id)

    @strawberry.field(
        description="The task function, as workers announced it; null when none has, and without the scope OPERATE. "
        "For a task that waits, it is the version of the function that the task was created for, and workers counts "
        "those that would run the task: a QUEUED task does not start while its workers are 0."
    )
    async def definition(self, info: Info) -> TaskDefinition | None:
        """Find the announcement, together with those of the other tasks of the answer."""
        record = self.record
        is_waiting = not record.is_final and record.status is not Status.STARTED
        read = DefinitionRead(record.name, record.id if is_waiting else None)
        found = await info.context.definitions.load(read)
        return None if found is None else TaskDefinition.of(found)

    @strawberry.field(
        description="The task that this one repeats, made by replayTask or replayTasks; null without one, and when it "
        "was deleted or the caller may not see it."
    )
    async def replay_of(self, info: Info) -> Task | None:
        """Find the task that was replayed, together with those of the other tasks of the answer."""
        return await find_task(info, self.record.replay_of)

    @strawberry.field(description="The tasks whose parent is this one and that the caller may see, newest first.")
    async def children(
        self,
        info: Info,
        first: Annotated[
            int | None,
            strawberry.argument(description="How many tasks the page has at most, from 1 to 500; 20 by default."),
        ] = UNSET,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Return the tasks after this cursor, usually the endCursor of the page before."
            ),
        ] = UNSET,
    ) -> TaskConnection:
        """Read a page of the children."""
        request = PageArgs(first, after).page_request(Order())
        part = part_of_nodes(info, request.order)
        page = ChildPage(self.record.id, request, part, current_budget(), info.context.visibility)
        records = await info.context.children.load(page)
        return TaskConnection.of(records, request, queries.children_of(self.record.id), self.record.id)


@strawberry.type(description="A task with its cursor, as Relay expects it.")
class TaskEdge:
    """Relay's edge."""

    order: strawberry.Private[Order]
    # Encoded only when a client selects it.
    cursor: str = strawberry.field(
        resolver=lambda self: str(Cursor.of(self.node.record, self.order)),
        description="The position of the task in this list, to pass as after or before. It stays valid with any "
        "filter, and when the task is deleted, but only in the same order.",
    )
    node: Task = strawberry.field(description="The task at the position of the cursor.")


@strawberry.type(description="One distinct value of a facet.")
class TaskFacetBucket:
    """A row of a facet."""

    value: JSON | None = strawberry.field(
        description="The value: a text, or any single JSON value for METADATA. null counts nulls that are stored."
    )
    count: int = strawberry.field(description="How many tasks have this value.")


class _ShownPage:
    """The parts of a page that clients see. Answers that share the read of the page share them too."""

    def __init__(self, found: list[TaskRecord], request: PageRequest) -> None:
        records, self._has_more = found[: request.limit - 1], len(found) == request.limit
        self._records = records[::-1] if request.backwards else records
        self._request = request

    @cached_property
    def nodes(self) -> SharedValues:
        """The tasks."""
        return SharedValues(map(Task, self._records))

    @cached_property
    def edges(self) -> SharedValues:
        """The tasks with their cursors."""
        return SharedValues(TaskEdge(order=self._request.order, node=node) for node in self.nodes)

    @cached_property
    def info(self) -> PageInfo:
        """The ends of the page."""
        request, records, has_more = self._request, self._records, self._has_more
        return PageInfo(
            has_next_page=request.before is not None if request.backwards else has_more,
            has_previous_page=has_more if request.backwards else request.after is not None,
            start_cursor=str(Cursor.of(records[0], request.order)) if records else None,
            end_cursor=str(Cursor.of(records[-1], request.order)) if records else None,
        )


@strawberry.type(description="A page of tasks, with figures over all pages.")
class TaskConnection:
    """Relay's connection, with the nodes also without their edges, over all tasks that ``query`` finds."""

    query: strawberry.Private[Document]
    # The id of the task whose children are listed.
    parent_id: strawberry.Private[str | None]

    page: strawberry.Private[_ShownPage]

    edges: list[TaskEdge] = attribute("page.edges", "The tasks of the page, each with its cursor.")
    nodes: list[Task] = attribute("page.nodes", "The tasks of the page, without edges around them.")
    page_info: PageInfo = attribute("page.info", "Cursors to continue from, and whether there are more tasks.")

    def __init__(self, page: _ShownPage, query: Document, parent_id: str | None = None) -> None:
        self.page = page
        self.query = query
        self.parent_id = parent_id

    @strawberry.field(
        description="How many tasks there are on all pages. They are counted by a separate query, only when this "
        "field is selected, which can fail with the code QUERY_TIMEOUT."
    )
    async def total_count(self, info: Info) -> int:
        """Count the tasks of all pages."""
        if self.parent_id is not None:
            return await info.context.child_counts.load(ChildCount(self.parent_id, info.context.visibility))
        return await info.context.lists.count(self.query, info.context.visibility)

    @strawberry.field(
        description="How many tasks of all pages have each value, the most frequent value first. In metadata each "
        "distinct element of an array counts as a value; objects and missing values are not counted. It can fail with "
        "the code QUERY_TIMEOUT."
    )
    async def facet(
        self,
        info: Info,
        by: Annotated[FacetField, strawberry.argument(description="The property to count by.")],
        metadata_path: Annotated[
            str | None,
            strawberry.argument(
                description="The path in the metadata, like customer.tier, of at most 32 keys. Required with METADATA, "
                "not allowed otherwise."
            ),
        ] = UNSET,
        first: Annotated[
            int | None, strawberry.argument(description="How many values to return at most, from 1 to 500.")
        ] = DEFAULT_PAGE_SIZE,
    ) -> list[TaskFacetBucket]:
        """Count the tasks of all pages by value."""
        size, path = checked_size("first", or_default(first, DEFAULT_PAGE_SIZE)), or_default(metadata_path, None)
        if by is FacetField.METADATA and path is None:
            raise ClientError("metadataPath: is required with by: METADATA", BAD_INPUT)
        if by is not FacetField.METADATA and path is not None:
            raise ClientError(f"metadataPath: is only allowed with by: METADATA, got by: {by.name}", BAD_INPUT)
        if path is None:
            buckets = await info.context.lists.facet(self.query, info.context.visibility, by, size)
        else:
            check_metadata_path(path)
            buckets = await info.context.lists.metadata_facet(self.query, info.context.visibility, path, size)
        return [TaskFacetBucket(value=JSON(bucket.value), count=bucket.count) for bucket in buckets]

    @classmethod
    def of(cls, found: list[TaskRecord], request: PageRequest, query: Document, parent_id: str | None = None) -> Self:
        """Create the page from what a request found: at most one task more than the page has."""
        if not isinstance(found, Page):
            return cls(_ShownPage(found, request), query, parent_id)
        if found.shown is None:
            found.shown = _ShownPage(found, request)
        return cls(found.shown, query, parent_id)


async def find_task(info: Info, task_id: str | None) -> Task | None:
    """Find a task by its id, together with all tasks that are read at the same time.

    Raises:
        ClientError: the budget of the answer is spent.
    """
    if task_id is None:
        return None
    read = TaskRead(task_id, _part(selected_names(info, ())), current_budget(), info.context.visibility)
    record = await info.context.store.partial.load(read)
    return None if record is None else Task(record)


def part_of_nodes(info: Info, order: Order) -> Part:
    """Return the part of the records that a field needs which returns a page of tasks in an order."""
    return _part(selected_names(info, ("nodes",), ("edges", "node")) | {to_camel_case(order.field)})


# The names of the record's fields that fields of Task with other names read.
_READ_BY: dict[str, tuple[str, ...]] = {
    **{to_camel_case(name): (name,) for name in WHOLE.names},
    **dict.fromkeys(("__typename", "id", "status", "isFinal", "revision", "logs", "children"), ()),
    "history": ("stored_history",),
    "parent": ("parent_id",),
    "definition": ("name",),
}


@lru_cache(1000)
def _part(selected: frozenset[str]) -> Part:
    """Return the part of a record that fields of Task read; the whole record for a field that is not listed."""
    if not selected <= _READ_BY.keys():
        return WHOLE
    return Part.of(name for field in selected for name in _READ_BY[field])
