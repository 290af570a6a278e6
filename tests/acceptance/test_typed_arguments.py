from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from databases import Databases
from support import CREATE, Api

from gql_api.adopt import adopt
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

_TYPED = "value_tasks.typed_call"
_REPLAY = """
mutation ($id: ID!, $kwargs: JSON) { replayTask(id: $id, kwargs: $kwargs) { task { id } userErrors { field } } }
"""
_REPLAY_MANY = """
mutation ($filter: TaskFilter!) { replayTasks(filter: $filter, dryRun: false) { changed userErrors { message } } }
"""
_KEY = "00000000-0000-0000-0000-000000000007"

# For each parameter, what clients send, what the function gets, and what clients see afterwards.
_CALLS: list[tuple[str, Any, Any, Any]] = [
    ("when", "2026-01-31", "date 2026-01-31", "2026-01-31"),
    ("at", "2026-01-31T06:30:00Z", "datetime 2026-01-31 06:30:00+00:00", "2026-01-31T06:30:00Z"),
    ("at", "2026-01-31T06:30", "datetime 2026-01-31 06:30:00", "2026-01-31T06:30"),
    ("at", None, "NoneType None", None),
    ("clock", "06:30", "time 06:30:00", "06:30"),
    ("price", "1.50", "Decimal 1.50", "1.50"),
    ("price", 0.1, "Decimal 0.1", "0.1"),
    ("price", 3, "Decimal 3", "3"),
    ("key", _KEY, f"UUID {_KEY}", _KEY),
    ("content", "AP8=", "bytes b'\\x00\\xff'", "AP8="),
    ("days", ["2026-01-31"], ["date 2026-01-31"], ["2026-01-31"]),
    ("by_name", {"a.$b": "2"}, {"a.$b": "Decimal 2"}, {"a.$b": "2"}),
    ("pair", ["2026-01-31", 2], ["date 2026-01-31", "int 2"], ["2026-01-31", 2]),
    (
        "item",
        {"due": "2026-01-31", "price": 1},
        {"due": "date 2026-01-31", "price": "Decimal 1"},
        {"due": "2026-01-31", "price": "1"},
    ),
    (
        "order",
        {"when": "2026-01-31", "key": _KEY, "price": "1"},
        {"when": "str 2026-01-31", "key": f"str {_KEY}", "price": "str 1"},
        {"when": "2026-01-31", "key": _KEY, "price": "1"},
    ),
    ("text_or_date", "2026-01-31", "str 2026-01-31", "2026-01-31"),
    ("number_or_decimal", 1.5, "float 1.5", 1.5),
    ("moment", "2026-01-31", "date 2026-01-31", "2026-01-31"),
    ("wait", "PT30S", "str PT30S", "PT30S"),
    ("anything", "2026-01-31", "str 2026-01-31", "2026-01-31"),
]

_REFUSED: list[tuple[str, Any, str]] = [
    ("when", "yesterday", "expected a date, like \"2026-01-31\", got 'yesterday'"),
    ("when", "1700000000", "expected a date"),
    ("when", "2026-02-30", "expected a date"),
    ("when", 20260131, "expected string"),
    ("at", "tomorrow", "expected a date and time"),
    ("clock", "noon", "expected a time of day"),
    ("price", "1,50", "expected a number, or a string like"),
    ("price", "much", "expected a number, or a string like"),
    ("price", True, "expected a number, or a string like"),
    ("key", "7", "expected a UUID"),
    ("content", "a", "expected a string in Base64"),
    ("price", "NaN", "expected a number, or a string like"),
    ("percent", 101, "101 is greater than the maximum of 100"),
    ("at", 5, "expected a date and time"),
    ("wait", "long", "expected a duration"),
]


@pytest.fixture
def celery(databases: Databases, environment: dict[str, str]) -> Iterator[Celery]:
    """An adopted application that sends tasks to the worker."""
    app = adopt(Celery("sender", set_as_current=False, broker=databases.redis.url))
    settings = Settings(
        mongodb_url=databases.mongodb.url,
        mongodb_database=environment["MONGODB_DATABASE"],
        celery_broker_url=databases.redis.url,
    )
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


