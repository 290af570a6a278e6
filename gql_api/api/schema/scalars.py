"""The leaf types of the schema: JSON values, times with an offset, and enums of other wings; and optional arguments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, NewType, TypeVar

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.scalar import ScalarDefinition

from gql_api.api.execution.encoding import encode, write_time

JSON = NewType("JSON", object)
"""A JSON value as Python's ``json`` reads it."""


T = TypeVar("T")
E = TypeVar("E", bound=Enum)


AsText = Annotated[
    bool | None,
    strawberry.argument(
        description="Return the value as one string, its JSON text, in which integers beyond 2^53 keep their digits in "
        "JavaScript."
    ),
]


def as_json(value: Any, as_text: bool | None) -> JSON:
    """Return a JSON value for an answer, or its text; null stays null."""
    return JSON(encode(value).decode() if as_text and value is not None else value)


def or_default(value: T | None, default: T) -> T:
    """Return the value of an optional argument, or the default when the caller left it out or gave null."""
    return default if value is None or value is strawberry.UNSET else value


def expose_enum(enum: type[E], values: Mapping[E, str], *, name: str | None = None, description: str) -> None:
    """Register an enum of a wing that must not import Strawberry, and describe each of its values.

    Raises:
        KeyError: a value has no description.
    """
    strawberry.enum(enum, name=name, description=description)
    definition: StrawberryEnumDefinition = vars(enum)["__strawberry_definition__"]
    for value in definition.values:
        value.description = values[enum[value.name]]


def _parse_datetime(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be an RFC 3339 time, got {value!r}") from None
    if time.tzinfo is None:
        raise ValueError(f"a time needs an offset, like {value}Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"must be from year 1 to year 9999 in UTC, got {value!r}") from None


def _unchanged(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value: an object, array, string, number, boolean or null. JSON values that a client "
        "sends are returned unchanged. Python values that JSON has no type for are strings: a date or a time in ISO "
        "8601, a Decimal and a UUID as text, bytes in Base64, a number that is not finite as NaN, Infinity or "
        "-Infinity.",
        serialize=_unchanged,
        parse_value=_unchanged,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description='A time in RFC 3339, like "2030-01-01T06:00:00+01:00". The offset is required in input; output is '
        "in UTC.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_time,
        parse_value=_parse_datetime,
    ),
}
