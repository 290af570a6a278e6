"""The news on Redis: channel names, and the formats of events.

An event is published after each stored change and carries the record as BSON; some of its fields are folded up in it,
as BSON in BSON, until somebody asks for one. It is a fast path, never the truth: one may be lost, and one that would be
too large leaves the largest fields out and names them. Lines of log are told on channels of their own, for few want
them.
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
    """A payload on a channel is not an event of ours."""


def channel(task_id: str) -> str:
    """The Redis channel that tells of one task."""
    return f"{_TASK_CHANNEL}:{task_id}"


ALL_TASKS = f"{_TASK_CHANNEL}:*"
"""The pattern of the channels of all tasks."""


def log_channel(task_id: str) -> str:
    """The Redis channel that tells what one task logs."""
    return f"{_LOG_CHANNEL}:{task_id}"


def subject_of(channel_name: str) -> tuple[str, bool]:
    """The task that a channel tells of, and whether it tells of its log."""
    kind, _, task_id = channel_name.partition(":")
    return task_id, kind == _LOG_CHANNEL


def encode(document: Document) -> bytes:
    """Make the event for a record just stored, at most :data:`MAX_BYTES` wherever leaving fields out can reach that."""
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
    """Make the event for a task that was deleted: what it was last, as far as filters ask for it."""
    payload = _packed(document, [], at)
    if len(payload) <= MAX_BYTES:
        return payload
    without = {name: value for name, value in document.items() if name != fields.METADATA}
    return _packed(without, [fields.METADATA], at)


def _packed(document: Document, omitted: list[str], deleted_at: datetime | None = None) -> bytes:
    event = {name: value for name, value in document.items() if name not in fields.LAZY}
    folded = {name: document[name] for name in fields.LAZY if name in document}
    told = {_LAZY: bson.encode(folded), _OMITTED: omitted, _DELETED_AT: deleted_at}
    return bson.encode(event | {name: value for name, value in told.items() if value})


@dataclass(frozen=True, slots=True)
class Deletion:
    """The news that a task is no more. ``record`` is what it was last, as far as filters ask for it and it is known."""

    task_id: str
    at: datetime
    record: TaskRecord | None = None


def decode(payload: bytes) -> TaskRecord | Deletion:
    """Read an event.

    Raises:
        EventError: the payload is not one.
    """
    try:
        event = bson.decode(payload, FAST_CODEC)
        at = event.pop(_DELETED_AT, None)
        record = TaskRecord(event, frozenset(event.pop(_OMITTED, ())), _bytes(event.pop(_LAZY)))
        return record if at is None else Deletion(record.id, at.replace(tzinfo=UTC), record)
    except (BSONError, KeyError, TypeError, ValueError) as error:
        raise EventError(f"not an event: {error}") from error


def _bytes(folded: object) -> bytes:
    if not isinstance(folded, bytes):
        raise TypeError(f"{_LAZY} is {type(folded)}")
    return folded


def encode_log(batch: LogBatch) -> bytes:
    """Make the event for lines just stored; above :data:`MAX_BYTES` it only says that there are some."""
    event: dict[str, Any] = {_FIRST: batch.first, _UNTIL: batch.until}
    if batch.lines is None or sum(len(line.message) for line in batch.lines) > MAX_BYTES:
        return bson.encode(event)
    payload = bson.encode({**event, _LINES: [logs.fields_of(line) for line in batch.lines]})
    return payload if len(payload) <= MAX_BYTES else bson.encode(event)


def decode_log(payload: bytes) -> LogBatch:
    """Read an event that tells of lines.

    Raises:
        EventError: the payload is not one.
    """
    try:
        event = bson.decode(payload, CODEC)
        told = event.get(_LINES)
        lines = None if told is None else tuple(logs.line_from(line) for line in told)
        return LogBatch(int(event[_FIRST]), int(event[_UNTIL]), lines)
    except (BSONError, KeyError, TypeError, ValueError) as error:
        raise EventError(f"not an event: {error}") from error
