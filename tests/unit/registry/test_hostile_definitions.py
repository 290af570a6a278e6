"""Definitions that no worker announces by itself: their checks end soon, and raise nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition


def _definition(schema: Any, **definitions: Any) -> TaskDefinition:
    return TaskDefinition("job", {"type": "object", "properties": {"x": schema}, "$defs": definitions}, "", ("x",))


def _twice(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"$ref": f"#/$defs/{name}"}, {"type": "null"}]}


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("pattern", "text", "is_valid"),
    [
        ("^(a+)+$", "a" * 100_000 + "b", False),
        ("^(a+)+$", "aaa", True),
        (r"^\p{L}+$", "é", True),
        (r"^\p{L}+$", "1", False),
        ("[ab]*a[ab]{500}x", "ab" * 50_000, False),
    ],
)
def test_a_pattern_takes_a_moment(pattern: str, text: str, *, is_valid: bool) -> None:
    """It is checked as Pydantic checks it in the worker, for keys as well."""
    began = time.monotonic()
    assert (not _definition({"type": "string", "pattern": pattern}).check([text], {})) == is_valid
    keys = {"type": "object", "patternProperties": {pattern: {}}, "additionalProperties": False}
    assert (not _definition(keys).check([{text: 1}], {})) == is_valid
    assert time.monotonic() - began < 5


_A = {"$ref": "#/$defs/A"}
_HOSTILE: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "lookahead": ({"pattern": "(?=a)b"}, {}, "x"),
    "nested counts": ({"pattern": "((a{1,100}){1,100}){1,10}b"}, {}, "a" * 10_000),
    "huge count": ({"pattern": f"a{{{'9' * 400}}}"}, {}, "a"),
    "long pattern": ({"pattern": "a" * 100_000}, {}, "a"),
    "no pattern": ({"pattern": 1}, {}, "a"),
    "loop": (_A, {"A": _A}, 1),
    "two loops": (_A, {"A": {"anyOf": [_A, _A]}}, 1),
    "exponential": (
        {"$ref": "#/$defs/n0"},
        {f"n{level}": _twice(f"n{level + 1}") for level in range(60)} | {"n60": {"type": "string"}},
        1,
    ),
    "remote": ({"$ref": "http://127.0.0.1:1/schema.json"}, {}, 1),
    "file": ({"$ref": "file:///etc/passwd"}, {}, 1),
    "nowhere": ({"$ref": "#/$defs/none"}, {}, 1),
    "dynamic": ({"$dynamicRef": "#a"}, {}, 1),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}, {}, "a" * 40 + "b"),
    "unevaluated": ({"unevaluatedProperties": False, "patternProperties": {"^(a+)+$": 1}}, {}, {"a" * 40 + "b": 1}),
    "wrong types": ({"type": 1, "required": 2, "properties": 3, "anyOf": 4}, {}, {"a": 1}),
    "no schema": (5, {}, 1),
}


@pytest.mark.parametrize("kind", list(_HOSTILE))
def test_what_cannot_be_checked_is_not(kind: str) -> None:
    """The check ends soon, and the arguments are sent as they are; no schema is fetched."""
    schema, definitions, value = _HOSTILE[kind]
    definition, began = _definition(schema, **definitions), time.process_time()
    assert definition.check([value], {}) == []
    assert definition.typed([value], {}) == ([value], {})
    assert time.process_time() - began < 20


def test_a_deep_schema_and_a_huge_enumeration_are_checked() -> None:
    """They cost no more than their size."""
    assert _definition(_deep(5_000)).check([[1]], {}) == []
    assert _definition({"enum": list(range(100_000))}).check([-1], {})


_GOOD: dict[str, Any] = {
    "_id": "good", "description": None, "input_schema": {}, "positional": [], "extra_args": False, "queue": "celery",
    "max_retries": 3, "time_limit": None, "soft_time_limit": None, "workers": [],
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"_id": 1}, {"_id": "a\nb"}, {"_id": "x" * 2_000}, {"_id": "\x1b[2J"}, {"description": 1}, {"input_schema": []},
        {"input_schema": 1}, {"positional": [1]}, {"positional": None}, {"extra_args": "x"}, {"queue": None},
        {"max_retries": "x"}, {"time_limit": []}, {"transport": [1]}, {"transport": 5}, {"positional_only": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_definition_is_left_out(changes: dict[str, Any]) -> None:
    """The others stay."""
    found = workers.definitions_from([{**_GOOD, **changes}, _GOOD, {"_id": "empty"}])
    assert [definition.name for definition in found] == ["good"]
