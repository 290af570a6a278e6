"""Predicates of simple schemas for calls that they accept for certain, in a fraction of the time of a validator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Accepts: TypeAlias = Callable[[Any], bool]

# Keywords that refuse no value.
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated"})
_CALL_KEYWORDS = _ANNOTATIONS | {"type", "properties", "required", "additionalProperties"}
_TYPES: Mapping[Any, frozenset[type]] = {
    "array": frozenset({list}),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),
    "null": frozenset({type(None)}),
    "number": frozenset({int, float}),
    "object": frozenset({dict}),
    "string": frozenset({str}),
}


def predicate_of(schema: Any) -> Accepts | None:
    """Return the predicate for calls, objects of named arguments; None for a schema that is not simple.

    A call that it does not accept may be valid.
    """
    if not isinstance(schema, dict) or not schema.keys() <= _CALL_KEYWORDS or schema.get("type") != "object":
        return None
    properties, required = schema.get("properties", {}), schema.get("required", [])
    others = schema.get("additionalProperties", True)
    if not isinstance(properties, dict) or type(others) is not bool:
        return None
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return None
    kinds = {name: _kinds(each) for name, each in properties.items()}
    needed = frozenset(required)
    unnamed = frozenset[type]().union(*_TYPES.values()) if others else frozenset[type]()

    def accepts(call: Any) -> bool:
        return needed <= call.keys() and all(type(value) in kinds.get(name, unnamed) for name, value in call.items())

    return accepts


def _kinds(schema: Any) -> frozenset[type]:
    """Return the types of which a schema accepts every value."""
    if not isinstance(schema, dict):
        return frozenset()
    keywords = schema.keys() - _ANNOTATIONS
    if keywords == {"anyOf"} and isinstance(schema["anyOf"], list):
        return frozenset[type]().union(*map(_kinds, schema["anyOf"]))
    if keywords == {"type"} and isinstance(schema["type"], str):
        return _TYPES.get(schema["type"], frozenset())
    return frozenset()
