"""Texts that stand for typed values: the formats that createTask checks, and the values that functions receive.

A worker marks the parameters of its functions, by a keyword of our own in their JSON Schema, where Celery's serializer
carries the type of the annotation. The API then sends the typed value, as ``delay`` would. Pydantic models are not
marked: they convert texts themselves.
"""

from __future__ import annotations

import base64
import ipaddress
import math
import re
import threading
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from time import thread_time as time_of_thread
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from gql_api.values.plain import is_tagged, tagged

PYTHON_TYPE = "x-python-type"
"""The keyword of a schema with the name of the type that the function receives."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d")
_DEFINITIONS = "#/$defs/"

# By the name of a format or of a Python type.
_DESCRIPTIONS = {
    "date": 'a date, like "2026-01-31"',
    "date-time": 'a date and time in ISO 8601, like "2026-01-31T06:30:00Z"',
    "time": 'a time of day, like "06:30:00"',
    "duration": 'a duration in ISO 8601, like "PT30S"',
    "decimal": 'a number, or a string like "1.50"',
    "uuid": "a UUID",
    "base64": "a string in Base64",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
}


# A schema may refer to itself twice, and so on.
_MAX_SECONDS = 1.0
_budget = threading.local()


class UncheckableError(Exception):
    """Raised for a schema, or a part of one, that cannot be checked; the message says why."""


def begin() -> None:
    """Begin to check one call in this thread."""
    _budget.end = time_of_thread() + _MAX_SECONDS


def follow_reference() -> None:
    """Note that a check follows a reference.

    Raises:
        UncheckableError: the check has taken too long, by the time of its own thread.
    """
    if time_of_thread() > getattr(_budget, "end", math.inf):
        raise UncheckableError(f"its references take more than {_MAX_SECONDS:g} s")


def _parser(kind: type, pattern: re.Pattern[str] | None = None) -> Callable[[str], Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def parse(text: str) -> Any:
        # Pydantic would take a number of seconds for a time.
        if pattern is not None and not pattern.match(text):
            raise ValueError("not in ISO 8601")
        return adapter.validate_python(text)

    return parse


_parse_date, _parse_datetime, _parse_time = _parser(date, _DATE), _parser(datetime, _DATE), _parser(time, _TIME)


def _parse_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_FORMATS: dict[str, Callable[[str], Any]] = {
    "date": _parse_date,
    "date-time": _parse_datetime,
    "time": _parse_time,
    "duration": _parser(timedelta),
    "decimal": _parser(Decimal),
    "base64": _parse_base64,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    **dict.fromkeys(["uuid", *(f"uuid{version}" for version in range(1, 9))], uuid.UUID),
}


def _checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, parse in _FORMATS.items():
        checker.checks(name, raises=ValueError)(_checks(parse))
    return checker


def _checks(parse: Callable[[str], Any]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        # A format holds for texts only, and whether the value must be one is said beside it.
        if isinstance(value, str):
            parse(value)
        return True

    return check


CHECKER = _checker()
"""The formats that stand for types, as Pydantic reads them."""


def describe(schema: Any) -> str | None:
    """Return words for the texts that a schema takes, if its format or its Python type is known."""
    if not isinstance(schema, dict):
        return None
    name = str(schema.get("format") or schema.get(PYTHON_TYPE))
    return _DESCRIPTIONS.get("uuid" if name.startswith("uuid") else name)


def typed(value: Any, schema: Any, validator: Draft202012Validator) -> Any:
    """Return a valid JSON value with the typed values of its schema in kombu's JSON form.

    Where a union also has a type for the JSON value itself, that is kept.
    """
    if not isinstance(schema, dict) or is_tagged(value):
        return value
    if (kind := schema.get(PYTHON_TYPE)) in _TYPES:
        return _typed(_TYPES[kind], value)
    if "$ref" in schema:
        definitions: Any = validator.schema
        follow_reference()
        name = str(schema["$ref"]).removeprefix(_DEFINITIONS)
        return typed(value, definitions.get("$defs", {}).get(name), validator)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        possible = [
            typed(value, option, validator) for option in options if validator.evolve(schema=option).is_valid(value)
        ]
        return value if value in possible else next(iter(possible), value)
    return _typed_items(value, schema, validator)


def _typed_items(value: Any, schema: dict[str, Any], validator: Draft202012Validator) -> Any:
    if isinstance(value, dict):
        named, other = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: typed(item, named.get(key, other), validator) for key, item in value.items()}
    if isinstance(value, list):
        first, other = schema.get("prefixItems", []), schema.get("items")
        return [
            typed(item, first[index] if index < len(first) else other, validator) for index, item in enumerate(value)
        ]
    return value


def _typed(convert: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return convert(value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        # A validator of another version has passed it: the function receives it as it was sent.
        return value


def _iso(kind: type[date | datetime | time], name: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        parsed = parse(text)
        try:
            kind.fromisoformat(text)
        except ValueError:
            return tagged(name, parsed.isoformat())
        return tagged(name, text)

    return convert


def _bytes(text: str) -> Any:
    _parse_base64(text)
    return tagged("base64", text)


_TYPES: dict[Any, Callable[[Any], Any]] = {
    "date": _iso(date, "date", _parse_date),
    "datetime": _iso(datetime, "datetime", _parse_datetime),
    "time": _iso(time, "time", _parse_time),
    "decimal": lambda value: tagged("decimal", str(Decimal(str(value)))),
    "uuid": lambda text: tagged("uuid", {"hex": uuid.UUID(text).hex}),
    "bytes": _bytes,
}
