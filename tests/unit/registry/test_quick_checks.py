from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strategies import JSON_VALUES

from gql_api.registry import schemas
from gql_api.registry.definitions import TaskDefinition
from gql_api.registry.quick_checks import predicate_of

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_TYPE_NAMES = st.sampled_from(
    ["array", "boolean", "integer", "null", "number", "object", "string", "unknown", ["null"]]
)
_SIMPLE = st.fixed_dictionaries({"type": _TYPE_NAMES}, optional={"default": JSON_VALUES, "title": st.just("T")})
_OTHERS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *({}, True, False, 5, None, {"enum": [1]}, {"type": "string", "minLength": 2}, {"const": None}),
        *({"type": "integer", "maximum": 3}, {"anyOf": []}, {"anyOf": 5}, {"not": {}}, {"$ref": "#/x"}),
    ]
)
_PROPERTIES = _SIMPLE | st.builds(lambda options: {"anyOf": options}, st.lists(_SIMPLE | _OTHERS, max_size=3)) | _OTHERS
_SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(_NAMES, _PROPERTIES, max_size=3) | st.just(5),
        "required": st.lists(_NAMES, max_size=2) | st.just("a"),
        "additionalProperties": st.booleans() | st.just({"type": "string"}),
        "patternProperties": st.just({"^a": False}),
    },
)
_VALUES = st.sampled_from([None, True, 0, 1.0, 0.5, "", "text", [], [1], {}, {"x": 1}]) | JSON_VALUES


@hypothesis_settings(max_examples=600, deadline=None)
@given(_SCHEMAS, st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_an_accepted_call_is_valid(schema: Any, call: dict[str, Any]) -> None:
    """Whatever a schema is, the validator has no error for a call that the predicate accepts."""
    accepts = predicate_of(schema)
    if accepts is not None and accepts(call):
        assert [*schemas.validator_of(schema).iter_errors(call)] == []


@pytest.mark.parametrize("schema", [5, None, [], {}, {"type": "object", "$id": "x"}, {"properties": {}}])
def test_other_schemas_have_no_predicate(schema: Any) -> None:
    """Anything may be announced as a schema."""
    assert predicate_of(schema) is None


def test_ordinary_calls_need_no_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator explains what is wrong with the others."""
    text = {"type": "string"}
    properties = {"a": {"type": "integer"}, "b": {"anyOf": [text, {"type": "null"}], "default": None}, "c": text}
    schema = {"type": "object", "properties": properties, "required": ["a"], "additionalProperties": False}
    definition = TaskDefinition("t", schema, positional=("a", "b", "c"))
    assert [problem.path for problem in definition.check(["x"], {})] == [("args", 0)]
    assert [problem.path for problem in definition.check([], {"b": 1, "d": 1})] == [
        ("kwargs", "b"),
        ("kwargs", "a"),
        ("kwargs", "d"),
    ]
    validator = type(definition._validator)  # noqa: SLF001 - the class is made at import
    monkeypatch.setattr(validator, "iter_errors", lambda *_: pytest.fail("a validator"))
    assert definition.check([1, None], {"c": "x"}) == []
    assert definition.check([], {"a": 1, "b": "x"}) == []
