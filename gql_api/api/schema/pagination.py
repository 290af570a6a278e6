"""Relay pagination: the arguments ``first``, ``after``, ``last`` and ``before``, and cursors."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from gql_api import values
from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.schema.scalars import given
from gql_api.query.lists import Order, PageRequest, Position
from gql_api.record.reads import TaskRecord

MAX_PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 20
_LOG = "log"
_POSITIONS = range(2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PageArgs:
    """What a client gave; None and UNSET are what it left out."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    def stretch(self, order: Order) -> PageRequest:
        """What has to be read: one task more than the page has, which tells whether there is another page.

        The first tasks are meant unless it is the last ones, or only what they are to be before is given.

        Raises:
            ClientError: a size or a cursor cannot be, or both ends are asked for.
        """
        first, last = given(self.first, None), given(self.last, None)
        if first is not None and last is not None:
            raise ClientError("first and last cannot be given together", BAD_INPUT)
        after, before = _place("after", self.after, order), _place("before", self.before, order)
        backwards = last is not None or (first is None and after is None and before is not None)
        size = check_size("last" if backwards else "first", given(last if backwards else first, DEFAULT_PAGE_SIZE))
        return PageRequest(order, size + 1, after, before, backwards)


def check_size(name: str, size: int) -> int:
    """Give a number of things to be listed back.

    Raises:
        ClientError: it is none, or more than one answer has.
    """
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise ClientError(f"{name} must be from 1 to {MAX_PAGE_SIZE}, not {size}", BAD_INPUT)
    return size


def _place(name: str, cursor: str | None, order: Order) -> Position | None:
    text = given(cursor, None)
    try:
        return None if text is None else Cursor.parse(text, order).place
    except CursorError as error:
        raise ClientError(f"{name}: {error}", BAD_INPUT) from error


class CursorError(ValueError):
    """A string is not a cursor of this list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one task in an order."""

    order: Order
    place: Position

    @classmethod
    def of(cls, record: TaskRecord, order: Order) -> Self:
        """The place of a task."""
        return cls(order, Position.of(record, order))

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
        return cls(order, Position(at, task_id))


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
