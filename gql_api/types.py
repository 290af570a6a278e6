"""The object types of the schema, each made from what the store reads."""

from __future__ import annotations

from datetime import datetime
from typing import Self, TypeAlias

import strawberry

from gql_api.scalars import JSON
from jobs.definitions import TaskDefinition as Definition
from jobs.record import details
from jobs.record.fields import Status
from jobs.record.reads import TaskRecord

TaskStatus: TypeAlias = Status
strawberry.enum(Status, name="TaskStatus", description="Where a task is in its life.")


@strawberry.interface(description="Something with an id of its own.")
class Node:
    """Relay's Node, with Celery's raw ids."""

    id: strawberry.ID


@strawberry.type(description="Why a task has no result.")
class TaskError:
    """The exception of the last attempt."""

    type: str
    message: str
    traceback: str | None

    @classmethod
    def of(cls, error: details.ErrorInfo) -> Self:
        """Make it from the record's."""
        return cls(type=error.type, message=error.message, traceback=error.traceback)


@strawberry.type(description="How far a task says it is.")
class TaskProgress:
    """The last report."""

    current: float | None
    total: float | None
    percent: float | None = strawberry.field(description="Current of total, from 0 to 100.")
    message: str | None
    data: JSON | None = strawberry.field(description="Whatever else the task reported.")

    @classmethod
    def of(cls, progress: details.Progress) -> Self:
        """Make it from the record's."""
        return cls(
            current=progress.current,
            total=progress.total,
            percent=progress.percent,
            message=progress.message,
            data=None if progress.data is None else JSON(progress.data),
        )


@strawberry.type(description="One step of a task's life.")
class TaskTransition:
    """An entry of the history."""

    revision: int
    status: TaskStatus
    at: datetime
    worker: str | None
    message: str | None

    @classmethod
    def of(cls, transition: details.Transition) -> Self:
        """Make it from the record's."""
        return cls(
            revision=transition.revision,
            status=transition.status,
            at=transition.at,
            worker=transition.worker,
            message=transition.message,
        )


@strawberry.type(description="A task: created by a client, run by a worker, kept with its metadata.")
class Task(Node):
    """A task record. Values that take some work to read are read when they are asked for."""

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
    created_at: datetime
    started_at: datetime | None = strawberry.field(description="When the running or last attempt began.")
    finished_at: datetime | None
    updated_at: datetime

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        """Make it from a record."""
        return cls(
            record=record,
            id=strawberry.ID(record.id),
            name=record.name,
            status=record.status,
            is_final=record.is_final,
            revision=record.revision,
            attempts=record.attempts,
            queue=record.queue,
            priority=record.priority,
            worker=record.worker,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            updated_at=record.updated_at,
        )

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
        return None if progress is None else TaskProgress.of(progress)

    @strawberry.field(description="Every change of status, oldest first, at most the last 50.")
    def history(self) -> list[TaskTransition]:
        """Read the history."""
        return [TaskTransition.of(transition) for transition in self.record.history]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A task and its place in the list.")
class TaskEdge:
    """Relay's edge."""

    cursor: str
    node: Task


@strawberry.type(description="A page of tasks.")
class TaskConnection:
    """Relay's connection, with the nodes also without their edges."""

    edges: list[TaskEdge]
    nodes: list[Task]
    page_info: PageInfo


@strawberry.type(description="A task that workers have announced they can run.")
class TaskDefinition:
    """What createTask checks a call against."""

    name: str
    description: str | None = strawberry.field(description="The docstring of the task function.")
    input_schema: JSON = strawberry.field(description="The JSON Schema of its parameters, as one object.")
    queue: str
    max_retries: int | None
    time_limit: float | None = strawberry.field(description="In seconds.")
    workers: int = strawberry.field(description="How many live workers can run it.")

    @classmethod
    def of(cls, definition: Definition) -> Self:
        """Make it from what was announced."""
        return cls(
            name=definition.name,
            description=definition.description,
            input_schema=JSON(definition.input_schema),
            queue=definition.queue,
            max_retries=definition.max_retries,
            time_limit=definition.time_limit,
            workers=definition.workers,
        )
