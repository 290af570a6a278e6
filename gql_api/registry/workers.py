"""The announcements of workers: the tasks that they can run, and their beats."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write, literal
from gql_api.registry import stored_versions
from gql_api.registry.definitions import VERSION_SEPARATOR, TaskDefinition
from gql_api.registry.redaction import Redaction
from gql_api.registry.versions import digest_in
from gql_api.telemetry import counters

logger = logging.getLogger(__name__)

_MAX_NAME = 1024
_MAX_SHOWN = 200
# More definitions than programs have.
_MAX_DEFINITIONS = 10_000

_DESCRIPTION = "description"
_INPUT_SCHEMA = "input_schema"
_POSITIONAL = "positional"
_POSITIONAL_ONLY = "positional_only"
_EXTRA_ARGS = "extra_args"
_MAX_RETRIES = "max_retries"
_TIME_LIMIT = "time_limit"
_SOFT_TIME_LIMIT = "soft_time_limit"
_WORKERS = "workers"
_DEFAULT_PRIORITY = "default_priority"
_TRANSPORT = "transport"
_RECORDED = "recorded"
_REDACT = "redact"

# Several workers may have one name: each process is a run of its own. Workers of earlier versions have neither field.
_HOSTNAME = "hostname"
_RUN = "run"
# The pools that end a function at its hard time limit.
LIMITING_POOLS = frozenset({"prefork", "gevent"})

_POOL = "pool"
_CONCURRENCY = "concurrency"
_TASK_NAMES = "task_names"
_QUEUES = "queues"
_BEAT_AT = "beat_at"
_GOOD_FOR = "good_for_ms"
_CONSUMING = "consuming"
_ACTIVE = "active"
_BROKER = "broker"
_MISSED = "missed"
GOOD_FOR_BEATS = 3
"""A worker that misses so many beats is not alive."""
# A worker is alive while its last beat, by the database's clock, is not older than it announced itself.
_GOOD_UNTIL = {"$add": [f"${_BEAT_AT}", f"${_GOOD_FOR}"]}
_ALIVE = {"$match": {"$expr": {"$gt": [_GOOD_UNTIL, NOW]}}}
# The clock of a new primary may be behind that of the old one.
_AGE = {"$max": [0, {"$subtract": [NOW, f"${_BEAT_AT}"]}]}
_COUNT_MISSED = {"$set": {_MISSED: {"$floor": {"$divide": [{"$multiply": [_AGE, GOOD_FOR_BEATS]}, f"${_GOOD_FOR}"]}}}}


def announce(definition: TaskDefinition) -> Write:
    """Store the definition of a task. Run as an upsert; of several versions, the newest one counts."""
    stage: dict[str, Any] = {
        _DESCRIPTION: literal(definition.description),
        _INPUT_SCHEMA: literal(values.dump(definition.input_schema)),
        _POSITIONAL: literal(list(definition.positional)),
        _POSITIONAL_ONLY: definition.positional_only,
        _EXTRA_ARGS: definition.extra_args,
        f.QUEUE: literal(definition.queue),
        _MAX_RETRIES: definition.max_retries,
        _TIME_LIMIT: definition.time_limit,
        _SOFT_TIME_LIMIT: definition.soft_time_limit,
        _DEFAULT_PRIORITY: definition.priority,
        _TRANSPORT: literal([list(option) for option in definition.transport]),
        _RECORDED: definition.recorded,
        _REDACT: literal(list(definition.redact)),
        f.UPDATED_AT: NOW,
    }
    digest = definition.digest
    update = [{"$set": stage}] if digest is None else stored_versions.announced(digest, stage)
    return {f.ID: definition.name}, update


def beat(
    hostname: str,
    *,
    pool: str,
    concurrency: int,
    task_names: list[str],
    queues: list[str],
    good_for_seconds: float,
    consuming: bool = True,
    run: str | None = None,
    entry: str | None = None,
    broker: str | None = None,
) -> Write:
    """Store that a worker is alive and whether it consumes, with its queues and tasks. Run as an upsert.

    ``entry`` is the id of the entry, by default the hostname. A duplicate key error means that another run has it.
    """
    stage: dict[str, Any] = {
        **({} if run is None else {_HOSTNAME: literal(hostname), _RUN: run}),
        _POOL: pool,
        _CONCURRENCY: concurrency,
        _TASK_NAMES: literal(task_names),
        _QUEUES: literal(queues),
        _BEAT_AT: NOW,
        _GOOD_FOR: round(good_for_seconds * 1000),
        _CONSUMING: consuming,
        _BROKER: broker,
    }
    return {f.ID: entry or hostname, **({} if run is None else {_RUN: run})}, [{"$set": stage}]


def own_entry(hostname: str, run: str) -> str:
    """Return the id of an entry for a worker if the entry with its hostname as id is that of another one."""
    return f"{hostname}#{run}"


def without_worker(entry: str) -> Document:
    """Return the filter that finds an entry if its worker is not alive."""
    return {f.ID: entry, "$expr": {"$lte": [_GOOD_UNTIL, NOW]}}


def outlived(seconds: float) -> Document:
    """Return the filter that finds the entries of workers that have not been alive for some seconds."""
    return {"$expr": {"$lt": [_GOOD_UNTIL, {"$subtract": [NOW, round(seconds * 1000)]}]}}


def by_run(entry: str, run: str) -> Document:
    """Return the filter that finds the entry of a worker, which the worker deletes when it stops."""
    return {f.ID: entry, _RUN: run}


def by_hostname(hostname: str) -> Document:
    """Return the filter that finds the entries of all workers with a name."""
    return {"$or": [{f.ID: hostname}, {_HOSTNAME: hostname}]}


def definitions_with_workers(names: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the aggregation over DEFINITIONS that reads them by name, each with its live workers."""
    starts_with_name = {"$eq": [{"$indexOfBytes": ["$$this", {"$concat": ["$$name", VERSION_SEPARATOR]}]}, 0]}
    versions = {"$filter": {"input": f"${_TASK_NAMES}", "cond": starts_with_name}}
    able = {
        "from": f.WORKERS,
        "localField": f.ID,
        "foreignField": _TASK_NAMES,
        "let": {"name": f"${f.ID}"},
        "pipeline": [_ALIVE, {"$project": {_QUEUES: 1, _POOL: 1, _BROKER: 1, _TASK_NAMES: versions}}],
        "as": _WORKERS,
    }
    named = [] if names is None else [{"$match": {f.ID: {"$in": names}}}]
    usable = {"$match": {"$expr": {"$lte": [{"$bsonSize": "$$ROOT"}, stored_versions.MAX_BYTES]}}}
    return [*named, usable, {"$sort": {f.ID: 1}}, {"$limit": _MAX_DEFINITIONS}, {"$lookup": able}]


