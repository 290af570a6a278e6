"""The log lines of task functions: a document for each line, numbered and counted in the record of its task.

A line gets its position from one conditional write to the record, which only the attempt that holds the task can make.
Positions therefore rise over all attempts, and the limits apply to a task, wherever it runs.

The last few lines of a task are stored in its record, by the write that ends it, and copied to the collection a moment
later. A short task that logs a line needs no write for that. Readers merge both, the record first: when it has such
lines, all earlier ones are in the collection.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from bson import ObjectId
from pymongo import IndexModel

from gql_api.record import claims
from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write, literal, storable

MESSAGE_BYTES = 8 * 1024

_TASK_ID = "task_id"
_POSITION = "position"
_LEVEL = "level"
# Inside fields.LOGGED.
_LINES = "lines"
_BYTES = "bytes"
_BATCH = "batch"
_TAIL = "tail"
# In the record, where the copies of the lines remain.
_MAX_TAIL_LINES = 16
_MAX_TAIL_BYTES = 8 * 1024

_ELLIPSIS = "…"


class LogLevel(IntEnum):
    """The severity of a line, by the numbers of Python's ``logging``."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @classmethod
    def of(cls, number: int) -> LogLevel:
        """Return the highest level that is not above a number of ``logging``; CRITICAL becomes ERROR."""
        return max((level for level in cls if level <= number), default=cls.DEBUG)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line without a position yet. ``at`` is the time of logging, by ``time.monotonic`` of its process."""

    level: LogLevel
    message: str
    size: int
    at: float

    @classmethod
    def of(cls, number: int, text: str, at: float) -> Entry:
        """Return a line that can be stored, made from any text and cut to :data:`MESSAGE_BYTES`."""
        message = storable(text[:MESSAGE_BYTES])
        encoded = message.encode()
        if len(encoded) > MESSAGE_BYTES or len(text) > MESSAGE_BYTES:
            kept = MESSAGE_BYTES - len(_ELLIPSIS.encode())
            message = encoded[:kept].decode(errors="ignore") + _ELLIPSIS
            encoded = message.encode()
        return cls(LogLevel.of(number), message, len(encoded), at)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line with its position."""

    position: int
    at: datetime
    level: LogLevel
    message: str


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines that were stored together. They have the positions from ``first`` to ``until``, unless left out.

    ``lines`` is None when they are too large for an event: the reader loads them from MongoDB.
    """

    first: int
    until: int
    lines: tuple[LogLine, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest number of lines and of bytes in the log of a task."""

    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """The positions that the record gave to some lines: they follow ``lines`` lines with ``bytes`` of text."""

    lines: int
    bytes: int
    now: datetime


def reserve(task_id: str, attempt: int, entries: list[Entry], batch: ObjectId) -> Write:
    """Count lines before they are stored. The filter finds no task if the attempt has lost it.

    ``batch`` identifies the lines: a repeated write, after a lost reply, counts them once. Clients do not see the
    counts, so the revision stays.
    """
    is_counted = {"$eq": [f"${f.LOGGED}.{_BATCH}", batch]}
    counted = {
        _LINES: _plus(_LINES, {"$cond": [is_counted, 0, len(entries)]}),
        _BYTES: _plus(_BYTES, {"$cond": [is_counted, 0, _size(entries)]}),
        _BATCH: batch,
        f.AT: NOW,
    }
    return {f.ID: task_id, **claims.held_by(attempt)}, [{"$set": {f.LOGGED: counted}}]


def may_be_last(entries: Sequence[Entry]) -> bool:
    """Return whether lines are few and small enough for :func:`with_last_lines`."""
    return len(entries) <= _MAX_TAIL_LINES and _size(entries) <= _MAX_TAIL_BYTES


def with_last_lines(end: Write, entries: Sequence[Entry], sent_at: float) -> Write:
    """Store the last lines of a task with its end, which has room for them in the log; ``sent_at`` is the time now."""
    filter_, [stage] = end
    lines = [
        {
            _POSITION: _plus(_LINES, number),
            f.AT: {"$subtract": [NOW, max(0, round(1000 * (sent_at - entry.at)))]},
            _LEVEL: int(entry.level),
            f.MESSAGE: literal(entry.message),
        }
        for number, entry in enumerate(entries, 1)
    ]
    logged = {_LINES: _plus(_LINES, len(entries)), _BYTES: _plus(_BYTES, _size(entries)), f.AT: NOW, _TAIL: lines}
    return filter_, [{"$set": {**stage["$set"], f.LOGGED: logged}}]


TAIL_ONLY = {f"{f.LOGGED}.{_TAIL}": 1}


