from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.values import InvalidValueError, paths


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a", ["a"]),
        ("a.b.0", ["a", "b", "0"]),
        (r"a\.b.c", ["a.b", "c"]),
        (r"a\\.b", ["a\\", "b"]),
        ("", [""]),
        ("a.", ["a", ""]),
        ("..", ["", "", ""]),
        ("$ä.%", ["$ä", "%"]),
    ],
)
def test_a_path_is_split_at_its_dots(path: str, keys: list[str]) -> None:
    """A backslash keeps a dot within a key; every other character is itself, and a key may be empty."""
    assert paths.parse(path) == keys


@pytest.mark.parametrize("path", ["\\", "a\\", "a.\\b", r"\n", ".".join("x" * 65)])
def test_what_is_no_path_is_refused(path: str) -> None:
    """A backslash before another character is refused, and so is a path deeper than any object."""
    with pytest.raises(InvalidValueError):
        paths.parse(path)


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_every_key_can_be_written(keys: list[str]) -> None:
    """Any keys can be written as a path."""
    path = ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)
    assert paths.parse(path) == keys