@pytest.mark.parametrize(("name", "sent", "received", "shown"), _CALLS)
def test_a_function_receives_what_its_annotation_says(
    api: Api, name: str, sent: Any, received: Any, shown: Any
) -> None:
    """A date, a Decimal or a UUID arrives as itself, at any depth; what Celery cannot carry arrives as it was sent."""
    task = api.finished(api.create(_TYPED, kwargs={name: sent}))
    assert task["error"] is None
    assert task["result"][name] == received
    assert task["kwargs"] == {name: shown}


def test_a_positional_argument_is_typed_too(api: Api) -> None:
    """The place of an argument does not matter."""
    task = api.finished(api.create(_TYPED, args=["2026-01-31", "2026-01-31T00:00:00Z"]))
    assert task["result"]["when"] == "date 2026-01-31"
    assert task["result"]["at"].startswith("datetime ")


@pytest.mark.parametrize(("name", "value", "message"), _REFUSED)
def test_a_text_in_a_wrong_format_is_refused(api: Api, name: str, value: Any, message: str) -> None:
    """The format of a text is checked when the task is created, and the error names the field."""
    payload = api.data(CREATE, input={"name": _TYPED, "kwargs": {name: value}})["createTask"]
    (error,) = payload["userErrors"]
    assert error["field"] == ["input", "kwargs", name]
    assert message in error["message"]


def test_celerys_own_models_convert_by_themselves(api: Api) -> None:
    """A task with pydantic=True gets its model, from the JSON that was sent; formats in models are checked too."""
    order = {"when": "2026-01-31", "key": _KEY, "price": "1.50", "content": "text"}
    task = api.finished(api.create("value_tasks.modelled", args=[order]))
    assert (task["error"], task["result"]) == (None, order)
    wrong = {"name": "value_tasks.modelled", "args": [{**order, "when": "soon"}]}
    (error,) = api.data(CREATE, input=wrong)["createTask"]["userErrors"]
    assert error["field"] == ["input", "args", "0", "when"]


def test_stored_arguments_are_replayed(api: Api, celery: Celery) -> None:
    """What plain Celery code sent reaches the function of a replay as it reached the first, whatever its annotation."""
    sent = {
        "when": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 6, 30),  # noqa: DTZ001 - what is tested
        "clock": time(6, 30),
        "price": Decimal("1E+2"),
        "key": UUID(int=7),
        "content": b"text",
        "days": [date(2026, 1, 31)],
        "text_or_date": date(2026, 1, 31),
        "number_or_decimal": float("nan"),
        "anything": [2**70, datetime(2026, 1, 31, tzinfo=UTC), {"__type__": "decimal", "__value__": "NaN"}],
        # No annotation of the function allows these, and Celery does not check them.
        "moment": "yesterday",
        "wait": 5,
    }
    result = celery.send_task(_TYPED, kwargs=sent)
    first = api.finished(result.id)
    assert first["result"]["price"] == "Decimal 1E+2"
    payload = api.data(_REPLAY, id=result.id)
    assert payload["replayTask"]["userErrors"] == []
    replayed = api.finished(payload["replayTask"]["task"]["id"])
    assert replayed["result"] == first["result"]
    assert repr(celery.AsyncResult(replayed["id"]).kwargs) == repr(celery.AsyncResult(result.id).kwargs)
    assert api.data(_REPLAY_MANY, filter={"ids": [replayed["id"]]})["replayTasks"] == {"changed": 1, "userErrors": []}


def test_new_arguments_of_a_replay_are_checked_and_typed(api: Api, celery: Celery) -> None:
    """A client gives them as to createTask, beside stored ones; a call that Python refuses is refused."""
    first = celery.send_task(_TYPED, (date(2026, 1, 31),), {"price": Decimal(1)}).id
    api.finished(first)
    task_id = api.data(_REPLAY, id=first, kwargs={"key": _KEY})["replayTask"]["task"]["id"]
    result = api.finished(task_id)["result"]
    assert (result["when"], result["price"], result["key"]) == ("date 2026-01-31", "Decimal 1", f"UUID {_KEY}")
    for kwargs in ({"key": "7"}, {"when": "2026-01-31"}, {"nothing": 1}):
        (error,) = api.data(_REPLAY, id=first, kwargs=kwargs)["replayTask"]["userErrors"]
        assert error["field"][-2:] == ["kwargs", *kwargs]
