"""The object types of the schema that have no resolvers of their own, each made from what the store reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self, TypeAlias

import strawberry

from gql_api import values
from gql_api.api.execution.rows.steps import Path
from gql_api.api.schema.scalars import JSON, AsText, as_json, expose_enum
from gql_api.record import model
from gql_api.record.fields import Status
from gql_api.registry import queues, workers
from gql_api.registry.definitions import TaskDefinition as Definition

TaskStatus: TypeAlias = Status
expose_enum(
    Status,
    {
        Status.SCHEDULED: "Waits for its start time, scheduledFor, or for its rate limit. It is in no queue meanwhile.",
        Status.QUEUED: "Waits in its queue until a worker is free. A later step of a chain, or the body of a chord, "
        "waits for the tasks before it first.",
        Status.STARTED: "A worker runs the task function.",
        Status.RETRY: "An attempt failed, and the task function asked for another one, which has not started yet.",
        Status.SUCCESS: "The task function returned; see result. Final.",
        Status.FAILURE: "The task function raised an exception, or its time or its attempts ran out; see error. Final.",
        Status.REVOKED: "The task was cancelled, or expired before it started; see error. Final.",
    },
    name="TaskStatus",
    description="The state of a task. SUCCESS, FAILURE and REVOKED are final: a task in one of them never runs again.",
)


def attribute(path: str, description: str) -> Any:
    """Return a field that is read from an attribute of the object behind, only when a client selects it.

    The property is the default of a dataclass field, and dataclasses keep a default as an attribute of the class.
    """
    # A resolver would add a Python call to each value of a page.
    return strawberry.field(default=Path(path), description=description)


@strawberry.interface(description="An object that the queries node and nodes can find by its id.")
class Node:
    """Relay's Node, with Celery's ids as they are."""

    id: strawberry.ID = strawberry.field(description="The id, unique among all objects of this API.")


@strawberry.type(description="The exception that ended a task or its last attempt.")
class TaskError:
    """The exception of the last attempt."""

    type: str = strawberry.field(
        description="The name of the exception class, like ValueError. TaskRevokedError for a task that was cancelled "
        "or expired, WorkerLostError for one whose workers were lost."
    )
    message: str = strawberry.field(
        description="The text of the exception, cut to ERROR_MAX_BYTES with a note of its size. For a cancelled task "
        "it is the reason of cancelTask."
    )
    traceback: str | None = strawberry.field(
        description="The Python traceback as text, whose middle is cut where it exceeds ERROR_MAX_BYTES; null when the "
        "task function raised nothing itself, and without the scope OPERATE."
    )

    @classmethod
    def of(cls, error: model.ErrorInfo) -> Self:
        """Convert the error of a record."""
        return cls(type=error.type, message=error.message, traceback=error.traceback)


@strawberry.type(
    description="The last progress report of the running or last attempt, as self.report_progress or Celery's "
    "update_state sent it."
)
class TaskProgress:
    """The last progress report."""

    report: strawberry.Private[model.Progress]

    current: float | None = attribute(
        "report.current", "How much is done, in a unit of the task's own, like pages or bytes; null when not reported."
    )
    total: float | None = attribute(
        "report.total", "How much there is to do, in the same unit as current; null when not known."
    )
    percent: float | None = attribute(
        "report.percent", "current as a percentage of total, from 0 to 100; null unless both are known."
    )
    message: str | None = attribute(
        "report.message", "A text for people about the present step; null when not reported."
    )

    def __init__(self, report: model.Progress) -> None:
        self.report = report

    @strawberry.field(description="All other values of the report, as one JSON value; null without any.")
    def data(self, as_text: AsText = False) -> JSON | None:
        """Read the values without a field of their own."""
        return as_json(values.plain(self.report.data), as_text)


@strawberry.type(
    description="One entry of a task's history: a change of its status, or a custom state of its function."
)
class TaskTransition:
    """An entry of the history."""

    revision: int = strawberry.field(description="The revision of the task that this change made.")
    status: TaskStatus = strawberry.field(description="The new status, or the unchanged one for a custom state.")
    at: datetime = strawberry.field(description="When the change was stored, by the clock of the database.")
    worker: str | None = strawberry.field(
        description="The hostname of the worker that the task had then; null before a worker claimed it."
    )
    message: str | None = strawberry.field(
        description="Why the status changed, or the name of a custom state of the task function; null without either."
    )
    actor: str | None = strawberry.field(
        description="The subject of the caller that caused the change; null for a change that a worker made by "
        "itself, and for one without authentication."
    )

    @classmethod
    def of(cls, transition: model.Transition) -> Self:
        """Convert an entry of a record's history."""
        return cls(
            revision=transition.revision,
            status=transition.status,
            at=transition.at,
            worker=transition.worker,
            message=transition.message,
            actor=transition.actor,
        )


