from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import KEYS

from gql_api.values.operations import MAX_OPERATIONS, MetadataError, MetadataOp, Operation, apply_operations

# Deeper than Python can recurse.
_DEEP: Any = []
for _ in range(5000):
    _DEEP = [_DEEP]
# Valid metadata.
_OBJECTS = st.dictionaries(KEYS, st.none() | st.integers(-9, 9) | st.lists(st.booleans()), max_size=4)
_SET, _UNSET, _INCREMENT, _APPEND = MetadataOp.SET, MetadataOp.UNSET, MetadataOp.INCREMENT, MetadataOp.APPEND


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, Operation(_SET, "a", None), {"a": None}),
        ({"a": {"b": 1}}, Operation(_SET, "a.b", [2]), {"a": {"b": [2]}}),
        ({}, Operation(_SET, "a.0.b", 1), {"a": {"0": {"b": 1}}}),
        ({"a": [{"b": 1}, 2]}, Operation(_SET, "a.0.b", 3), {"a": [{"b": 3}, 2]}),
        ({"a": [1]}, Operation(_SET, "a.0", 2), {"a": [2]}),
        ({"a": 1, "b": 2}, Operation(_UNSET, "a"), {"b": 2}),
        ({"a": 1}, Operation(_UNSET, "b.c"), {"a": 1}),
        ({"a": [1, 2, 3]}, Operation(_UNSET, "a.1"), {"a": [1, 3]}),
        ({"a": [1]}, Operation(_UNSET, "a.5"), {"a": [1]}),
        ({}, Operation(_INCREMENT, "n", 2), {"n": 2}),
        ({"n": 1}, Operation(_INCREMENT, "n", 0.5), {"n": 1.5}),
        ({}, Operation(_APPEND, "l", 1), {"l": [1]}),
        ({"l": [[1]]}, Operation(_APPEND, "l.0", 2), {"l": [[1, 2]]}),
    ],
    ids=str,
)
def test_an_operation_changes_its_value(before: dict[str, Any], operation: Operation, after: dict[str, Any]) -> None:
    """Each operation changes its value, in objects and arrays, and nothing else."""
    assert apply_operations(before, [operation], 1000) == after


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ({"a": 1}, Operation(_SET, "a.b", 1)),
        ({"a": "text"}, Operation(_SET, "a.0", 1)),
        ({"a": [1]}, Operation(_SET, "a.1", 1)),
        ({"a": [1]}, Operation(_SET, "a.x", 1)),
        ({"a": [1]}, Operation(_SET, "a.-1", 1)),
        ({"a": [1]}, Operation(_SET, "a.\u0661", 1)),
        ({"a": 1}, Operation(_UNSET, "a.b")),
        ({"a": "1"}, Operation(_INCREMENT, "a", 1)),
        ({"a": True}, Operation(_INCREMENT, "a", 1)),
        ({"a": 1}, Operation(_INCREMENT, "a", None)),
        ({"a": 2**63 - 1}, Operation(_INCREMENT, "a", 1)),
        ({"a": 1e308}, Operation(_INCREMENT, "a", 1e308)),
        ({"a": 2**1030}, Operation(_INCREMENT, "a", 0.5)),
        ({"a": {}}, Operation(_APPEND, "a", 1)),
        ({}, Operation(_SET, "a\\", 1)),
        ({}, Operation(_SET, "a", "x" * 1000)),
        ({}, Operation(_SET, "a", "\ud800")),
        ({"a": 1}, Operation(_INCREMENT, "a", 10**4299)),
    ],
)
def test_what_does_not_fit_is_refused(before: dict[str, Any], operation: Operation) -> None:
    """An operation that does not fit prevents the others too, and leaves the metadata as it was."""
    kept = repr(before)
    with pytest.raises(MetadataError) as refused:
        apply_operations(before, [Operation(_SET, "fits", 1), operation], 1000)
    assert refused.value.problems
    assert repr(before) == kept


def test_a_value_deeper_than_python_can_recurse_is_refused() -> None:
    """A value beyond Python's recursion limit is refused as nested too deep, like any other."""
    with pytest.raises(MetadataError, match="nested"):
        apply_operations({}, [Operation(_SET, "a", _DEEP)], 1000)


def test_operations_can_be_applied_again() -> None:
    """Operations can be applied again after a conflict: they keep nothing of the first time."""
    operations = [
        Operation(_SET, "box", {"n": 0}),
        Operation(_INCREMENT, "box.n", 1),
        Operation(_SET, "tags", []),
        Operation(_APPEND, "tags", "x"),
    ]
    results = [apply_operations({}, operations, 1000) for _ in range(3)]
    assert results == [{"box": {"n": 1}, "tags": ["x"]}] * 3


def test_too_many_operations_are_refused() -> None:
    """One call can have a limited number of operations."""
    with pytest.raises(MetadataError):
        apply_operations({}, [Operation(_SET, "a", 1)] * 101, 1000)


@given(_OBJECTS, _OBJECTS)
def test_setting_every_key_makes_the_other_object(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whatever keys two objects have, operations lead from the one to the other."""

    def path(key: str) -> str:
        return key.replace("\\", "\\\\").replace(".", "\\.")

    operations = [
        *(Operation(_UNSET, path(key)) for key in one),
        *(Operation(_SET, path(key), value) for key, value in other.items()),
    ]
    if len(operations) <= MAX_OPERATIONS:
        assert apply_operations(one, operations, 1_000_000) == other