def definitions_from(documents: Iterable[Document]) -> list[TaskDefinition]:
    """Read the rows of :func:`definitions_with_workers`, and leave out those that no worker has announced so."""
    found = []
    for document in documents:
        try:
            definition = definition_from(document)
            if not _is_usable(definition):
                raise TypeError("a value has another type")  # noqa: TRY301 - as for values that raise it themselves
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            counters.LIMITS_EXCEEDED.labels("definition").inc()
            logger.warning("A task definition is left out: %s: %r", ascii(document.get(f.ID))[:_MAX_SHOWN], error)
        else:
            found.append(definition)
    return found


def _is_usable(definition: TaskDefinition) -> bool:
    """Return whether the parts of a definition have their types."""
    texts = [
        definition.name,
        definition.queue,
        definition.description or "",
        *definition.positional,
        *definition.redact,
    ]
    numbers = [definition.max_retries, definition.time_limit, definition.soft_time_limit, definition.priority]
    return (
        all(isinstance(text, str) for text in texts)
        and 0 < len(definition.name) <= _MAX_NAME
        and definition.name.isprintable()
        and all(isinstance(number, int | float | None) for number in numbers)
        and isinstance(definition.positional_only, int)
        and isinstance(definition.extra_args, bool)
        and isinstance(definition.input_schema, dict)
    )


def definition_from(document: Document) -> TaskDefinition:
    """Read one row of :func:`definitions_with_workers`.

    It is the newest version that a live worker has; with no live worker, the newest one of all.
    """
    name, entries = document[f.ID], document[_WORKERS]
    live = Counter(digest for entry in entries for text in entry[_TASK_NAMES] if (digest := digest_in(text, name)))
    # Workers of an earlier version announce none.
    unversioned = sum(not entry[_TASK_NAMES] for entry in entries)
    stored = {stored_versions.digest_of(version): version for version in stored_versions.versions_of(document)}
    is_unversioned = not stored or (not live and unversioned > 0)
    digest = None if is_unversioned else next((digest for digest in stored if live[digest]), next(iter(stored)))
    return replace(
        _definition_from(name, document if digest is None else stored[digest], entries),
        digest=digest,
        versions=tuple(
            replace(_definition_from(name, version, entries), digest=each, workers=live[each])
            for each, version in stored.items()
        ),
        unversioned=unversioned,
    )


