from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from gql_api.values import plain

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children) | st.dictionaries(st.text() | st.sampled_from(["__type__", "__value__"]), children)
    ),
)
# Hypothesis also tries the constants of the code.
_TEXT = st.text().filter(lambda text: "__type__" not in text)
_TYPED = st.dates() | st.datetimes() | st.times() | st.decimals() | st.uuids() | st.binary() | st.integers() | _TEXT


@given(st.recursive(_TYPED, lambda children: st.lists(children) | st.dictionaries(_TEXT, children)))
def test_what_celery_writes_is_plain_json(value: Any) -> None:
    """Each value that Celery's serializer carries has a plain form, without a trace of Celery's own."""
    shown = plain(json.loads(kombu_json.dumps(value)))  # type: ignore[no-untyped-call] # kombu has no types
    assert "__type__" not in json.dumps(shown)


@given(_JSON)
def test_any_value_is_json(value: Any) -> None:
    """No value of a caller's, whatever it looks like, is an error or makes an invalid answer."""
    shown = json.dumps(plain(value), allow_nan=False)
    assert plain(json.loads(shown)) == json.loads(shown)


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "point", "__value__": [1, 2]},
        {"__type__": ["date"], "__value__": "2026-01-31"},
        {"__type__": "date", "__value__": 5},
        {"__type__": "date", "__value__": "2026-13-01"},
        {"__type__": "uuid", "__value__": {"int": 5}},
        {"__type__": "uuid", "__value__": {"hex": "5"}},
        {"__type__": "decimal", "__value__": "one"},
        {"__type__": "base64", "__value__": "a"},
        {"__type__": "date"},
        {"__value__": "2026-01-31"},
    ],
)
def test_an_object_that_only_looks_typed_is_kept(value: Any) -> None:
    """Data of the caller's own comes through as it is."""
    assert plain(value) == value
