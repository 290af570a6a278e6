"""The leaf types of the schema: JSON values, times, enums of other wings; optional arguments, and inputs of leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, NewType, TypeVar

import strawberry
from graphql import GraphQLError, StringValueNode, ValueNode
from strawberry.schema.name_converter import NameConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.scalar import ScalarDefinition

from gql_api.api.execution.encoding import encode, write_time
from gql_api.api.execution.inputs.leaves import FromLeaves

_RFC_3339 = 'an RFC 3339 time, like "2030-01-01T06:00:00+01:00"'
# ``fromisoformat`` also reads weeks, times without separators or seconds, and offsets with seconds. RFC 3339 allows a
# small t and z, and a space.
_TIME = re.compile(r"[0-9]{4}(-[0-9]{2}){2}[T ][0-9]{2}(:[0-9]{2}){2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-5][0-9])")
# Characters of a value in an error message.
_MAX_SHOWN = 100

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


def of_leaves(input_type: type[T]) -> type[T]:
    """Decorate an input type that has only leaves for fields: Strawberry need not look at the type of each of them."""
    definition: StrawberryObjectDefinition = vars(input_type)["__strawberry_definition__"]
    definition.from_input = FromLeaves(
        {NameConverter().from_field(field): field.python_name for field in definition.fields}
    )
    return input_type


def _parse_datetime(value: Any) -> datetime:
    """Read a time.

    Raises:
        GraphQLError: the value is not a time. Any other exception would be an internal error in a literal.
    """
    if not isinstance(value, str):
        raise GraphQLError(f"DateTime must be a string with {_RFC_3339}")
    shown = ascii(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}...")
    text = value.upper()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise GraphQLError(f"DateTime must be {_RFC_3339}, got {shown}") from None
    if time.tzinfo is None:
        raise GraphQLError(f'DateTime needs an offset, like "{time.isoformat()}Z", got {shown}')
    if not _TIME.fullmatch(text):
        raise GraphQLError(f"DateTime must be {_RFC_3339}, got {shown}")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise GraphQLError(f"DateTime must be from year 1 to year 9999 in UTC, got {shown}") from None


def _parse_datetime_literal(node: ValueNode, _variables: dict[str, Any] | None = None) -> datetime:
    try:
        return _parse_datetime(node.value if isinstance(node, StringValueNode) else None)
    except GraphQLError as error:
        raise GraphQLError(error.message, node) from None


def _unchanged(value: Any) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value: an object, array, string, number, boolean or null. Python values that JSON has "
        "no type for are strings: a date or a time in ISO 8601, a Decimal and a UUID as text, bytes in Base64, a "
        "number that is not finite as NaN, Infinity or -Infinity. JSON values that a client sends are returned "
        'unchanged, except an argument for a parameter of such a type: 1.5 for a Decimal is returned as "1.5".',
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
        parse_literal=_parse_datetime_literal,
    ),
}
