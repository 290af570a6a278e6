"""The values of task functions as plain JSON.

Celery's serializer, kombu's JSON, writes values that JSON has no type for as ``{"__type__": ..., "__value__": ...}``,
and numbers that JSON does not have as ``NaN`` and ``Infinity``. Records keep that form, from which Celery makes the
same values again. Clients get plain JSON, by the mapping of docs/values.md.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

TYPE = "__type__"
"""The key of the type in kombu's JSON form of a typed value."""
_VALUE = "__value__"
_TAG = {TYPE, _VALUE}


def tagged(kind: str, value: Any) -> dict[str, Any]:
    """Return a typed value in kombu's JSON form."""
    return {TYPE: kind, _VALUE: value}


def is_tagged(value: Any) -> bool:
    """Return whether a JSON value has the form of a typed value."""
    return isinstance(value, dict) and value.keys() == _TAG


def plain(value: Any) -> Any:
    """Return the plain JSON value of a value in kombu's JSON form.

    An object that only looks like a typed value, of a type that kombu does not have, stays as it is.
    """
    if isinstance(value, dict):
        if is_tagged(value):
            known = _KNOWN.get(value[TYPE]) if isinstance(value[TYPE], str) else None
            text = None if known is None else _read(known, value[_VALUE])
            if text is not None:
                return text
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _name(value)
    return value


def finite(value: Any) -> Any:
    """Return the JSON value with the numbers that JSON cannot write as texts; all else stays as it is."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return _name(value) if isinstance(value, float) and not math.isfinite(value) else value


def _name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _read(known: Callable[[Any], str], value: Any) -> str | None:
    try:
        return known(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _checked(parse: Callable[[str], object]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        parse(value)
        return str(value)

    return read


def _base64(text: str) -> str:
    return base64.b64encode(base64.b64decode(text.encode())).decode()


_KNOWN: dict[str, Callable[[Any], str]] = {
    "date": _checked(date.fromisoformat),
    "datetime": _checked(datetime.fromisoformat),
    "time": _checked(time.fromisoformat),
    "decimal": _checked(Decimal),
    "uuid": lambda value: str(uuid.UUID(value["hex"])),
    "bytes": lambda value: base64.b64encode(value.encode()).decode(),
    "base64": _base64,
}
