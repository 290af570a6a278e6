from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.values import texts

_TEXTS = st.text() | st.text("aé😀\ud800", min_size=50, max_size=400)
_VALUES = st.recursive(
    st.none() | st.integers() | _TEXTS,
    lambda children: st.lists(children) | st.dictionaries(st.text(max_size=20), children),
)


@given(_TEXTS, st.integers(80, 200))
def test_a_text_is_cut_to_its_bytes(text: str, size: int) -> None:
    """A text that fits is kept, and any other fits with a note of its size, whatever its characters take."""
    stored = text.encode("utf-8", "backslashreplace")
    for cut in (texts.cut(text, size), texts.cut_middle(text, size)):
        if len(stored) <= size:
            assert cut == text
        else:
            assert len(cut.encode()) <= size
            assert f"[cut: {len(stored)} bytes, at most {size} kept]" in cut


def test_the_end_of_a_text_is_kept() -> None:
    """Only the middle of a traceback is left out."""
    cut = texts.cut_middle(f"start{'x' * 1000}end", 200)
    assert (cut[:5], cut[-3:]) == ("start", "end")


@given(_VALUES, st.integers(200, 2000))
def test_a_value_is_cut_to_about_its_size(value: Any, size: int) -> None:
    """A value that fits is kept; any other is JSON still, with less text in it."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    fitted = texts.fit(value, size)
    if len(text) <= size:
        assert fitted == value
    else:
        assert len(json.dumps(fitted, ensure_ascii=False).encode("utf-8", "backslashreplace")) < max(
            len(text), 3 * size
        )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([7, "x" * 1000], [7]),
        ({"a": 1, "rows": ["x" * 1000] * 2, "b": True}, {"a": 1, "b": True}),
        ([1, {"deep": {"deeper": "x" * 1000}}], [1]),
    ],
)
def test_small_parts_of_a_large_value_are_kept(value: Any, kept: Any) -> None:
    """The shape and the small parts stay, for programs that read them."""
    fitted = texts.fit(value, 400)
    assert type(fitted) is type(value)
    assert len(fitted) == len(value)
    small = {key: fitted[key] for key in kept} if isinstance(value, dict) else fitted[: len(kept)]
    assert small == kept
    assert len(json.dumps(fitted)) < 500


@pytest.mark.parametrize("value", [list(range(10_000)), {str(n): n for n in range(10_000)}, {"k" * 9000: 1}])
def test_many_small_parts_become_one_text(value: Any) -> None:
    """A value that has too many parts to keep, or too large keys, becomes its JSON text."""
    fitted = texts.fit(value, 1000)
    assert isinstance(fitted, str)
    assert len(fitted.encode()) <= 1000
