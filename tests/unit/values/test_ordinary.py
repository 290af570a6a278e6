from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strategies import JSON_VALUES, OBJECTS

from gql_api import values
from gql_api.dispatch import can_carry

_TYPED = st.sampled_from(
    [{"__type__": "uuid", "__value__": {"hex": "x"}}, {"a": [{"__type__": "t", "__value__": 1}]}, ["__type__"]]
)
_ODD = st.sampled_from(
    [float("nan"), float("inf"), 2**63, -(2**63) - 1, "\ud800", {"\0": 1}, {"\ud800": 1}, (), {1: 2}]
)


@hypothesis_settings(max_examples=500, deadline=None)
@given(
    JSON_VALUES | OBJECTS | st.lists(JSON_VALUES | _TYPED | _ODD, max_size=3) | _TYPED | _ODD,
    st.sampled_from([0, 10, 100, 1_000, 64_000]),
    st.integers(0, 6),
    st.sampled_from([0, 1, 3, 100]),
)
def test_an_ordinary_value_has_no_problem(value: Any, max_bytes: int, max_depth: int, max_keys: int) -> None:
    """Neither the check of values nor Celery's serializer would find anything."""
    if values.is_ordinary(value, max_bytes, max_depth=max_depth, max_keys=max_keys):
        assert values.check(value, ("x",), max_bytes, max_depth=max_depth, max_keys=max_keys) == []
        assert can_carry(value)
        assert values.load(values.dump(value)) == value == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"customer": "c-17", "ö": 1},
        {"a": {"b": [1, 2.5, None, True, "é", "\U00010000"]}},
        [2**63 - 1, -(2**63)],
    ],
)
def test_what_clients_send_is_ordinary(value: Any) -> None:
    """But keys that are not ASCII, which a property of strings does not tell to be text."""
    is_ascii = all(map(str.isascii, value)) if isinstance(value, dict) else True
    assert values.is_ordinary(value, 64 * 1024, max_depth=32, max_keys=1000) == is_ascii


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ({"a": "x" * 2000}, {"max_bytes": 2000}),
        ([[[1]]], {"max_depth": 2}),
        ({"a": 1, "b": {"c": 1}}, {"max_keys": 2}),
        ({"__type__": "uuid", "__value__": 1}, {}),
        ([float("nan")], {}),
        (["\ud800"], {}),
        ({"a\0": 1}, {}),
        ([2**63], {}),
        ("text", {}),
        (None, {}),
    ],
)
def test_others_are_checked(value: Any, limits: dict[str, int]) -> None:
    """A value beyond a limit, or with anything that JSON, BSON or Celery treats specially, is not ordinary."""
    given_ = {"max_bytes": 64_000, "max_depth": 32, "max_keys": 1000, **limits}
    assert not values.is_ordinary(value, **given_)
