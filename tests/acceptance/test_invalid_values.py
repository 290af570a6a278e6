"""Values that are not of their type, as literals and as variables, over every transport."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import plain_http
import pytest
from support import Api
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_TIMES = [
    *('"2026-01-01T00:00:00"', '"2026-01-01"', '"20260101T10"', '"tomorrow"', '""', "5", "1.5", "true", "[1]", "X"),
    *('"0001-01-01T00:00:00+14:00"', '"10000-01-01T00:00:00Z"', '"2026-01-01T00:00:00+99:00"', "{a: 1}", "9" * 5000),
]
_PLACES = [
    "{ tasks(filter: {createdAt: {gte: %s}}) { nodes { id } } }",
    "{ tasks(filter: {NOT: {OR: [{finishedAt: {lt: %s}}]}}) { totalCount } }",
    'mutation { rescheduleTask(id: "1", scheduledFor: %s) { task { id } } }',
    'mutation { createTask(input: {name: "task_modules.add", scheduledFor: %s}) { created } }',
    "mutation { deleteTasks(filter: {updatedAt: {lt: %s}}) { matched } }",
    "query ($time: DateTime = %s) { tasks(filter: {createdAt: {gte: $time}}) { nodes { id } } }",
]
_BY_VARIABLE = "query ($time: DateTime!) { tasks(filter: {createdAt: {gte: $time}}) { nodes { id } } }"
_LIST = "subscription { taskChanges(since: %s) { __typename } }"


@pytest.mark.parametrize("place", _PLACES)
def test_a_literal_that_is_no_time_is_the_clients_error(api: Api, place: str) -> None:
    """The error names the type and the position, and is not an internal one."""
    for time in _TIMES:
        error = api.refusal(place % time)
        assert error["message"].startswith("DateTime "), time
        assert error["locations"]
        assert len(error["message"]) < 200


@pytest.mark.parametrize(
    "time", ["2026-01-01T00:00:00", "now", "x" * 10**6, 5, 1.5, True, [1], {"a": 1}, "\ud800", 10**99]
)
def test_a_variable_that_is_no_time_is_the_clients_error(api: Api, time: Any) -> None:
    """The error names the variable and the type, and does not repeat a long value."""
    message = api.refusal(_BY_VARIABLE, time=time)["message"]
    assert message.startswith("Variable '$time' has invalid value: DateTime ")
    assert len(message) < 250


@pytest.mark.parametrize(
    "time", ["2026-01-01T00:00:00", "2026-01-01", "20260101", "2026-01-01T10:20:30.5", "0001-01-01", "now"]
)
def test_what_the_error_suggests_works(api: Api, time: str) -> None:
    """The time in the message is accepted as it is."""
    (suggestion,) = re.findall(r'like "([^"]*)"', api.refusal(_BY_VARIABLE, time=time)["message"])
    assert "errors" not in api.post(_BY_VARIABLE, time=suggestion)
    assert "errors" not in api.post(_PLACES[0] % json.dumps(suggestion))


def test_all_spellings_of_rfc_3339_are_times(api: Api) -> None:
    """A time may have a small t and z, or a space, and any fraction of a second."""
    for time in ("2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00.123456789-05:00"):
        assert "errors" not in api.post(_BY_VARIABLE, time=time)


@pytest.mark.parametrize(
    "document",
    [
        "{ tasks(first: %s) { nodes { id } } }",
        "{ tasks { nodes { logs(first: %s) { nodes { message } } } } }",
        'mutation { createTask(input: {name: "task_modules.add", priority: %s}) { created } }',
    ],
)
def test_a_literal_of_thousands_of_digits_is_the_clients_error(api: Api, document: str) -> None:
    """Python refuses to convert such a number, which is an error of the document like any other."""
    assert "Int" in api.refusal(document % ("9" * 5000))["message"]


def _by_get(api: Api, query: str) -> Any:
    return plain_http.get(api.graphql, params={"query": query}).json()["errors"]


def _by_event_stream(api: Api, query: str) -> Any:
    answer = plain_http.post(api.graphql, json={"query": query}, headers={"Accept": "text/event-stream"})
    (data,) = re.findall(r"^data: ?(\{.*)$", answer.text, re.MULTILINE)
    return json.loads(data)["errors"]


def _by_websocket(api: Api, query: str) -> Any:
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}))
        while (message := json.loads(socket.recv(timeout=30)))["type"] == "connection_ack":
            pass
    assert message["type"] == "error"
    return message["payload"]


@pytest.mark.parametrize(
    ("ask", "document"),
    [
        (_by_get, _PLACES[0]),
        (_by_event_stream, _PLACES[0]),
        (_by_event_stream, _LIST),
        (_by_websocket, _PLACES[0]),
        (_by_websocket, _LIST),
    ],
)
def test_every_transport_reports_it(api: Api, ask: Callable[[Api, str], Any], document: str) -> None:
    """Queries and subscriptions get the same error over GET, an event stream and a WebSocket."""
    (error,) = ask(api, document % '"tomorrow"')
    assert error["message"].startswith("DateTime must be an RFC 3339 time")
    assert "extensions" not in error
