from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES, KEYS

from gql_api import values


@given(JSON_VALUES)
def test_any_json_value_survives_bson(value: Any) -> None:
    """A stored value comes back equal and with the same types, whatever its keys and numbers."""
    stored = bson.decode(bson.encode({"value": values.dump(value)}))["value"]
    assert json.dumps(values.load(stored)) == json.dumps(value)


@given(st.dictionaries(KEYS, st.integers(-5, 5), max_size=6))
def test_stored_keys_mean_nothing_to_mongodb(value: dict[str, int]) -> None:
    """A stored key is not empty and contains no dot or dollar, and no two keys become one."""
    stored = values.dump(value)
    assert len(stored) == len(value)
    assert not [key for key in stored if not key or "." in key or "$" in key]


def test_what_bson_cannot_hold_is_kept_as_text() -> None:
    """Large integers and deep nesting, which results can have, are stored whole as JSON text."""
    deep: Any = 1
    for _ in range(90):
        deep = [deep]
    for value in ({"n": 2**64}, deep, {"a\0b": 1}, "\ud800"):
        stored = values.dump(value)
        assert list(stored) == ["%json"]
        assert values.load(stored) == value


def test_integers_that_mongodb_gave_back_are_stored_again() -> None:
    """PyMongo reads large integers as a kind of its own, which a replay stores and checks again, in no time."""
    value = bson.decode(bson.encode({"n": [2**40, 2**63 - 1, -(2**63)]}))
    assert {type(number) for number in value["n"]} == {Int64}
    assert values.dump(value) == value
    assert values.check(value, (), 1000) == []


def _nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ({"a": [1, float("nan")]}, ("m", "a", 1), "finite"),
        ({"a": float("inf")}, ("m", "a"), "finite"),
        ({"a": {"b": 2**63}}, ("m", "a", "b"), "64 bits"),
        ({"a": -(2**63) - 1}, ("m", "a"), "64 bits"),
        ({"a": "\ud800"}, ("m", "a"), "surrogate"),
        ({"a": {"\udfff": 1}}, ("m", "a"), "surrogate"),
        ({"a\0": 1}, ("m",), "NUL"),
        (_nested(33), ("m",), "levels"),
        (_nested(5000), ("m",), "levels"),
        ({str(n): 0 for n in range(1001)}, ("m",), "got 1001"),
        ({"a": "ü" * 5000}, ("m",), "bytes"),
    ],
)
def test_what_could_not_come_back_is_refused(value: Any, path: tuple[str | int, ...], words: str) -> None:
    """Each value that MongoDB or JSON cannot carry unchanged is refused at its place, in words."""
    (problem,) = values.check(value, ("m",), max_bytes=9999)
    assert problem.path == path
    assert words in problem.message


def test_ordinary_values_are_accepted() -> None:
    """The limits leave room for 64-bit integers, odd keys and 32 levels."""
    assert values.check({"a.b": [2**63 - 1, -(2**63)], "$": "\0", "": None}, ("m",), 1000) == []
    assert values.check(_nested(32), ("m",), 1000) == []