def _definition_from(name: str, document: Document, entries: list[Document]) -> TaskDefinition:
    return TaskDefinition(
        name=name,
        description=document[_DESCRIPTION],
        input_schema=values.load(document[_INPUT_SCHEMA]),
        positional=tuple(document[_POSITIONAL]),
        # A worker of an earlier version does not announce it.
        positional_only=document.get(_POSITIONAL_ONLY, 0),
        extra_args=document[_EXTRA_ARGS],
        queue=document[f.QUEUE],
        max_retries=document[_MAX_RETRIES],
        time_limit=document[_TIME_LIMIT],
        soft_time_limit=document[_SOFT_TIME_LIMIT],
        # A worker of an earlier version announces neither.
        priority=document.get(_DEFAULT_PRIORITY, 0),
        recorded=document.get(_RECORDED, True),
        transport=tuple((name, value) for name, value in document.get(_TRANSPORT, ())),
        brokers=frozenset(worker[_BROKER] for worker in entries if worker.get(_BROKER)),
        workers=len(entries),
        queues=tuple(sorted({queue for worker in entries for queue in worker.get(_QUEUES, [])})),
        unlimited=tuple(sorted(_unlimited(entries))),
        # A worker of an earlier version does not announce it.
        redact=tuple(document.get(_REDACT, ())),
    )


REDACTION_ONLY = {_REDACT: 1, _POSITIONAL: 1, _INPUT_SCHEMA: 1}


def redaction_from(document: Document) -> Redaction | None:
    """Read the redaction of a definition found with :data:`REDACTION_ONLY`."""
    schema = values.load(document[_INPUT_SCHEMA])
    positional, redact = tuple(document[_POSITIONAL]), tuple(document.get(_REDACT, ()))
    return TaskDefinition(document[f.ID], schema, positional=positional, redact=redact).redaction


def _unlimited(entries: list[Document]) -> set[tuple[str, str]]:
    others = [entry for entry in entries if entry.get(_POOL) not in LIMITING_POOLS]
    return {(queue, entry[_POOL]) for entry in others for queue in entry.get(_QUEUES, [])}


def pool_of(documents: list[Document], run: str | None) -> str | None:
    """Read the pool of one of the workers with a name, by its run; None for an unknown worker.

    It is the name of Celery's module: ``prefork``, ``thread``, ``solo``, ``gevent``.
    """
    documents = sorted(documents, key=lambda document: document.get(_RUN) != run)
    return str(documents[0][_POOL]) if documents else None


@dataclass(frozen=True, slots=True)
class Worker:
    """A live worker.

    ``active`` is the number of tasks that it has claimed and not ended. ``is_consuming`` means that its broker answers
    it, or that it has no room for more messages. ``missed_beats`` are those since its last one.
    """

    hostname: str
    pool: str
    concurrency: int
    active: int
    beat_at: datetime
    missed_beats: int
    is_consuming: bool


def live() -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that reads the live workers, and the numbers of STARTED tasks.

    It counts these once for all workers, however many there are.
    """
    holder = {f.WORKER: f"${f.WORKER}", f.WORKER_RUN: f"${f.WORKER_RUN}"}
    return [
        {"$match": {f.STATUS: Status.STARTED}},
        {"$group": {f.ID: holder, _ACTIVE: {"$sum": 1}}},
        {
            "$unionWith": {
                "coll": f.WORKERS,
                "pipeline": [_ALIVE, _COUNT_MISSED, {"$project": {_QUEUES: 0, _TASK_NAMES: 0}}],
            }
        },
    ]


def workers_from(documents: Iterable[Document]) -> list[Worker]:
    """Read the rows of :func:`live`, by hostname."""
    entries: list[Document] = []
    active: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    for document in documents:
        if _POOL in document:
            entries.append(document)
        else:
            holder = document[f.ID]
            active[holder.get(f.WORKER)][holder.get(f.WORKER_RUN)] = document[_ACTIVE]
    entries.sort(key=lambda entry: (_hostname_of(entry), str(entry[f.ID])))
    runs = {entry.get(_RUN) for entry in entries}
    return [_worker_from(entry, active[_hostname_of(entry)], runs) for entry in entries]


def _hostname_of(entry: Document) -> str:
    return str(entry.get(_HOSTNAME, entry[f.ID]))


def _worker_from(entry: Document, active: Counter[str | None], runs: set[str | None]) -> Worker:
    run = entry.get(_RUN)
    # A worker of an earlier version does not report its run. A dead worker may still hold tasks, until recovery takes
    # them.
    others = sum(number for other, number in active.items() if other not in runs) if run is None else 0
    return Worker(
        hostname=_hostname_of(entry),
        pool=str(entry[_POOL]),
        concurrency=entry[_CONCURRENCY],
        active=active[run] + others,
        beat_at=entry[_BEAT_AT],
        missed_beats=int(entry[_MISSED]),
        # A worker of an earlier version does not report it.
        is_consuming=entry[_CONSUMING] is not False,
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
