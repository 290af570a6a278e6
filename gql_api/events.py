"""The events on Redis: channel names and formats.

An event is published after each stored change and carries the record as BSON, in which the lazy fields are BSON of
their own, decoded when one of them is read. Events are a fast path and MongoDB has the truth: an event may be lost, and
one that would be too large names the fields that it leaves out. Log lines have channels of their own, because few
clients watch them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson import Int64
from bson.errors import BSONError

from gql_api.record import fields, logs
from gql_api.record.fitness import rules
from gql_api.record.logs import LogBatch
from gql_api.record.model import MAX_INT
from gql_api.record.past.former_states import replaced_metadata
from gql_api.record.reads import CODEC, FAST_CODEC, Document, TaskRecord

MAX_BYTES = 32 * 1024

# Beside the fields of the record.
_OMITTED = "_omitted"
_LAZY = "_folded"
_DELETED_AT = "_deleted_at"
_FIRST = "first"
_UNTIL = "until"
_LINES = "lines"
_APPLICATION = "gql-api"
_TASK_CHANNEL = "task"
_LOG_CHANNEL = "log"
_BRACKET = re.compile(r"[\[\]]")
_ESCAPED = r"\\\g<0>"


# What reading a payload of any bytes raises.
_MALFORMED = (BSONError, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
_PRIVATE = frozenset(fields.PRIVATE)
_NEVER_OMITTED = {fields.ID, fields.REVISION, fields.STATUS, fields.UPDATED_AT}
_NUMBERS = (int, Int64)


class EventError(ValueError):
    """A payload on a channel is not an event in our format."""


class Channels:
    """The names of the Redis channels of one deployment.

    Redis delivers what is published to the clients of all of its databases. Deployments that share a server, and have
    MongoDB databases of different names, do not receive each other's events.
    """

    def __init__(self, database: str) -> None:
        self._prefix = f"{_APPLICATION}:{database}:"
        self._task_prefix = f"{self._prefix}{_TASK_CHANNEL}:"
        self._log_prefix = f"{self._prefix}{_LOG_CHANNEL}:"

    @property
    def quotas(self) -> str:
        """The beginning of the keys with which quotas are counted: of keys, not of channels."""
        return f"{self._prefix}quotas"

    def task(self, task_id: str) -> str:
        """Return the channel of the events of one task."""
        return f"{self._task_prefix}{task_id}"

    def log(self, task_id: str) -> str:
        """Return the channel of the log lines of one task."""
        return f"{self._log_prefix}{task_id}"

    @property
    def all_tasks(self) -> str:
        """The pattern of the channels of all tasks."""
        # The name of a database may contain brackets, but none of the other characters that Redis gives a meaning to.
        return f"{_BRACKET.sub(_ESCAPED, self._task_prefix)}*"

    def subject_of(self, channel: str) -> tuple[str, bool]:
        """Return the task id of a channel, and whether it is the channel of its log lines."""
        kind, _, task_id = channel.removeprefix(self._prefix).partition(":")
        return task_id, kind == _LOG_CHANNEL


def encode(document: Document) -> bytes:
    """Create the event for a stored record, of at most :data:`MAX_BYTES` wherever omitting fields can reach that."""
    kept = dict(document)
    for name in _PRIVATE & kept.keys():
        del kept[name]
    if (before := replaced_metadata(document)) is not None:
        payload = _packed({**kept, fields.METADATA_BEFORE: before}, [])
        if len(payload) <= MAX_BYTES:
            return payload
    omitted: list[str] = []
    payload = _packed(kept, omitted)
    for name in fields.OMITTABLE:
        if len(payload) <= MAX_BYTES:
            break
        if kept.pop(name, None) is not None:
            omitted.append(name)
            payload = _packed(kept, omitted)
    return payload


def deleted(document: Document, at: datetime) -> bytes:
    """Create the event for a deleted task, with the fields of its last record that filters read."""
    payload = _packed(document, [], at)
    if len(payload) <= MAX_BYTES:
        return payload
    without = {name: value for name, value in document.items() if name != fields.METADATA}
    return _packed(without, [fields.METADATA], at)


def _packed(document: Document, omitted: list[str], deleted_at: datetime | None = None) -> bytes:
    event = dict(document)
    event[_LAZY] = bson.encode({name: event.pop(name) for name in fields.LAZY if name in event})
    if omitted:
        event[_OMITTED] = omitted
    if deleted_at is not None:
        event[_DELETED_AT] = deleted_at
    return bson.encode(event)


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of a task.

    Attributes:
        task_id: the task.
        at: when it was deleted.
        record: the fields of its last record that filters read, if known.
        remains: what its tombstone knows of it, if that was read.
    """

    task_id: str
    at: datetime
    record: TaskRecord | None = None
    remains: TaskRecord | None = None

    @property
    def last(self) -> TaskRecord | None:
        """The task before its deletion, as far as it is known."""
        return self.remains if self.record is None else self.record


