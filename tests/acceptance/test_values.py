from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import plain_http
import pytest
import value_tasks
from celery import Celery
from databases import Databases
from support import CREATE, Api, wait_until

from gql_api.adopt import adopt
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

# The defaults of ERROR_MAX_BYTES and PROGRESS_MAX_BYTES.
_ERROR, _PROGRESS = 32 * 1024, 64 * 1024

# What a program sends or a function returns, and what clients get.
_VALUES = {
    "date": (date(2026, 1, 31), "2026-01-31"),
    "datetime": (datetime(2026, 1, 31, 6, 30, tzinfo=UTC), "2026-01-31T06:30:00+00:00"),
    "naive": (datetime(2026, 1, 31, 6, 30), "2026-01-31T06:30:00"),  # noqa: DTZ001 - what is tested
    "time": (time(6, 30), "06:30:00"),
    "decimal": (Decimal("1.50"), "1.50"),
    "uuid": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "bytes": (b"text", "dGV4dA=="),
    "binary": (b"\x00\xff", "AP8="),
    "nested": ([{"deep": {"$a.b": Decimal(2)}}], [{"deep": {"$a.b": "2"}}]),
    "infinite": ([float("inf"), float("-inf")], ["Infinity", "-Infinity"]),
    # Data of the task's own that only looks like a typed value.
    "point": ({"__type__": "point", "__value__": [1, 2]}, {"__type__": "point", "__value__": [1, 2]}),
    "no date": ({"__type__": "date", "__value__": "soon"}, {"__type__": "date", "__value__": "soon"}),
    "more": (
        {"__type__": "date", "__value__": "2026-01-31", "x": 1},
        {"__type__": "date", "__value__": "2026-01-31", "x": 1},
    ),
    "huge": (2**70, 2**70),
    "plain": ({"a": [1, 1.5, "x", True, None]}, {"a": [1, 1.5, "x", True, None]}),
}
_UNREADABLE = {"point", "no date"}
_SENT = {name: value for name, (value, _) in _VALUES.items() if name not in _UNREADABLE}
_SHOWN = {name: shown for name, (_, shown) in _VALUES.items()}


@pytest.fixture
def celery(databases: Databases, environment: dict[str, str]) -> Iterator[Celery]:
    """An adopted application that sends tasks to the worker and reads their results, as a program beside it does."""
    app = adopt(Celery("program", set_as_current=False, broker=databases.redis.url))
    settings = Settings(
        mongodb_url=databases.mongodb.url,
        mongodb_database=environment["MONGODB_DATABASE"],
        celery_broker_url=databases.redis.url,
    )
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


@pytest.mark.parametrize("kind", ["text", "pair", "caused", "retry"])
def test_a_large_error_keeps_its_type_and_is_cut(api: Api, kind: str) -> None:
    """Message and traceback are cut to a size, each with a note of it, and the history has a hint of the message."""
    task = api.finished(api.create("value_tasks.raises", args=[kind, 4_000_000]))
    error = task["error"]
    assert (task["status"], error["type"]) == (
        "FAILURE",
        {"pair": "PairError", "caused": "RuntimeError"}.get(kind, "ValueError"),
    )
    assert len(error["traceback"].encode()) <= _ERROR
    assert "[cut: " in error["traceback"]
    if kind == "caused":
        assert error["message"] == "outer"
        assert error["traceback"].rstrip().endswith("RuntimeError: outer")
    else:
        assert error["traceback"].startswith("Traceback")
        assert _ERROR - 100 < len(error["message"].encode()) <= _ERROR
        assert error["message"].endswith(f"bytes, at most {_ERROR} kept]")
        assert task["history"][-1]["message"].endswith("…")


@pytest.mark.parametrize(("kind", "exception"), [("mute", "MuteError"), ("many", "ValueError")])
def test_an_error_without_a_readable_text_keeps_its_type(api: Api, kind: str, exception: str) -> None:
    """An exception whose text cannot be read, or that has very many arguments, ends its task like any other."""
    task = api.finished(api.create("value_tasks.raises", args=[kind, 100_000]))
    assert (task["status"], task["error"]["type"]) == ("FAILURE", exception)
    assert len(task["error"]["message"].encode()) <= _ERROR


