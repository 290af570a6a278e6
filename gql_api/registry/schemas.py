"""The JSON Schemas that workers announce, as checks that do no harm: whatever a schema says, a check ends soon.

Patterns run in the engine of Pydantic, whose time grows with the text only. What cannot be checked so is not checked:
the function receives its arguments as without a schema.
"""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from pydantic import Field, TypeAdapter
from pydantic import ValidationError as InvalidTextError

from gql_api.registry import formats
from gql_api.registry.formats import UncheckableError
from gql_api.telemetry import counters

logger = logging.getLogger(__name__)

_MAX_PATTERN = 500
# The product of the counts of a pattern, such as {1,100}. Nested ones make even this engine slow.
_MAX_REPEATS = 1_000
_COUNT = re.compile(r"\{[0-9 ]*,?[ ]*([0-9]+)[ ]*,?\}")
_logged: set[str] = set()


def validator_of(schema: Any) -> Any:
    """Return the validator of an announced schema, with the formats of Pydantic. It fetches no schema."""
    parts = [schema]
    while parts:
        part = parts.pop()
        # Both make jsonschema use another validator.
        if isinstance(part, dict) and (isinstance(part.get("$schema"), str) or isinstance(part.get("$id"), str)):
            raise UncheckableError("it has $schema or $id")
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return _Validator(schema, format_checker=formats.CHECKER)


def skipped(name: str, error: BaseException) -> None:
    """Count that the arguments of a task are not checked, and log it once for each task."""
    counters.LIMITS_EXCEEDED.labels("schema").inc()
    shown = ascii(name)[:200]
    if shown not in _logged and len(_logged) < _MAX_REPEATS:
        _logged.add(shown)
        reason = str(error) if isinstance(error, UncheckableError) else type(error).__name__
        logger.warning("The schema of task %s cannot be used, its arguments are not checked: %s", shown, reason)


@functools.lru_cache(maxsize=1_000)
def _matcher(pattern: str) -> TypeAdapter[str] | None:
    """Return the compiled form of a pattern; None if it is too large, or not one of this engine."""
    if len(pattern) > _MAX_PATTERN or math.prod(map(_count, _COUNT.findall(pattern))) > _MAX_REPEATS:
        return None
    try:
        return TypeAdapter(Annotated[str, Field(pattern=pattern)])
    except Exception:  # noqa: BLE001 - an error of pydantic-core
        return None


def _count(digits: str) -> int:
    # Python refuses to convert very long ones.
    return max(1, int(digits)) if len(digits) < len(str(_MAX_REPEATS)) + 1 else _MAX_REPEATS + 1


def _matches(pattern: Any, text: str) -> bool:
    matcher = _matcher(pattern) if isinstance(pattern, str) else None
    if matcher is None:
        raise UncheckableError(f"pattern {ascii(pattern)[:100]}")
    try:
        matcher.validate_python(text)
    except InvalidTextError:
        return False
    return True


def _pattern(validator: Any, pattern: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, schema in patterns.items():
            for key, value in instance.items():
                if _matches(pattern, key):
                    yield from validator.descend(value, schema, path=key, schema_path=pattern)


def _additional_properties(validator: Any, additional: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties")
    if patterns and validator.is_type(instance, "object"):
        named = schema.get("properties", {})
        others = [key for key in instance if key not in named and not any(_matches(each, key) for each in patterns)]
        schema = {"properties": dict.fromkeys(key for key in instance if key not in others)}
    yield from Draft202012Validator.VALIDATORS["additionalProperties"](validator, additional, instance, schema)


def _reference(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not (isinstance(reference, str) and reference.startswith("#")):
        # jsonschema would fetch it.
        raise UncheckableError("it refers to another document")
    formats.follow_reference()
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, instance, schema)


def _unknown(*_: Any) -> Iterator[ValidationError]:
    raise UncheckableError("it has a keyword that Pydantic does not use")


_Validator: Any = extend(  # type: ignore[no-untyped-call] # jsonschema has no types here
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "$ref": _reference,
        # These search with Python's patterns, or refer without a count.
        "unevaluatedProperties": _unknown,
        "unevaluatedItems": _unknown,
        "$dynamicRef": _unknown,
    },
)
