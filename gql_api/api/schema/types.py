"""The object types of the schema, each made from what the store reads."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Self, TypeAlias

import strawberry
from strawberry.types import get_object_definition

from gql_api.api.schema.scalars import JSON
from gql_api.record import model
from gql_api.record.fields import Status
from gql_api.registry import queues, workers
from gql_api.registry.definitions import TaskDefinition as Definition

TaskStatus: TypeAlias = Status
strawberry.enum(Status, name="TaskStatus", description="Where a task is in its life.")


def reads_from(type_: type, name: str) -> None:
    """Let the plain fields of an object type be read, each when it is asked for, from the attribute behind.

    It comes after the class, for Strawberry takes a property within to be a default value.
    """
    for field in get_object_definition(type_, strict=True).fields:
        if field.base_resolver is None and field.python_name != name:
            setattr(type_, field.python_name, property(attrgetter(f"{name}.{field.python_name}")))


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
    def of(cls, error: model.ErrorInfo) -> Self:
        """Make it from the record's."""
        return cls(type=error.type, message=error.message, traceback=error.traceback)


@strawberry.type(description="How far a task says it is.")
class TaskProgress:
    """The last report, of which each field is read when it is asked for."""

    report: strawberry.Private[model.Progress]

    current: float | None
    total: float | None
    percent: float | None = strawberry.field(description="Current of total, from 0 to 100.")
    message: str | None
    data: JSON | None = strawberry.field(description="Whatever else the task reported.")

    def __init__(self, report: model.Progress) -> None:
        self.report = report


reads_from(TaskProgress, "report")


@strawberry.type(description="One step of a task's life.")
class TaskTransition:
    """An entry of the history."""

    revision: int
    status: TaskStatus
    at: datetime
    worker: str | None
    message: str | None

    @classmethod
    def of(cls, transition: model.Transition) -> Self:
        """Make it from the record's."""
        return cls(
            revision=transition.revision,
            status=transition.status,
            at=transition.at,
            worker=transition.worker,
            message=transition.message,
        )


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


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


@strawberry.type(description="A queue that tasks wait in, that a live worker serves or that a task is announced for.")
class Queue:
    """What the records tell of a queue, whether or not the broker answers."""

    name: str
    depth: int = strawberry.field(description="How many tasks are QUEUED in it.")
    oldest_queued_at: datetime | None = strawberry.field(
        description="When the one that has waited longest began to wait."
    )

    @classmethod
    def of(cls, queue: queues.Queue) -> Self:
        """Make it from what the store read."""
        return cls(name=queue.name, depth=queue.depth, oldest_queued_at=queue.oldest_queued_at)


@strawberry.type(description="A worker that is alive: its last heartbeat is not too old.")
class Worker:
    """What a worker announces, and how many tasks it has."""

    hostname: str
    pool: str = strawberry.field(description="By the name of Celery's module: prefork, thread, solo, gevent.")
    concurrency: int = strawberry.field(description="How many tasks it can run at once.")
    active: int = strawberry.field(description="How many tasks it has claimed and not ended.")
    last_heartbeat_at: datetime

    @classmethod
    def of(cls, worker: workers.Worker) -> Self:
        """Make it from what the store read."""
        return cls(
            hostname=worker.hostname,
            pool=worker.pool,
            concurrency=worker.concurrency,
            active=worker.active,
            last_heartbeat_at=worker.beat_at,
        )
