"""The coercion of variables against graphql-core's own: the same values, and the same that it alone decides on."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLInputType, OperationDefinitionNode, build_schema, get_variable_values, parse
from graphql.execution.values import VariableValues
from graphql.pyutils import Undefined
from graphql.utilities import coerce_input_value
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from root_fields import CORE
from strategies import JSON_VALUES

from gql_api.api.execution.inputs import variables as module
from gql_api.api.execution.inputs.coercion import MISSING, coercion_of
from gql_api.api.execution.inputs.variables import OperationVariables

_SCHEMA = build_schema("""
    scalar Any
    enum Color { RED GREEN }
    input Inner { text: String! = "none", colors: [Color!], number: Float }
    input Outer { id: ID!, flag: Boolean, count: Int = 3, inner: Inner, more: [[Inner]], any: Any }
    input Choice @oneOf { a: Int, b: Int }
    input Self { self: Self, number: Int }
    type Query { x(a: Outer, b: Choice, c: Self): Int }
""")
_TYPES: dict[str, GraphQLInputType] = {
    name: _SCHEMA.type_map[name]  # type: ignore[misc] # each of them is an input
    for name in ("Any", "Color", "Inner", "Outer", "Boolean", "Float", "ID", "Int", "String")
}
_LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -(2**31), 2**31, 1.0, 0.5, float("nan"), "", "1", "RED", "BLUE", [], {}]
)
_NAMES = st.sampled_from(["id", "flag", "count", "inner", "more", "any", "text", "colors", "number", "other"])
_VALUES = st.recursive(
    _LEAVES | st.sampled_from([["RED", "GREEN"], ["RED", None], {"id": "x"}, {"text": "y", "colors": ["RED"]}]),
    lambda inner: st.dictionaries(_NAMES, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)
_OUTERS = st.fixed_dictionaries(
    {"id": st.text(max_size=2)},
    optional={
        "flag": st.booleans() | st.none(),
        "count": st.integers(-5, 5) | st.none(),
        "inner": st.none() | st.fixed_dictionaries({}, optional={"text": st.text(max_size=2), "number": st.floats()}),
        "more": st.just([[{"text": "a"}], [None], None]) | st.just([{"text": "a"}]),
        "any": JSON_VALUES,
    },
)


def _same(value: Any) -> Any:
    """Return a text in which values of different types differ, and the order of keys does not matter."""
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items()}
    return [_same(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@hypothesis_settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(_TYPES)), _VALUES | _OUTERS | JSON_VALUES)
def test_a_value_is_coerced_as_by_graphql_core(name: str, value: Any) -> None:
    """A value that the function takes is that of graphql-core, and none that graphql-core refuses is taken."""
    coerce = coercion_of(_TYPES[name])
    assert coerce is not None
    coerced = coerce(value)
    if coerced is not MISSING:
        assert _same(coerced) == _same(coerce_input_value(value, _TYPES[name]))


@hypothesis_settings(max_examples=200, deadline=None)
@given(_OUTERS)
def test_ordinary_objects_are_not_left_to_graphql_core(value: Any) -> None:
    """Whatever graphql-core takes without a change of type, the function takes."""
    coerce = coercion_of(_TYPES["Outer"])
    assert coerce is not None
    expected = coerce_input_value(value, _TYPES["Outer"])
    is_listed = isinstance(value.get("more"), list) and isinstance(value["more"][0], dict)
    assert (coerce(value) is MISSING) == (expected is Undefined or is_listed)


@pytest.mark.parametrize("name", ["Choice", "Self"])
def test_types_with_rules_of_their_own_are_left_to_graphql_core(name: str) -> None:
    """A type that contains itself could be nested without end, and of one type exactly one field is given."""
    assert coercion_of(_SCHEMA.type_map[name]) is None  # type: ignore[arg-type] # it is an input


@pytest.mark.parametrize(
    "raw", [{}, {"input": None}, {"input": {}}, {"input": {"name": "t"}}, {"input": {"name": "t", "kwargs": {"a": 1}}}]
)
@pytest.mark.parametrize("type_", ["CreateTaskInput!", "CreateTaskInput", '[CreateTaskInput!] = [{name: "d"}]'])
def test_variables_are_those_of_graphql_core(type_: str, raw: dict[str, Any]) -> None:
    """Missing variables, defaults and nulls too."""
    (operation,) = parse(f"query ($input: {type_}) {{ tasks {{ totalCount }} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    expected = get_variable_values(CORE, operation.variable_definitions or (), raw)
    coerced = OperationVariables(CORE, operation).coerced(raw)
    assert coerced == (expected.coerced if isinstance(expected, VariableValues) else None)


def test_the_input_of_a_task_needs_no_graphql_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every createTask coerces one."""
    monkeypatch.setattr(module, "get_variable_values", lambda *_, **__: pytest.fail("graphql-core coerces"))
    (operation,) = parse("mutation ($input: CreateTaskInput!) { createTask(input: $input) { created } }").definitions
    assert isinstance(operation, OperationDefinitionNode)
    raw = {"input": {"name": "add", "args": [1], "metadata": {"a": {"b": None}}, "priority": 3}}
    assert OperationVariables(CORE, operation).coerced(raw) == raw
