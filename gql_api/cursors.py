"""Positions in the list of tasks: opaque to clients, and bound to the order they were made for."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from jobs import values
from jobs.record.reads import TaskRecord

_ORDER = "created_at:desc"
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
        text = json.dumps([_ORDER, milliseconds, self.task_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor.

        Raises:
            CursorError: it is none, or one of another list.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            order, milliseconds, task_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            created_at = _EPOCH + milliseconds * _MILLISECOND
        except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
            raise CursorError(f"{text!r} is not a cursor") from error
        if order != _ORDER or not isinstance(task_id, str) or not values.is_text(task_id):
            raise CursorError(f"{text!r} is a cursor of another list")
        return cls(created_at, task_id)
