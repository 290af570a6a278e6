"""The events on Redis: channel names and formats.

An event is published after each stored change and carries the record as BSON, in which the lazy fields are BSON of
their own, decoded when one of them is read. Events are a fast path and MongoDB has the truth: an event may be lost, and
one that would be too large names the fields that it leaves out. Log lines have channels of their own, because few
clients watch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson.errors import BSONError

from gql_api.record import fields, logs
from gql_api.record.logs import LogBatch
from gql_api.record.reads import CODEC, FAST_CODEC, Document, TaskRecord

MAX_BYTES = 32 * 1024

# Beside the fields of the record.
_OMITTED = "_omitted"
_LAZY = "_folded"
_DELETED_AT = "_deleted_at"
_FIRST = "first"
_UNTIL = "until"
_LINES = "lines"
_TASK_CHANNEL = "task"
_LOG_CHANNEL = "log"


class EventError(ValueError):
    """A payload on a channel is not an event in our format."""


def channel(task_id: str) -> str:
    """Return the Redis channel of the events of one task."""
    return f"{_TASK_CHANNEL}:{task_id}"


ALL_TASKS = f"{_TASK_CHANNEL}:*"
"""The pattern of the channels of all tasks."""


def log_channel(task_id: str) -> str:
    """Return the Redis channel of the log lines of one task."""
    return f"{_LOG_CHANNEL}:{task_id}"


def subject_of(channel_name: str) -> tuple[str, bool]:
    """Return the task id of a channel, and whether it is the channel of its log lines."""
    kind, _, task_id = channel_name.partition(":")
    return task_id, kind == _LOG_CHANNEL


def encode(document: Document) -> bytes:
    """Create the event for a stored record, of at most :data:`MAX_BYTES` wherever omitting fields can reach that."""
    kept = {name: value for name, value in document.items() if name not in fields.PRIVATE}
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
    event = {name: value for name, value in document.items() if name not in fields.LAZY}
    lazy = {name: document[name] for name in fields.LAZY if name in document}
    added = {_LAZY: bson.encode(lazy), _OMITTED: omitted, _DELETED_AT: deleted_at}
    return bson.encode(event | {name: value for name, value in added.items() if value})


@dataclass(frozen=True, slots=True)
class Deletion:
    """The deletion of a task. ``record`` has the fields of its last record that filters read, if known."""

    task_id: str
    at: datetime
    record: TaskRecord | None = None


def decode(payload: bytes) -> TaskRecord | Deletion:
    """Read an event.

    Raises:
        EventError: the payload is not an event.
    """
    try:
        event = bson.decode(payload, FAST_CODEC)
        at = event.pop(_DELETED_AT, None)
        record = TaskRecord(event, frozenset(event.pop(_OMITTED, ())), _bytes(event.pop(_LAZY)))
        _check_time(event[fields.UPDATED_AT])  # a part of the version, which every mailbox reads
        return record if at is None else Deletion(record.id, at.replace(tzinfo=UTC), record)
    except (BSONError, KeyError, TypeError, ValueError) as error:
        raise EventError(f"not an event: {error}") from error


def _bytes(lazy: object) -> bytes:
    if not isinstance(lazy, bytes):
        raise TypeError(f"{_LAZY} is {type(lazy)}")
    return lazy


def _check_time(time: object) -> None:
    if not isinstance(time, datetime):
        raise TypeError(f"{fields.UPDATED_AT} is {type(time)}")


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
        return LogBatch(int(event[_FIRST]), int(event[_UNTIL]), lines)
    except (BSONError, KeyError, TypeError, ValueError) as error:
        raise EventError(f"not an event: {error}") from error
