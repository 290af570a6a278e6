from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal

import pytest
from celery import Celery
from pydantic import BaseModel, Field, create_model

from gql_api.record.fields import is_internal
from gql_api.registry.definitions import TaskDefinition
from gql_api.values import Path
from gql_api.worker.registration.signatures import define, definitions_of


class Address(BaseModel):
    """A nested model."""

    city: str


# Another model of the same name.
namesake = SimpleNamespace(Address=create_model("Address", street=(str, ...)))


class Opaque:
    """A type that JSON Schema cannot express."""


def send(to: str, count: int = 1, *, mode: Literal["fast", "slow"] = "fast", address: Address | None = None) -> None:
    """Send something.

    With a second paragraph.
    """


def anything(first, *rest, model_config=1, _x: Opaque = Opaque(), **options):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN002, ANN003, ANN201, B008, D103
    ...


def aliased(x: Annotated[int, Field(alias="other")], y: int = Field(3, alias="another")) -> None: ...  # noqa: D103


def prose(x: "int | 'Unquotable'", y: "a number of things" = 1) -> None: ...  # type: ignore # noqa: D103, F722, F821, PGH003, UP037


def misplaced(x: ClassVar[int] = 1, y: int = Field(2), z: int = Field(gt=0)) -> None: ...  # type: ignore # noqa: D103, PGH003


def twins(x: Address, y: namesake.Address) -> None: ...  # type: ignore[name-defined] # noqa: D103


def only_checked(at: "Unimportable") -> None:  # type: ignore[name-defined] # noqa: D103, F821, UP037
    ...


@pytest.fixture
def app() -> Celery:
    """An app without servers."""
    return Celery("definitions", set_as_current=False)


def _define(app: Celery, function: Any, **options: Any) -> TaskDefinition:
    return define(app.task(function, shared=False, **options), app)


def test_a_definition_tells_the_signature(app: Celery) -> None:
    """Types, defaults, nested models and the docstring come from the function itself."""
    app.conf.task_routes = {"send": {"queue": "mail"}}
    definition = _define(app, send, name="send", time_limit=9, max_retries=5)
    schema = definition.input_schema
    assert definition.description == "Send something.\n\nWith a second paragraph."
    assert (definition.queue, definition.time_limit, definition.max_retries) == ("mail", 9, 5)
    assert schema["required"] == ["to"]
    assert schema["properties"]["count"] == {"type": "integer", "default": 1}
    assert schema["properties"]["mode"]["enum"] == ["fast", "slow"]
    assert schema["$defs"]["Address"]["required"] == ["city"]
    assert definition.positional == ("to", "count")


def test_a_bound_task_does_not_show_self(app: Celery) -> None:
    """The first parameter of a bound task is Celery's, not the caller's."""

    def bound(self: Any, at: datetime) -> None: ...

    definition = _define(app, bound, bind=True)
    assert definition.positional == ("at",)
    assert definition.input_schema["properties"] == {
        "at": {"type": "string", "format": "date-time", "x-python-type": "datetime"}
    }


def test_what_cannot_be_described_takes_anything(app: Celery) -> None:
    """Parameters without usable annotations are known by name, and the others are announced all the same."""
    definition = _define(app, anything)
    assert definition.input_schema["properties"] == {"first": {}, "model_config": {"default": 1}, "_x": {}}
    assert definition.input_schema["additionalProperties"] is True
    assert definition.check([1, 2, 3], {"_x": None, "more": {}}) == []
    assert _define(app, only_checked).check(["now"], {}) == []


def test_odd_signatures_do_not_keep_a_worker_from_announcing(app: Celery) -> None:
    """Aliases, annotations that cannot be evaluated, models of the same name: each is announced as well as it can."""
    assert list(_define(app, aliased).input_schema["properties"]) == ["x", "y"]
    assert _define(app, prose).check(["anything"], {"y": []}) == []
    assert list(_define(app, misplaced).input_schema["properties"]) == ["x", "y", "z"]
    definition = _define(app, twins)
    assert definition.check([{"city": "X"}, {"street": "Y"}], {}) == []
    assert [problem.path for problem in definition.check([{"street": "Y"}, {"city": "X"}], {})] == [
        ("args", 0),
        ("args", 1),
    ]


def test_many_wrong_values_make_few_problems(app: Celery) -> None:
    """A large array of wrong values yields no more problems than a person can read."""

    def total(xs: list[int]) -> None: ...

    assert len(_define(app, total).check([["x"] * 1000], {})) == 20


def test_internal_tasks_are_not_announced(app: Celery) -> None:
    """Celery's own tasks are not for clients to create."""
    app.task(send, name="send", shared=False)
    # Shared tasks of the other tests of this process are tasks of every app.
    names = {definition.name for definition in definitions_of(app)}
    assert "celery.chord" in app.tasks
    assert "send" in names
    assert not [name for name in names if is_internal(name)]


@pytest.mark.parametrize(
    ("args", "kwargs", "problems"),
    [
        ([], {"to": "you"}, []),
        (["you", 2], {"mode": "slow", "address": {"city": "X"}}, []),
        ([], {}, [(("kwargs", "to"), "required")]),
        ([], {"to": "you", "count": "3"}, [(("kwargs", "count"), "integer")]),
        (["you", 1.5], {}, [(("args", 1), "integer")]),
        (["you", True], {}, [(("args", 1), "integer")]),
        (["you", 1, "fast"], {}, [(("args",), "at most 2")]),
        (["you"], {"to": "me"}, [(("kwargs", "to"), "already given in args")]),
        (["you"], {"cc": "me"}, [(("kwargs", "cc"), "not a parameter")]),
        (["you"], {"mode": "now"}, [(("kwargs", "mode"), "not one of")]),
        (["you"], {"address": {"city": 3}}, [(("kwargs", "address"), "expected")]),
    ],
)
def test_a_call_is_checked(app: Celery, args: list[Any], kwargs: Any, problems: list[tuple[Path, str]]) -> None:
    """A call that would fail in the worker is refused at once, at the place where it is wrong."""
    found = _define(app, send).check(args, kwargs)
    assert [problem.path for problem in found] == [path for path, _ in problems]
    for problem, (_, words) in zip(found, problems, strict=True):
        assert words in problem.message
