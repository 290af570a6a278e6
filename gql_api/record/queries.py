"""The filters and projections that find task records, other than a caller's own filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.fitness import rules
from gql_api.record.fitness.rules import Fitness
from gql_api.record.model import NewTask, Version
from gql_api.record.reads import Document, Field, TaskRecord
from gql_api.record.statistics import durations
from gql_api.record.writes import NOW


def by_id(task_id: str) -> Document:
    """Return the filter that finds one task."""
    return {f.ID: task_id}


def by_ids(task_ids: list[str]) -> Document:
    """Return the filter that finds the tasks with these ids."""
    return {f.ID: {"$in": task_ids}}


def unchanged(record: TaskRecord) -> Document:
    """Return the filter that finds a task if it is still as it was read.

    A revision that a failover took back may be used again, but not at the same time.
    """
    return {f.ID: record.id, f.REVISION: record.revision, f.UPDATED_AT: record.updated_at}


def untouched_for(seconds: float) -> Document:
    """Return the filter that finds groups or chords without a change for some seconds, by the database's clock."""
    return {"$expr": {"$lt": [f"${f.UPDATED_AT}", {"$subtract": [NOW, round(seconds * 1000)]}]}}


# An update that matches and changes nothing. MongoDB acknowledges it when the writes before it are durable: it confirms
# what it found, but not that the server is still the primary, for which a barrier has to be written.
NO_CHANGE: Document = {"$set": {}}

ID_ONLY = {f.ID: 1}
# The hint for a filter that names some tasks.
BY_ID = [(f.ID, 1)]
REVISION_ONLY = {f.REVISION: 1}
STATE_ONLY = {f.REVISION: 1, f.STATUS: 1}
POSITION_ONLY = {**STATE_ONLY, f.CREATED_AT: 1}
CHANGE_ONLY = {**STATE_ONLY, f.UPDATED_AT: 1}
# The fields that filters read.
FILTERED_ONLY = {
    **CHANGE_ONLY,
    **dict.fromkeys((f.NAME, f.QUEUE, f.METADATA, f.CREATED_AT, f.FINISHED_AT, f.PARENT_ID, f.OWNER, f.TENANT), 1),
    f.ERROR_TYPE: 1,
}
# The version of the function that a task was made for, and its arguments.
VERSION_ONLY = {**STATE_ONLY, f"{f.MESSAGE_PARTS}.headers.{f.VERSION_HEADER}": 1}
CALL_ONLY = {
    **STATE_ONLY,
    **dict.fromkeys((f.ARGS, f.KWARGS, f.HIDDEN, f"{f.MESSAGE_PARTS}.{f.ARGS}", f"{f.MESSAGE_PARTS}.{f.KWARGS}"), 1),
}

# Of tasks that are to be deleted.
DELETED_ONLY: Document = {**FILTERED_ONLY, f.CHORD_ID: 1, durations.ENDED: durations.END}


def revisions_of(documents: list[Document]) -> dict[str, int]:
    """Read the revisions, by id, of records found with :data:`REVISION_ONLY`."""
    return {document[f.ID]: document[f.REVISION] for document in documents}


def versions_of(documents: list[Document]) -> dict[str, Version]:
    """Read the versions, by id, of records found with :data:`CHANGE_ONLY`."""
    return {record.id: record.version for record in map(TaskRecord, documents)}


def barrier() -> tuple[Document, Document]:
    """Return the write, an upsert, that MongoDB acknowledges when all writes before it are safe on a majority.

    It always changes its document. A write that changes nothing waits for the writes before it only, so it succeeds
    even on a server that has lost its majority since the last one, and need not be the primary any more.
    """
    return {f.ID: "barrier"}, {"$inc": {f.REVISION: 1}}


def version_of(record: TaskRecord) -> str | None:
    """Read the version of the function from a record found with :data:`VERSION_ONLY`."""
    version = record.message.headers.get(f.VERSION_HEADER)
    return version if isinstance(version, str) else None


def call_of(record: TaskRecord) -> tuple[list[Any], dict[str, Any]]:
    """Read the arguments of the next message from a record found with :data:`CALL_ONLY`."""
    parts, real = record.message, record.arguments
    return real.args if parts.args is None else parts.args, real.kwargs if parts.kwargs is None else parts.kwargs


def children_of(task_id: str) -> Document:
    """Return the filter that finds the tasks that a task sent."""
    return {f.PARENT_ID: task_id}


def children_of_any(task_ids: list[str]) -> Document:
    """Return the filter that finds the tasks that any of some tasks sent."""
    return {f.PARENT_ID: {"$in": task_ids}}


def expected(task: NewTask) -> TaskRecord:
    """Return the record that a new task will have, with the fields that filters read, by the clock of this process."""
    now = datetime.now(UTC)
    return TaskRecord(
        {
            f.ID: task.id,
            f.REVISION: 1,
            f.STATUS: Status.QUEUED.value,
            f.NAME: task.name,
            f.METADATA: values.dump(task.metadata),
            f.QUEUE: task.queue,
            f.PARENT_ID: task.parent_id,
            f.OWNER: task.owner,
            f.TENANT: task.tenant,
            f.CREATED_AT: now,
            f.UPDATED_AT: now,
        }
    )


# The fields that every TaskRecord needs have no name here.
_STORED_NAMES = {name: field.stored_name for name, field in vars(TaskRecord).items() if isinstance(field, Field)}


@dataclass(frozen=True)
class Part:
    """The fields of records that a reader needs, by their names in :class:`TaskRecord`."""

    names: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Create the part with some fields; of an unknown name, like the status, every record has the field."""
        return cls(frozenset(name for name in names if name in _STORED_NAMES))

    @cached_property
    def projection(self) -> dict[str, int] | None:
        """The projection that reads the part; None for whole records."""
        if self.names == _STORED_NAMES.keys():
            return None
        return {**STATE_ONLY, **{_STORED_NAMES[name]: 1 for name in self.names}}

    @cached_property
    def fitness(self) -> Fitness:
        """The rules for the fields of the part."""
        return rules.of_projection(self.projection)

    @cached_property
    def omitted(self) -> frozenset[str]:
        """The stored names of all other fields."""
        return frozenset(_STORED_NAMES[name] for name in _STORED_NAMES.keys() - self.names) - {
            _STORED_NAMES[name] for name in self.names
        }

    def record(self, document: Document) -> TaskRecord:
        """Create the record of a document that was read with the projection."""
        return TaskRecord(document, self.omitted)


WHOLE = Part(frozenset(_STORED_NAMES))