def test_a_large_error_is_raised_with_its_type(api: Api, celery: Celery) -> None:
    """AsyncResult.get raises the class of the exception, with as many arguments as it had."""
    task_id = api.create("value_tasks.raises", args=["pair", 4_000_000])
    api.finished(task_id)
    with pytest.raises(value_tasks.PairError) as raised:
        celery.AsyncResult(task_id).get()
    small, large = raised.value.args
    assert small == 7
    assert large["rows"][0].startswith("ééé")
    assert large["rows"][0].endswith("kept]")


@pytest.mark.parametrize("state", ["method", "PROGRESS"])
def test_a_large_report_is_cut(api: Api, state: str) -> None:
    """The message of a report is cut, and so are the texts of its other values, which keep their shape."""
    task = api.finished(api.create("value_tasks.reports", args=[4_000_000, state]))
    assert (task["status"], task["result"]) == ("SUCCESS", "reported")
    progress: dict[str, Any] = task["progress"]
    assert (progress["current"], progress["total"]) == (1, 2)
    assert _PROGRESS - 100 < len(progress["message"].encode()) <= _PROGRESS
    assert progress["message"].endswith(f"bytes, at most {_PROGRESS} kept]")
    if state == "PROGRESS":
        cut, one = progress["data"]["rows"]
        assert one == 1
        assert cut.startswith("xxx")
        assert cut.endswith("kept]")
        assert len(cut) <= _PROGRESS


def test_a_large_custom_state_does_not_fail_its_task(api: Api) -> None:
    """The meta of a custom state is cut too, which 16 MiB would have failed."""
    task = api.finished(api.create("value_tasks.reports", args=[9_000_000, "UPLOADING"]))
    assert (task["status"], task["result"]) == ("SUCCESS", "reported")


def test_values_are_plain_json_to_clients_and_themselves_to_celery(api: Api, celery: Celery) -> None:
    """Arguments, result, progress and metadata have one mapping, and AsyncResult gets what the function returned."""
    sent = {**_SENT, "nan": float("nan")}
    shown = {**{name: _SHOWN[name] for name in _SENT}, "nan": "NaN"}
    metadata = {name: value for name, value in sent.items() if name != "huge"}
    shown_metadata = {name: value for name, value in shown.items() if name != "huge"}
    result = celery.send_task("value_tasks.returns", ([sent],), {"values": sent}, headers={"metadata": metadata})
    task = api.finished(result.id)
    assert task["args"] == [[shown]]
    assert task["kwargs"] == {"values": shown}
    assert task["result"] == [[shown], shown]
    assert task["progress"] == {"current": 1, "total": None, "percent": None, "message": None, "data": shown}
    assert task["metadata"] == {**shown_metadata, "own": shown_metadata}
    same: list[Any] = result.get()
    assert repr(same) == repr([[sent], sent])
    assert repr(result.args) == repr([[sent]])
    assert plain_http.get(f"{api.url}/task/{result.id}").json()["result"] == [[shown], shown]


def test_values_of_a_stock_sender_are_plain_json(api: Api, databases: Databases) -> None:
    """The metadata and the arguments of a message that was sent without a record are shown in the same way."""
    with Celery("stock", set_as_current=False, broker=databases.redis.url) as stock:
        sent = {"price": Decimal("1.50"), "loss": float("nan")}
        task_id = stock.send_task("value_tasks.returns", ([],), {"values": sent}, headers={"metadata": sent}).id
    wait_until(lambda: api.task(task_id))
    task = api.finished(task_id)
    assert task["kwargs"] == {"values": {"price": "1.50", "loss": "NaN"}}
    assert task["metadata"] == {"price": "1.50", "loss": "NaN", "own": {"price": "1.50", "loss": "NaN"}}


def test_data_that_looks_like_a_typed_value_is_unharmed(api: Api) -> None:
    """An object of a type that Celery does not have, or that it cannot read, is shown as it is."""
    task = api.finished(api.create("value_tasks.looks_typed"))
    assert task["result"] == [_SHOWN["point"], _SHOWN["no date"]]


def test_metadata_in_plain_json_is_found(api: Api, celery: Celery) -> None:
    """Filters compare the values that clients see."""
    result = celery.send_task("value_tasks.returns", ([],), {"values": {"key": UUID(int=11)}})
    api.finished(result.id)
    query = "query ($filter: TaskFilter) { tasks(filter: $filter) { nodes { id } } }"
    condition = {"path": "own.key", "eq": str(UUID(int=11))}
    found = api.data(query, filter={"metadata": [condition]})["tasks"]["nodes"]
    assert found == [{"id": result.id}]


