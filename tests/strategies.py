"""JSON values as Hypothesis makes them, with a liking for what databases and drivers stumble over."""

from __future__ import annotations

from hypothesis import strategies as st

_ANY_TEXT = st.text(st.characters(exclude_categories=[]))
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    ["", "$ref", "$id", "a.b", "%2E", "%", "%json", "_id", "$where", "..", "%25"]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ANY_TEXT
JSON_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(KEYS, JSON_VALUES, max_size=4)