def tail_from(document: Document | None) -> list[LogLine]:
    """Read the last lines of a task from its record, found with :data:`TAIL_ONLY`; none if it has none of them."""
    return [line_from(line) for line in ((document or {}).get(f.LOGGED) or {}).get(_TAIL) or ()]


def merged(lines: Sequence[LogLine], tail: Sequence[LogLine], position: int, level: LogLevel) -> list[LogLine]:
    """Return stored lines after a position from a level up, with those of the tail that are not among them."""
    last = {line.position: line for line in tail if line.position > position and line.level >= level}
    return sorted((last | {line.position: line for line in lines}).values(), key=operator.attrgetter("position"))


COUNTS_ONLY = {f"{f.LOGGED}.{name}": 1 for name in (_LINES, _BYTES, f.AT)}
LOGGED_BYTES = f"{f.LOGGED}.{_BYTES}"


def counted_in(document: Document) -> tuple[int, int]:
    """Return the number of lines that a task has logged, and of their bytes."""
    counted = document.get(f.LOGGED) or {}
    return counted.get(_LINES, 0), counted.get(_BYTES, 0)


def reservation_from(document: Document, entries: list[Entry]) -> Reservation:
    """Read the positions that :func:`reserve` gave to lines, from a record found with :data:`COUNTS_ONLY`."""
    counted = document[f.LOGGED]
    return Reservation(counted[_LINES] - len(entries), counted[_BYTES] - _size(entries), counted[f.AT])


def counts_of(documents: list[Document]) -> dict[str, int]:
    """Read the number of logged lines of tasks, by id, from records found with :data:`COUNTS_ONLY`."""
    return {document[f.ID]: document.get(f.LOGGED, {}).get(_LINES, 0) for document in documents}


def is_full(entries: list[Entry], reserved: Reservation, limits: Limits) -> bool:
    """Return whether the task's log is full after these lines."""
    return reserved.lines + len(entries) > limits.lines or reserved.bytes + _size(entries) > limits.bytes


def lines_of(entries: list[Entry], reserved: Reservation, limits: Limits, sent_at: float) -> list[LogLine]:
    """Return the lines that the limits allow, with positions and times; a note replaces the first one left out.

    The times are the database's, less the time that each line had waited when its position was reserved.
    """
    sizes = itertools.accumulate((entry.size for entry in entries), initial=reserved.bytes)
    next(sizes)
    fitting = [
        entry
        for number, (entry, size) in enumerate(zip(entries, sizes, strict=True), reserved.lines + 1)
        if number <= limits.lines and size <= limits.bytes
    ]
    lines = [
        LogLine(position, reserved.now - timedelta(seconds=sent_at - entry.at), entry.level, entry.message)
        for position, entry in enumerate(fitting, reserved.lines + 1)
    ]
    was_full = reserved.lines > limits.lines or reserved.bytes > limits.bytes
    if len(fitting) < len(entries) and not was_full:
        lines.append(LogLine(reserved.lines + len(fitting) + 1, reserved.now, LogLevel.WARNING, _note(limits)))
    return lines


def _note(limits: Limits) -> str:
    return f"The rest was left out: a task keeps at most {limits.lines} lines and {limits.bytes} bytes of log"


def document_of(id_: ObjectId, task_id: str, line: LogLine) -> Document:
    """Return the document of a line."""
    return {f.ID: id_, _TASK_ID: task_id, **fields_of(line)}


def fields_of(line: LogLine) -> Document:
    """Return the fields of a line that its document and an event have in common."""
    return {_POSITION: line.position, f.AT: line.at, _LEVEL: int(line.level), f.MESSAGE: line.message}


def line_from(document: Document) -> LogLine:
    """Read a line from its document or from an event."""
    return LogLine(document[_POSITION], document[f.AT], LogLevel(document[_LEVEL]), document[f.MESSAGE])


def of_tasks(task_ids: Sequence[str]) -> Document:
    """Return the filter that finds all lines of some tasks."""
    return {_TASK_ID: {"$in": list(task_ids)}}


def after(task_id: str, position: int, level: LogLevel) -> Document:
    """Return the filter that finds the lines of a task after a position that have at least a level."""
    at_least = {} if level is LogLevel.DEBUG else {_LEVEL: {"$gte": int(level)}}
    return {_TASK_ID: task_id, _POSITION: {"$gt": position}, **at_least}


IN_ORDER = [(_POSITION, 1)]

INDEXES = [
    IndexModel([(_TASK_ID, 1), *IN_ORDER], unique=True),  # Task.logs(first, after), taskLogged
]


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _plus(name: str, number: Any) -> Any:
    return {"$add": [{"$ifNull": [f"${f.LOGGED}.{name}", 0]}, number]}