def test_live_values_are_plain_json(api: Api, celery: Celery) -> None:
    """A subscriber receives the values that a query returns, beside numbers of any size."""
    result = celery.send_task("value_tasks.returns", ([],), {"values": {"loss": float("nan"), "huge": 2**70}})
    *_, last = api.watch(f'subscription {{ taskUpdated(id: "{result.id}") {{ isFinal result kwargs }} }}')
    shown = {"loss": "NaN", "huge": 2**70}
    assert last["taskUpdated"] == {"isFinal": True, "result": [[], shown], "kwargs": {"values": shown}}


def test_a_default_that_is_no_json_number_is_announced(api: Api) -> None:
    """The schema of a function is JSON whatever its defaults are."""
    definitions = api.data("{ taskDefinitions { name inputSchema } }")["taskDefinitions"]
    schema = next(each["inputSchema"] for each in definitions if each["name"] == "value_tasks.odd_defaults")
    assert schema["properties"]["limit"]["default"] == "Infinity"
    assert schema["properties"]["huge"]["default"] == 2**70


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "outcome"),
    [
        ("placed", [1], {}, [1, 2, 3, 4]),
        ("placed", [1, 5], {"c": 6, "d": 7}, [1, 5, 6, 7]),
        ("placed", [1, 5, 6, 7, 8], {"d": 9}, [1, 5, 6, 7, 8, 9]),
        ("placed_or_named", [1], {"a": "x", "b": "y"}, [1, 2, {"a": "x", "b": "y"}]),
        ("placed", [], {"a": 1}, ("kwargs", "a")),
        ("placed", [1], {"b": 1}, ("kwargs", "b")),
        ("placed", [1], {"a": 1}, ("kwargs", "a")),
        ("placed", [], {"c": 1}, ("args",)),
        ("placed", [1, 2, 3], {"c": 3}, ("kwargs", "c")),
        ("placed", [1], {"rest": [1]}, ("kwargs", "rest")),
        ("placed_or_named", [], {"a": 1}, ("args",)),
    ],
)
def test_arguments_are_placed_as_python_places_them(
    api: Api, name: str, args: list[Any], kwargs: dict[str, Any], outcome: Any
) -> None:
    """A call that Python would refuse is refused, at the argument that is in the wrong place; any other runs."""
    if isinstance(outcome, list):
        task = api.finished(api.create(f"value_tasks.{name}", args=args, kwargs=kwargs))
        assert (task["result"], task["args"], task["kwargs"]) == (outcome, args, kwargs)
    else:
        payload = api.data(CREATE, input={"name": f"value_tasks.{name}", "args": args, "kwargs": kwargs})["createTask"]
        assert payload["task"] is None
        assert payload["userErrors"][0]["field"] == ["input", *outcome]


def test_each_json_value_can_be_read_as_text(api: Api, celery: Celery) -> None:
    """The text has all digits, in the same answer as the value and in subscriptions too; null stays null."""
    sent = {"id": 2**53 + 1, "huge": 2**70, "loss": float("nan"), "when": date(2026, 1, 31)}
    result = celery.send_task("value_tasks.returns", ([2**60],), {"values": sent}, headers={"metadata": {"id": 2**60}})
    fields = "args kwargs metadata result"
    texts = (
        f"{' '.join(f'{name}Text: {name}(asText: true)' for name in fields.split())} progress {{ data(asText: true) }}"
    )
    *_, last = api.watch(f'subscription {{ taskUpdated(id: "{result.id}") {{ {fields} {texts} }} }}')
    task = last["taskUpdated"]
    for name in fields.split():
        assert json.loads(task[f"{name}Text"]) == task[name]
    assert task["argsText"] == f"[[{2**60}]]"
    assert f'"id":{2**53 + 1}' in task["resultText"]
    assert json.loads(task["progress"]["data"]) == {"id": 2**53 + 1, "huge": 2**70, "loss": "NaN", "when": "2026-01-31"}
    nothing = api.create("value_tasks.same", args=[None])
    api.finished(nothing)
    query = "query ($id: ID!, $as: Boolean) { task(id: $id) { result(asText: $as) args(asText: $as) } }"
    assert api.data(query, id=nothing, **{"as": True})["task"] == {"result": None, "args": "[null]"}
    assert api.data(query, id=nothing, **{"as": None})["task"] == {"result": None, "args": [None]}
