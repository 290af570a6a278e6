"""Positions in lists of tasks and in logs: opaque to clients, and bound to the list they were made for."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from jobs import values
from jobs.record.reads import TaskRecord

_ORDER = "created_at:desc"
_LOG = "log"
_POSITIONS = range(2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class CursorError(ValueError):
    """A string is not a cursor of this list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one task when the newest come first."""

    created_at: datetime
    task_id: str

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        """The place of a task."""
        return cls(record.created_at, record.id)

    def __str__(self) -> str:
        milliseconds = (self.created_at - _EPOCH) // _MILLISECOND
        return _encode([_ORDER, milliseconds, self.task_id])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor.

        Raises:
            CursorError: it is none, or one of another list.
        """
        order, milliseconds, task_id = _decode(text)
        try:
            created_at = _EPOCH + milliseconds * _MILLISECOND
        except (TypeError, OverflowError) as error:
            raise CursorError(f"{text!r} is not a cursor") from error
        if order != _ORDER or not isinstance(task_id, str) or not values.is_text(task_id):
            raise CursorError(f"{text!r} is a cursor of another list")
        return cls(created_at, task_id)


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The place of one line in the log of a task."""

    task_id: str
    position: int

    def __str__(self) -> str:
        return _encode([_LOG, self.position, self.task_id])

    @classmethod
    def parse(cls, text: str, task_id: str) -> Self:
        """Read a cursor of a task's log.

        Raises:
            CursorError: it is none, or one of another list.
        """
        kind, position, of_task = _decode(text)
        if kind != _LOG or of_task != task_id:
            raise CursorError(f"{text!r} is a cursor of another list")
        if type(position) is not int or position not in _POSITIONS:
            raise CursorError(f"{text!r} is not a cursor")
        return cls(task_id, position)


def _encode(parts: list[str | int]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> tuple[Any, Any, Any]:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        kind, place, task_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise CursorError(f"{text!r} is not a cursor") from error
    return kind, place, task_id
