"""The scalars of the schema: any JSON value, and times that carry their offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NewType, TypeVar

import strawberry
from strawberry.types.scalar import ScalarDefinition

from gql_api.api.execution.encoding import write_time

JSON = NewType("JSON", object)
"""A JSON value as Python's ``json`` knows it."""


T = TypeVar("T")


def given(value: T | None, default: T) -> T:
    """What a caller gave for an optional argument; both leaving it out and null mean the default."""
    return default if value is None or value is strawberry.UNSET else value


def _parse_datetime(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"not an RFC 3339 time: {value!r}") from None
    if time.tzinfo is None:
        raise ValueError(f"a time needs an offset, like {value}Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"a time that UTC has no year for: {value!r}") from None


def _unchanged(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value, given back unchanged.",
        serialize=_unchanged,
        parse_value=_unchanged,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A time in RFC 3339, always with an offset.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_time,
        parse_value=_parse_datetime,
    ),
}
