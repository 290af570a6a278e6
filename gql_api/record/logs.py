"""What task functions log: a document for each line, numbered and counted in the record of its task.

A line has its position by one conditional write to the record, which only the attempt that holds the task can make. So
positions rise over all attempts, and the limits are a task's, wherever it runs.
"""

from __future__ import annotations

import itertools
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
from gql_api.record.writes import NOW, Write, storable

MESSAGE_BYTES = 8 * 1024

_TASK_ID = "task_id"
_POSITION = "position"
_LEVEL = "level"
# Inside fields.LOGGED.
_LINES = "lines"
_BYTES = "bytes"
_BATCH = "batch"

_ELLIPSIS = "…"


class LogLevel(IntEnum):
    """How grave a line is, by the numbers of Python's ``logging``."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @classmethod
    def of(cls, number: int) -> LogLevel:
        """The level for any number of ``logging``: the highest that is not above it, CRITICAL being an ERROR."""
        return max((level for level in cls if level <= number), default=cls.DEBUG)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that has no position yet. ``at`` is when it was logged, by ``time.monotonic`` of its process."""

    level: LogLevel
    message: str
    size: int
    at: float

    @classmethod
    def of(cls, number: int, text: str, at: float) -> Entry:
        """Make a line that can be stored of any text, cut to :data:`MESSAGE_BYTES`."""
        message = storable(text[:MESSAGE_BYTES])
        encoded = message.encode()
        if len(encoded) > MESSAGE_BYTES or len(text) > MESSAGE_BYTES:
            room = MESSAGE_BYTES - len(_ELLIPSIS.encode())
            message = encoded[:room].decode(errors="ignore") + _ELLIPSIS
            encoded = message.encode()
        return cls(LogLevel.of(number), message, len(encoded), at)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as it is stored."""

    position: int
    at: datetime
    level: LogLevel
    message: str


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines that were stored together: they have the positions from ``first`` to ``until``, unless left out.

    Without ``lines`` they are too large for an event, and stand in MongoDB.
    """

    first: int
    until: int
    lines: tuple[LogLine, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a task's log keeps."""

    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What the record gave to some lines: the positions after ``lines``, where ``bytes`` of text stand before them."""

    lines: int
    bytes: int
    now: datetime


def reserve(task_id: str, attempt: int, entries: list[Entry], batch: ObjectId) -> Write:
    """Count lines that are about to be stored, as the attempt that holds the task: finds nothing when it lost that.

    ``batch`` is the lines' own: repeated, for its reply was lost, the write counts them once. Clients see nothing of
    it, so the revision stays.
    """
    is_counted = {"$eq": [f"${f.LOGGED}.{_BATCH}", batch]}
    counted = {
        _LINES: _plus(_LINES, {"$cond": [is_counted, 0, len(entries)]}),
        _BYTES: _plus(_BYTES, {"$cond": [is_counted, 0, _size(entries)]}),
        _BATCH: batch,
        f.AT: NOW,
    }
    return {f.ID: task_id, **claims.held(attempt)}, [{"$set": {f.LOGGED: counted}}]


COUNTS_ONLY = {f.LOGGED: 1}


def room_from(document: Document, entries: list[Entry]) -> Room:
    """Read what :func:`reserve` left in the record, found with :data:`COUNTS_ONLY`."""
    counted = document[f.LOGGED]
    return Room(counted[_LINES] - len(entries), counted[_BYTES] - _size(entries), counted[f.AT])


def counts_of(documents: list[Document]) -> dict[str, int]:
    """Read how many lines tasks have logged, by id, from what a find with :data:`COUNTS_ONLY` gave."""
    return {document[f.ID]: document.get(f.LOGGED, {}).get(_LINES, 0) for document in documents}


def is_full(entries: list[Entry], room: Room, limits: Limits) -> bool:
    """Whether the task's log takes no more after these."""
    return room.lines + len(entries) > limits.lines or room.bytes + _size(entries) > limits.bytes


def lines_of(entries: list[Entry], room: Room, limits: Limits, sent_at: float) -> list[LogLine]:
    """Give lines their positions and times, as many as there is room for; the first left out gives way to a note.

    The times are the database's, less the time that each line had waited when its room was asked for.
    """
    sizes = itertools.accumulate((entry.size for entry in entries), initial=room.bytes)
    next(sizes)
    fitting = [
        entry
        for number, (entry, size) in enumerate(zip(entries, sizes, strict=True), room.lines + 1)
        if number <= limits.lines and size <= limits.bytes
    ]
    lines = [
        LogLine(position, room.now - timedelta(seconds=sent_at - entry.at), entry.level, entry.message)
        for position, entry in enumerate(fitting, room.lines + 1)
    ]
    was_full = room.lines > limits.lines or room.bytes > limits.bytes
    if len(fitting) < len(entries) and not was_full:
        lines.append(LogLine(room.lines + len(fitting) + 1, room.now, LogLevel.WARNING, _note(limits)))
    return lines


def _note(limits: Limits) -> str:
    return f"The rest was left out: a task keeps at most {limits.lines} lines and {limits.bytes} bytes of log"


def document_of(id_: ObjectId, task_id: str, line: LogLine) -> Document:
    """What stands in MongoDB for a line."""
    return {f.ID: id_, _TASK_ID: task_id, **plain(line)}


def plain(line: LogLine) -> Document:
    """A line by itself, as an event carries it."""
    return {_POSITION: line.position, f.AT: line.at, _LEVEL: int(line.level), f.MESSAGE: line.message}


def line_from(document: Document) -> LogLine:
    """Read a line, from MongoDB or from an event."""
    return LogLine(document[_POSITION], document[f.AT], LogLevel(document[_LEVEL]), document[f.MESSAGE])


def of_tasks(task_ids: Sequence[str]) -> Document:
    """The filter that finds all lines of some tasks."""
    return {_TASK_ID: {"$in": list(task_ids)}}


def after(task_id: str, position: int, level: LogLevel) -> Document:
    """The filter for the lines of a task that follow a position and are at least so grave."""
    graver = {} if level is LogLevel.DEBUG else {_LEVEL: {"$gte": int(level)}}
    return {_TASK_ID: task_id, _POSITION: {"$gt": position}, **graver}


IN_ORDER = [(_POSITION, 1)]

INDEXES = [
    IndexModel([(_TASK_ID, 1), *IN_ORDER], unique=True),  # Task.logs(first, after), taskLogged
]


def _size(entries: list[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _plus(name: str, number: Any) -> Any:
    return {"$add": [{"$ifNull": [f"${f.LOGGED}.{name}", 0]}, number]}
