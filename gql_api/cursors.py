"""Positions in lists of tasks and in logs: opaque to clients, and bound to the list they were made for."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from jobs import values
from jobs.record.lists import Order, Place
from jobs.record.reads import TaskRecord

_LOG = "log"
_POSITIONS = range(2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class CursorError(ValueError):
    """A string is not a cursor of this list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one task in an order."""

    order: Order
    place: Place

    @classmethod
    def of(cls, record: TaskRecord, order: Order) -> Self:
        """The place of a task."""
        return cls(order, Place.of(record, order))

    def __str__(self) -> str:
        milliseconds = (self.place.at - _EPOCH) // _MILLISECOND
        return _encode([_name_of(self.order), milliseconds, self.place.task_id])

    @classmethod
    def parse(cls, text: str, order: Order) -> Self:
        """Read a cursor of a list in an order.

        Raises:
            CursorError: it is none, or one of another list.
        """
        name, milliseconds, task_id = _decode(text)
        if name != _name_of(order):
            raise CursorError(f"{text!r} is a cursor of another list, or of another order")
        if type(milliseconds) is not int or not isinstance(task_id, str) or not values.is_text(task_id):
            raise CursorError(f"{text!r} is not a cursor")
        try:
            at = _EPOCH + milliseconds * _MILLISECOND
        except OverflowError as error:
            raise CursorError(f"{text!r} is not a cursor") from error
        return cls(order, Place(at, task_id))


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


def _name_of(order: Order) -> str:
    return f"{order.field}:{'desc' if order.descending else 'asc'}"


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
