"""Relay pagination: the arguments ``first``, ``after``, ``last`` and ``before``, and cursors."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from gql_api import values
from gql_api.api.errors import BAD_INPUT, ApiError, ClientError
from gql_api.api.schema.scalars import or_default
from gql_api.query.lists import Order, PageRequest, Position
from gql_api.record.reads import TaskRecord

MAX_PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 20
_LOG = "log"
_AUDIT = "audit"
_ENTRY_ID = re.compile("[0-9a-f]{24}")
_POSITIONS = range(2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PageArgs:
    """The pagination arguments of a field; None and UNSET are arguments that the client left out."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    def page_request(self, order: Order) -> PageRequest:
        """Return the read that fills the page, with one task more to know whether there is another page.

        The page has the first tasks, unless ``last`` is given, or ``before`` as the only argument.

        Raises:
            ClientError: a size or a cursor is invalid, or ``first`` and ``last`` are both given.
        """
        first, last = or_default(self.first, None), or_default(self.last, None)
        if first is not None and last is not None:
            raise ClientError(f"first and last: only one is allowed, got first {first} and last {last}", BAD_INPUT)
        after, before = _position("after", self.after, order), _position("before", self.before, order)
        backwards = last is not None or (first is None and after is None and before is not None)
        size = or_default(last if backwards else first, DEFAULT_PAGE_SIZE)
        size = checked_size("last" if backwards else "first", size)
        return PageRequest(order, size + 1, after, before, backwards)


def checked_size(argument: str, size: int) -> int:
    """Return the size of a page or a facet if it is allowed.

    Raises:
        ClientError: the size is out of bounds.
    """
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise ClientError(f"{argument}: must be from 1 to {MAX_PAGE_SIZE}, got {size}", BAD_INPUT)
    return size


def _position(argument: str, cursor: str | None, order: Order) -> Position | None:
    text = or_default(cursor, None)
    try:
        return None if text is None else Cursor.parse(text, order).position
    except CursorError as error:
        raise ClientError(f"{argument}: {error}", BAD_INPUT) from error


class CursorError(ApiError, ValueError):
    """A string that is not a cursor of this list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of one task in an order."""

    order: Order
    position: Position

    @classmethod
    def of(cls, record: TaskRecord, order: Order) -> Self:
        """Create the cursor of a task."""
        return cls(order, Position.of(record, order))

    def __str__(self) -> str:
        milliseconds = (self.position.at - _EPOCH) // _MILLISECOND
        return _encode([_name_of(self.order), milliseconds, self.position.task_id])

    @classmethod
    def parse(cls, text: str, order: Order) -> Self:
        """Read a cursor of a list in an order.

        Raises:
            CursorError: the text is not a cursor, or belongs to another list.
        """
        name, milliseconds, task_id = _decode(text)
        if name != _name_of(order):
            raise CursorError(
                f"must be a cursor of this list in this order, got {text!r} of another list or another order"
            )
        if type(milliseconds) is not int or not isinstance(task_id, str) or not values.is_text(task_id):
            raise _not_a_cursor(text)
        try:
            at = _EPOCH + milliseconds * _MILLISECOND
        except OverflowError as error:
            raise _not_a_cursor(text) from error
        return cls(order, Position(at, task_id))


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The position of one line in the log of a task."""

    task_id: str
    position: int

    def __str__(self) -> str:
        return _encode([_LOG, self.position, self.task_id])

    @classmethod
    def parse(cls, text: str, task_id: str) -> Self:
        """Read a cursor of a task's log.

        Raises:
            CursorError: the text is not a cursor, or belongs to another list.
        """
        kind, position, of_task = _decode(text)
        if kind != _LOG or of_task != task_id:
            raise CursorError(f"must be a cursor of this task's log, got {text!r} of another list")
        if type(position) is not int or position not in _POSITIONS:
            raise _not_a_cursor(text)
        return cls(task_id, position)


@dataclass(frozen=True, slots=True)
class AuditCursor:
    """The position of an entry in the audit log."""

    at: datetime
    entry_id: str

    def __str__(self) -> str:
        return _encode([_AUDIT, (self.at - _EPOCH) // _MILLISECOND, self.entry_id])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor of the audit log.

        Raises:
            CursorError: the text is not a cursor, or belongs to another list.
        """
        kind, milliseconds, entry_id = _decode(text)
        if kind != _AUDIT:
            raise CursorError(f"must be a cursor of this list, got {text!r} of another list")
        if type(milliseconds) is not int or not isinstance(entry_id, str) or _ENTRY_ID.fullmatch(entry_id) is None:
            raise _not_a_cursor(text)
        try:
            return cls(_EPOCH + milliseconds * _MILLISECOND, entry_id)
        except OverflowError as error:
            raise _not_a_cursor(text) from error


def _name_of(order: Order) -> str:
    return f"{order.field}:{'desc' if order.descending else 'asc'}"


def _encode(parts: list[str | int]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(text: str) -> tuple[Any, Any, Any]:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        kind, position, task_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise _not_a_cursor(text) from error
    return kind, position, task_id


def _not_a_cursor(text: str) -> CursorError:
    return CursorError(f"must be a cursor from a page, got {text!r}")
