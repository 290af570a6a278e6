from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from gql_api.registry.definitions import TaskDefinition
from gql_api.values import plain
from gql_api.worker.registration.signatures import define

_OLD = {
    "type": "object",
    "properties": {"when": {"type": "string", "format": "date"}, "price": {"anyOf": [{"type": "number"}]}},
    "additionalProperties": False,
}


def _takes(annotation: Any) -> TaskDefinition:
    def function(value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    with Celery("formats", set_as_current=False) as app:
        return define(app.task(function, shared=False, name="function"), app)


def _received(definition: TaskDefinition, value: Any) -> Any:
    """What the function gets of a value that a client sends."""
    assert definition.check([value], {}) == []
    args, _ = definition.typed([value], {})
    return kombu_json.loads(json.dumps(args))[0]  # type: ignore[no-untyped-call] # kombu has no types


_TAKING = {kind: _takes(kind) for kind in (date, datetime, time, Decimal, UUID, bytes)}
_ANY = (
    st.dates()
    | st.datetimes()
    | st.times()
    | st.uuids()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False)
)


@given(_ANY)
def test_what_clients_see_is_what_they_may_send(value: Any) -> None:
    """The text that the API shows for a typed value makes the same value again."""
    shown = plain(json.loads(kombu_json.dumps(value)))  # type: ignore[no-untyped-call] # kombu has no types
    received = _received(_TAKING[type(value)], shown)
    assert (received, type(received)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "sent", "received"),
    [
        (list[date | None], ["2026-01-31", None], [date(2026, 1, 31), None]),
        (dict[str, list[Decimal]], {"a": ["1", 2]}, {"a": [Decimal(1), Decimal(2)]}),
        (tuple[date, ...], ["2026-01-31"], [date(2026, 1, 31)]),
        (date | int, 5, 5),
        (UUID | str, "5", "5"),
        (Decimal | None, None, None),
        (datetime, "2026-01-31 06:30", datetime(2026, 1, 31, 6, 30)),  # noqa: DTZ001 - what is tested
        (Any, {"__type__": "date", "__value__": "2026-01-31"}, date(2026, 1, 31)),
    ],
)
def test_typed_values_stand_at_any_depth(annotation: Any, sent: Any, received: Any) -> None:
    """Containers and unions are followed; where a union has the JSON value itself, that is kept."""
    assert _received(_takes(annotation), sent) == received


def test_the_announcement_of_an_earlier_version_leaves_texts_alone() -> None:
    """Its workers mark no types, and receive what was sent, in a format that is checked."""
    definition = TaskDefinition("old", _OLD, positional=("when",))
    assert definition.typed(["2026-01-31"], {"price": 1}) == (["2026-01-31"], {"price": 1})
    assert [problem.path for problem in definition.check(["soon"], {})] == [("args", 0)]


@pytest.mark.parametrize("value", [1700000000, 1.5, "too soon", [1], {"a": 1}, None, True])
@pytest.mark.parametrize("annotation", [date, datetime, time, UUID, bytes, list[datetime], dict[str, UUID]])
def test_a_value_that_does_not_fit_is_left_as_it_is(annotation: Any, value: Any) -> None:
    """A validator of another version may pass what the annotation does not take: the function receives the same."""
    assert _takes(annotation).typed([value], {"value": value}) == ([value], {"value": value})


def test_stored_values_are_not_checked_and_names_are() -> None:
    """A function that has taken a value may take it again, unless its parameters have changed."""
    definition = TaskDefinition("old", _OLD, positional=("when",))
    assert definition.check(["soon"], {"price": "x"}, {"args", "kwargs"}) == []
    assert [problem.path for problem in definition.check(["soon"], {"price": "x"}, {"args"})] == [("kwargs", "price")]
    assert [problem.path for problem in definition.check([], {"gone": 1}, {"kwargs"})] == [("kwargs", "gone")]