@strawberry.type(description="Where a page begins and ends, and whether there are items beyond it.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool = strawberry.field(description="Whether there are items after this page.")
    has_previous_page: bool = strawberry.field(description="Whether there are items before this page.")
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first item, to pass as before; null when the page is empty."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last item, to pass as after; null when the page is empty."
    )


@strawberry.type(
    description="A task function that workers have announced, and that createTask accepts. It stays when all its "
    "workers have stopped."
)
class TaskDefinition:
    """The announcement against which createTask checks a call."""

    name: str = strawberry.field(description="The Celery task name, which createTask takes.")
    description: str | None = strawberry.field(description="The docstring of the task function; null without one.")
    input_schema: JSON = strawberry.field(
        description="The JSON Schema of the function's parameters, as one object with a property for each. "
        "x-python-type is the type that the function receives for a string in a format, like date or decimal."
    )
    redact: list[str] = strawberry.field(
        description="The parameters, and paths below them, whose values tasks show as [REDACTED]."
    )
    queue: str = strawberry.field(description="The queue of tasks that are created without a queue of their own.")
    max_retries: int | None = strawberry.field(
        description="How often a task may retry before it fails; null without a limit."
    )
    time_limit: float | None = strawberry.field(
        description="How long an attempt may run, in seconds, before its process is ended; null without a limit."
    )
    workers: int = strawberry.field(description="How many live workers can run it; 0 when none is online.")

    @classmethod
    def of(cls, definition: Definition) -> Self:
        """Convert an announcement."""
        return cls(
            name=definition.name,
            description=definition.description,
            # A default may be a number that JSON cannot write.
            input_schema=JSON(values.plain(definition.input_schema)),
            redact=list(definition.redact),
            queue=definition.queue,
            max_retries=definition.max_retries,
            time_limit=definition.time_limit,
            workers=definition.workers,
        )


@strawberry.type(
    description="A queue in which tasks wait, which a live worker consumes, or which an announced task function uses. "
    "The figures come from the task records, so they are right while the broker is down."
)
class Queue:
    """The tasks that wait in a queue, by their records."""

    name: str = strawberry.field(description="The name of the queue in Celery and in the broker.")
    depth: int = strawberry.field(description="How many tasks wait in it; not those that wait for an earlier step.")
    oldest_queued_at: datetime | None = strawberry.field(
        description="Since when the task that has waited longest has been QUEUED; null when the queue is empty."
    )

    @classmethod
    def of(cls, queue: queues.Queue) -> Self:
        """Convert a row of the store."""
        return cls(name=queue.name, depth=queue.depth, oldest_queued_at=queue.oldest_queued_at)


@strawberry.type(
    description="A worker process that is alive: it has missed fewer than three heartbeats. Two may have one name."
)
class Worker:
    """The announcement of a worker, with the number of its tasks."""

    hostname: str = strawberry.field(description='The name of the Celery worker, like "celery@host".')
    pool: str = strawberry.field(
        description="The kind of its Celery pool: prefork, thread, solo or gevent. Only prefork can end a task by "
        "force."
    )
    concurrency: int = strawberry.field(
        description="How many tasks it can run at the same time; with --autoscale, at most."
    )
    active: int = strawberry.field(description="How many tasks it is running now.")
    last_heartbeat_at: datetime = strawberry.field(
        description="When its last heartbeat was stored, by the clock of the database."
    )
    missed_heartbeats: int = strawberry.field(
        description="How many heartbeats it has missed since the last one: one now and then is no sign of trouble, and "
        "at the third it is not alive any more."
    )
    is_consuming: bool = strawberry.field(
        description="Whether it takes tasks from its queues, as of its last heartbeat: its broker answers, or all of "
        "its slots are taken. false for longer than a restart of the broker means that something is wrong."
    )

    @classmethod
    def of(cls, worker: workers.Worker) -> Self:
        """Convert a row of the store."""
        return cls(
            hostname=worker.hostname,
            pool=worker.pool,
            concurrency=worker.concurrency,
            active=worker.active,
            last_heartbeat_at=worker.beat_at,
            missed_heartbeats=worker.missed_beats,
            is_consuming=worker.is_consuming,
        )
