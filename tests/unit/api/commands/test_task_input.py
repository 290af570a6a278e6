from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from celery import Celery

from gql_api.access.principal import ANONYMOUS
from gql_api.api.commands.task_input import TaskInput
from gql_api.worker.registration.signatures import define

_TIME = "2026-01-31T06:30:00"


@pytest.mark.parametrize("stored", [1700000000, 1.5, "soon", "2026-01-31", [1], None])
def test_only_the_arguments_of_the_client_become_typed(stored: Any) -> None:
    """A replay hands the function what it was given, of any form, beside new arguments with their types."""

    def function(when: datetime) -> None: ...

    with Celery("inputs", set_as_current=False) as app:
        definition = define(app.task(function, shared=False, name="function"), app)
    repeated = TaskInput("function", args=[stored], kwargs={"when": _TIME}, as_stored=frozenset({"args"}))
    task = repeated.new_task("id", definition, None, ANONYMOUS)
    assert task.args == [stored]
    assert task.kwargs == {"when": {"__type__": "datetime", "__value__": _TIME}}
    task = TaskInput("function", kwargs={"when": stored}, as_stored=frozenset({"kwargs"})).new_task(
        "id", definition, None, ANONYMOUS
    )
    assert task.kwargs == {"when": stored}


@pytest.mark.parametrize(
    ("values", "is_small"),
    [
        ({}, True),
        ({"args": [1, [2, {"a": "x" * 1000}]], "kwargs": {"b": None}, "metadata": {"c": {"d": ["e"]}}}, True),
        ({"args": ["x" * 3000]}, False),
        ({"kwargs": {"a": ["x" * 1500]}, "metadata": {"b": "x" * 1500}}, False),
        ({"metadata": {"x" * 3000: 1}}, False),
        ({"args": [[]] * 3000}, False),
        ({"metadata": {"a": [[1] * 50] * 50}}, False),
        ({"args": "x" * 3000}, False),
    ],
)
def test_small_inputs_are_told_from_large_ones(values: dict[str, Any], is_small: bool) -> None:
    """Texts, keys and values count, wherever they are."""
    assert TaskInput("t", **values).is_small is is_small