def decode(payload: bytes, task_id: str | None = None) -> TaskRecord | Deletion:
    """Read an event; ``task_id`` is the task of its channel, if that is known.

    Raises:
        EventError: the payload is not an event.
    """
    try:
        event = bson.decode(payload, FAST_CODEC)
        at = event.pop(_DELETED_AT, None)
        omitted, lazy = event.pop(_OMITTED, []), _bytes(event.pop(_LAZY))
        _check(event, omitted, is_deletion=at is not None)
        if task_id not in (None, event[fields.ID]):
            raise ValueError("it is about another task than its channel")
        record = TaskRecord(event, frozenset(omitted), lazy)
        return record if at is None else Deletion(record.id, at.replace(tzinfo=UTC), record)
    except _MALFORMED as error:
        raise EventError(f"not an event: {error}") from error


def _check(event: Document, omitted: object, *, is_deletion: bool) -> None:
    """Check the types of what every reader of an event relies on.

    Raises:
        ValueError: a field does not fit.
    """
    # The event of a deletion has only those fields of the last record that filters read.
    if is_deletion:
        misfit = rules.CORE.first_misfit(event) or rules.IN_EVENTS.misfit_among_present(event)
    else:
        misfit = rules.IN_EVENTS.first_misfit(event)
    if misfit is not None:
        raise rules.MisfitError(event.get(fields.ID), misfit)
    if omitted == []:  # as in nearly all events
        return
    if not isinstance(omitted, list) or not all(
        isinstance(name, str) and name not in _NEVER_OMITTED for name in omitted
    ):
        raise ValueError(f"{_OMITTED} is {omitted!r:.200}")


def _bytes(lazy: object) -> bytes:
    if not isinstance(lazy, bytes):
        raise TypeError(f"{_LAZY} is {type(lazy)}")
    return lazy


def encode_log(batch: LogBatch) -> bytes:
    """Create the event for stored log lines; above :data:`MAX_BYTES` it has their positions only."""
    event: dict[str, Any] = {_FIRST: batch.first, _UNTIL: batch.until}
    if batch.lines is None or sum(len(line.message) for line in batch.lines) > MAX_BYTES:
        return bson.encode(event)
    payload = bson.encode({**event, _LINES: [logs.fields_of(line) for line in batch.lines]})
    return payload if len(payload) <= MAX_BYTES else bson.encode(event)


def decode_log(payload: bytes) -> LogBatch:
    """Read an event of log lines.

    Raises:
        EventError: the payload is not an event.
    """
    try:
        event = bson.decode(payload, CODEC)
        documents = event.get(_LINES)
        lines = None if documents is None else tuple(map(logs.line_from, documents))
        batch = LogBatch(event[_FIRST], event[_UNTIL], lines)
        _check_batch(batch)
    except _MALFORMED as error:
        raise EventError(f"not an event: {error}") from error
    return batch


def _check_batch(batch: LogBatch) -> None:
    positions = [batch.first, *(line.position for line in batch.lines or ()), batch.until]
    if not all(type(position) in _NUMBERS for position in positions) or positions != sorted(positions):
        raise ValueError(f"the positions are {positions!r:.200}")
    if not 0 <= batch.first <= batch.until <= MAX_INT:
        raise ValueError(f"the lines are {batch.first} to {batch.until}")
    if not all(isinstance(line.at, datetime) and isinstance(line.message, str) for line in batch.lines or ()):
        raise TypeError("a line has no time or no text")
