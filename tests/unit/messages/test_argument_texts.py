from __future__ import annotations

from typing import Any

import pytest
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES, OBJECTS

from gql_api.messages.argument_texts import MAX_LENGTH, text_of


@given(st.lists(JSON_VALUES, max_size=4) | OBJECTS | st.lists(JSON_VALUES, max_size=3).map(tuple))
def test_a_text_is_the_one_of_celery(value: Any) -> None:
    """Whatever the values are, the text is that of Celery's ``saferepr``."""
    assert text_of(value) == saferepr(value, MAX_LENGTH)


@pytest.mark.parametrize("length", range(MAX_LENGTH - 8, MAX_LENGTH + 4))
def test_a_text_is_cut_as_celery_cuts_it(length: int) -> None:
    """A text of about the longest length ends where Celery's own does."""
    for value in (["x" * length], {"k": "x y" * (length // 3)}, (1, "x" * length, [2])):
        assert text_of(value) == saferepr(value, MAX_LENGTH)


@pytest.mark.parametrize("value", [[[[[]]]], [[[[1]]]], {"a": {"b": {"c": {}}}}, ({"a": [()]},), [{1, 2}], [b"x"]])
def test_unusual_values_have_the_text_of_celery(value: Any) -> None:
    """Values of too many levels, and those that JSON does not have, are left to Celery."""
    assert text_of(value) == saferepr(value, MAX_LENGTH)
