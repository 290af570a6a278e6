"""The arguments that ``redact`` hides, whatever their form, and the entries that are refused."""

from __future__ import annotations

import inspect
from datetime import date
from typing import Any, Literal

import pytest
from celery import Celery, Task

from gql_api.adopt import adopt
from gql_api.record.model import Arguments
from gql_api.registry.redaction import HIDDEN_VALUE, Redaction
from gql_api.worker.backend.messages import guessed_texts, shown_of
from gql_api.worker.registration.signatures import define

_H = HIDDEN_VALUE


def pay(user: str, card: Any, /, amount: int = 1, *rest: Any, key: str = "", **more: Any) -> None: ...  # noqa: D103


def fixed(user: str, *, card: Any = None) -> None: ...  # noqa: D103


_APPLIED: list[tuple[list[str], list[Any], dict[str, Any], list[Any], dict[str, Any]]] = [
    (["card"], ["a", "c"], {}, ["a", _H], {}),
    (["card"], ["a", None], {}, ["a", _H], {}),
    (["key"], ["a", "c"], {"key": "k", "other": 1}, ["a", "c"], {"key": _H, "other": 1}),
    (["token"], ["a"], {"token": {"a": 1}}, ["a"], {"token": _H}),
    (["*rest"], ["a", "c", 2, 3, 4], {}, ["a", "c", 2, _H, _H], {}),
    (["**more"], ["a"], {"key": "k", "x": 1, "y": 2}, ["a"], {"key": "k", "x": _H, "y": _H}),
    (["card.number"], ["a", {"number": 1, "kind": 2}], {}, ["a", {"number": _H, "kind": 2}], {}),
    (
        ["card.number"],
        ["a", [{"number": 1}, [{"number": 2}], 3]],
        {},
        ["a", [{"number": _H}, [{"number": _H}], _H]],
        {},
    ),
    (["card.number"], ["a", "4111"], {}, ["a", _H], {}),
    (["card.number"], ["a", {"__type__": "x", "__value__": {"number": 1}}], {}, ["a", _H], {}),
    (["card.number"], ["a", None], {}, ["a", None], {}),
    (
        [r"card.a\.b", "card.c.d"],
        ["a", {"a.b": 1, "c": {"d": 1, "e": 2}}],
        {},
        ["a", {"a.b": _H, "c": {"d": _H, "e": 2}}],
        {},
    ),
]

_REFUSED = [
    ("password", "must be a list of names"),
    ({"card": 1}, "must be a list of names"),
    (["password"], "'password' is not a parameter of the function"),
    ([""], "each entry must be the name of a parameter, got ''"),
    ([1], "each entry must be the name of a parameter, got 1"),
    (["card."], "'card.' is not a parameter"),
    ([r"card\x"], "a backslash must precede"),
    (["*rest"], "'*rest' is not a parameter"),
]


@pytest.mark.parametrize(("entries", "args", "kwargs", "shown_args", "shown_kwargs"), _APPLIED)
def test_hidden_values(
    entries: list[str], args: list[Any], kwargs: dict[str, Any], shown_args: list[Any], shown_kwargs: dict[str, Any]
) -> None:
    """Parameters are hidden by position and by name, and paths below them through arrays."""
    redaction = Redaction.of(entries, inspect.signature(pay))
    assert redaction is not None
    assert redaction.apply(args, kwargs) == Arguments(shown_args, shown_kwargs)


def test_arguments_that_may_be_shifted() -> None:
    """The result of the step before may still come first, so a value is hidden in either place."""
    redaction = Redaction.of(["card"], inspect.signature(pay))
    assert redaction is not None
    assert redaction.apply(["c"], {}, (0, 1)).args == [_H]


@pytest.mark.parametrize(("entries", "why"), _REFUSED, ids=str)
def test_wrong_entries_are_refused_when_a_task_is_registered(entries: Any, why: str) -> None:
    """The error names the task, the entry and the parameters."""
    app = adopt(Celery("shop", broker="redis://broker", set_as_current=False))
    with pytest.raises(ValueError, match="redact") as caught:
        app.task(fixed, name="fixed", redact=entries, lazy=False, shared=False)
    assert str(caught.value).startswith("task fixed: redact: ")
    assert why in str(caught.value)


def test_names_of_starred_parameters_need_their_stars() -> None:
    """Without them the entry would mean a keyword of that name."""
    with pytest.raises(ValueError, match=r"'more' is not a parameter .* it has .*\"\*rest\", \"\*\*more\""):
        Redaction.of(["more"], inspect.signature(pay))


def test_a_method_called_redact_is_the_applications_own() -> None:
    """A task class that has such a method is not asked for entries."""

    class Own(Task):  # type: ignore[misc] # Celery has no types
        def redact(self) -> str:
            return "own"

    app = adopt(Celery("shop", broker="redis://broker", set_as_current=False))
    assert define(app.task(fixed, name="fixed", base=Own, lazy=False, shared=False), app).redact == ()


def test_the_problems_of_a_call_quote_no_hidden_value() -> None:
    """The messages name the rule, for the value and for what contains it."""
    app = adopt(Celery("shop", broker="redis://broker", set_as_current=False))

    def send(when: date, mode: Literal["a"], card: dict[str, int]) -> None: ...

    task = app.task(send, name="send", redact=["when", "mode", "card.number"], lazy=False, shared=False)
    problems = define(task, app).check(["CANARY"], {"mode": "CANARY", "card": {"number": "CANARY"}})
    assert [(problem.path, problem.message) for problem in problems] == [
        (("args", 0), 'expected a date, like "2026-01-31"'),
        (("kwargs", "mode"), "does not satisfy 'const'"),
        (("kwargs", "card", "number"), "expected integer"),
    ]


@pytest.mark.parametrize(
    ("texts", "args", "kwargs"),
    [
        ({"args": "(<redacted>)"}, ["(<redacted>)"], {"k": 2}),
        ({"args": "('*', 1)"}, ["*", 1], {"k": 2}),
        ({"args": "[{1, 2}]"}, ["[{1, 2}]"], {"k": 2}),
        ({"kwargs": "{'k': '*'}"}, [1], {"k": "*"}),
        ({"kwargs": "('no', 'object')"}, [1], {"kwargsrepr": "('no', 'object')"}),
        ({"args": "(" * 5000, "kwargs": "..."}, ["(" * 5000], {"kwargsrepr": "..."}),
    ],
)
def test_texts_of_the_sender(texts: dict[str, str], args: list[Any], kwargs: dict[str, Any]) -> None:
    """A text that is a Python value is shown as that, and any other as it is."""
    assert shown_of(Arguments([1], {"k": 2}), texts, None) == Arguments(args, kwargs)


@pytest.mark.parametrize(
    ("headers", "guessed"),
    [
        ({"argsrepr": "(1, (2, 'x'))", "kwargsrepr": "{'k': (3,)}"}, {}),
        ({"argsrepr": "(1, '*')", "kwargsrepr": "{'k': [3]}"}, {"args": "(1, '*')"}),
        ({"argsrepr": "...", "kwargsrepr": "...", "gql_api_attempts": 1}, {}),
        ({"argsrepr": None}, {}),
    ],
)
def test_texts_of_stock_senders(headers: dict[str, Any], guessed: dict[str, str]) -> None:
    """A text that is not the one that Celery makes of the arguments hides them."""
    assert guessed_texts(headers, [1, [2, "x"]], {"k": [3]}) == guessed
