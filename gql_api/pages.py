"""Which page of a list a client asks for: Relay's ``first``, ``after``, ``last`` and ``before``."""

from __future__ import annotations

from dataclasses import dataclass

from gql_api.cursors import Cursor, CursorError
from gql_api.errors import BAD_INPUT, ClientError
from gql_api.scalars import given
from jobs.record.lists import Order, Place, Stretch

MOST = 500
DEFAULT = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client gave; None and UNSET are what it left out."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    def stretch(self, order: Order) -> Stretch:
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
        size = check_size("last" if backwards else "first", given(last if backwards else first, DEFAULT))
        return Stretch(order, size + 1, after, before, backwards)


def check_size(name: str, size: int) -> int:
    """Give a number of things to be listed back.

    Raises:
        ClientError: it is none, or more than one answer has.
    """
    if not 1 <= size <= MOST:
        raise ClientError(f"{name} must be from 1 to {MOST}, not {size}", BAD_INPUT)
    return size


def _place(name: str, cursor: str | None, order: Order) -> Place | None:
    text = given(cursor, None)
    try:
        return None if text is None else Cursor.parse(text, order).place
    except CursorError as error:
        raise ClientError(f"{name}: {error}", BAD_INPUT) from error
