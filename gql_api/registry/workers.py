"""The announcements of workers: the tasks that they can run, and their beats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write, literal
from gql_api.registry.definitions import TaskDefinition

_DESCRIPTION = "description"
_INPUT_SCHEMA = "input_schema"
_POSITIONAL = "positional"
_EXTRA_ARGS = "extra_args"
_MAX_RETRIES = "max_retries"
_TIME_LIMIT = "time_limit"
_SOFT_TIME_LIMIT = "soft_time_limit"
_WORKERS = "workers"
_DEFAULT_PRIORITY = "default_priority"
_TRANSPORT = "transport"

_POOL = "pool"
_CONCURRENCY = "concurrency"
_TASK_NAMES = "task_names"
_QUEUES = "queues"
_BEAT_AT = "beat_at"
_GOOD_FOR = "good_for_ms"
_CONSUMING = "consuming"
_ACTIVE = "active"
_BROKER = "broker"
# A worker is alive while its last beat, by the database's clock, is not older than it announced itself.
_ALIVE = {"$match": {"$expr": {"$gt": [{"$add": [f"${_BEAT_AT}", f"${_GOOD_FOR}"]}, NOW]}}}


def announce(definition: TaskDefinition) -> Write:
    """Store the definition of a task. Run as an upsert; the last announcement counts."""
    stage: dict[str, Any] = {
        _DESCRIPTION: literal(definition.description),
        _INPUT_SCHEMA: literal(values.dump(definition.input_schema)),
        _POSITIONAL: literal(list(definition.positional)),
        _EXTRA_ARGS: definition.extra_args,
        f.QUEUE: literal(definition.queue),
        _MAX_RETRIES: definition.max_retries,
        _TIME_LIMIT: definition.time_limit,
        _SOFT_TIME_LIMIT: definition.soft_time_limit,
        _DEFAULT_PRIORITY: definition.priority,
        _TRANSPORT: literal([list(option) for option in definition.transport]),
        f.UPDATED_AT: NOW,
    }
    return {f.ID: definition.name}, [{"$set": stage}]


def beat(
    hostname: str,
    *,
    pool: str,
    concurrency: int,
    task_names: list[str],
    queues: list[str],
    good_for_seconds: float,
    consuming: bool = True,
    broker: str | None = None,
) -> Write:
    """Store that a worker is alive and whether it consumes, with its queues and tasks. Run as an upsert."""
    stage: dict[str, Any] = {
        _POOL: pool,
        _CONCURRENCY: concurrency,
        _TASK_NAMES: literal(task_names),
        _QUEUES: literal(queues),
        _BEAT_AT: NOW,
        _GOOD_FOR: round(good_for_seconds * 1000),
        _CONSUMING: consuming,
        _BROKER: broker,
    }
    return {f.ID: hostname}, [{"$set": stage}]


def by_hostname(hostname: str) -> Document:
    """Return the filter that finds the entry of a worker, which the worker deletes when it stops."""
    return {f.ID: hostname}


def definitions_with_workers(names: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the aggregation over DEFINITIONS that reads them by name, each with its live workers."""
    able = {
        "from": f.WORKERS,
        "localField": f.ID,
        "foreignField": _TASK_NAMES,
        "pipeline": [_ALIVE, {"$project": {_QUEUES: 1, _BROKER: 1}}],
        "as": _WORKERS,
    }
    named = [] if names is None else [{"$match": {f.ID: {"$in": names}}}]
    return [*named, {"$sort": {f.ID: 1}}, {"$lookup": able}]


def definition_from(document: Document) -> TaskDefinition:
    """Read one row of :func:`definitions_with_workers`."""
    return TaskDefinition(
        name=document[f.ID],
        description=document[_DESCRIPTION],
        input_schema=values.load(document[_INPUT_SCHEMA]),
        positional=tuple(document[_POSITIONAL]),
        extra_args=document[_EXTRA_ARGS],
        queue=document[f.QUEUE],
        max_retries=document[_MAX_RETRIES],
        time_limit=document[_TIME_LIMIT],
        soft_time_limit=document[_SOFT_TIME_LIMIT],
        # A worker of an earlier version announces neither.
        priority=document.get(_DEFAULT_PRIORITY, 0),
        transport=tuple((name, value) for name, value in document.get(_TRANSPORT, ())),
        brokers=frozenset(worker[_BROKER] for worker in document[_WORKERS] if worker.get(_BROKER)),
        workers=len(document[_WORKERS]),
        queues=tuple(sorted({queue for worker in document[_WORKERS] for queue in worker.get(_QUEUES, [])})),
    )


def pool_of(document: Document) -> str:
    """Read the pool of a worker, by the name of Celery's module: ``prefork``, ``thread``, ``solo``, ``gevent``."""
    return str(document[_POOL])


@dataclass(frozen=True, slots=True)
class Worker:
    """A live worker.

    ``active`` is the number of tasks that it has claimed and not ended. ``is_consuming`` means that its broker answers
    it, or that it has no room for more messages.
    """

    hostname: str
    pool: str
    concurrency: int
    active: int
    beat_at: datetime
    is_consuming: bool


def live() -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that reads the live workers by hostname.

    It counts the STARTED tasks once for all workers, however many there are.
    """
    return [
        {"$match": {f.STATUS: Status.STARTED}},
        {"$group": {f.ID: f"${f.WORKER}", _ACTIVE: {"$sum": 1}}},
        {"$unionWith": {"coll": f.WORKERS, "pipeline": [_ALIVE, {"$project": {_QUEUES: 0, _TASK_NAMES: 0}}]}},
        {
            "$group": {
                f.ID: f"${f.ID}",
                _ACTIVE: {"$sum": f"${_ACTIVE}"},
                **{name: {"$max": f"${name}"} for name in (_POOL, _CONCURRENCY, _BEAT_AT, _CONSUMING)},
            }
        },
        # A dead worker may still hold tasks, until recovery takes them.
        {"$match": {_BEAT_AT: {"$ne": None}}},
        {"$sort": {f.ID: 1}},
    ]


def worker_from(document: Document) -> Worker:
    """Read one row of :func:`live`."""
    return Worker(
        hostname=document[f.ID],
        pool=pool_of(document),
        concurrency=document[_CONCURRENCY],
        active=document[_ACTIVE],
        beat_at=document[_BEAT_AT],
        # A worker of an earlier version does not report it.
        is_consuming=document[_CONSUMING] is not False,
    )


def queues_served() -> list[dict[str, Any]]:
    """Return the aggregation over WORKERS whose ids are the queues that live workers serve."""
    return [_ALIVE, {"$unwind": f"${_QUEUES}"}, {"$project": {f.ID: f"${_QUEUES}"}}]


def knowing(names: list[str], queues: list[str]) -> list[dict[str, Any]]:
    """Return the aggregation over WORKERS that reads the live workers of some queues that know any of some tasks."""
    able = {_TASK_NAMES: {"$in": names}, _QUEUES: {"$in": queues}}
    known = {"$setIntersection": [f"${_TASK_NAMES}", literal(names)]}
    return [_ALIVE, {"$match": able}, {"$project": {_TASK_NAMES: known}}]


def known_from(document: Document) -> list[str]:
    """Read those of the tasks that a worker found by :func:`knowing` knows."""
    names: list[str] = document[_TASK_NAMES]
    return names
