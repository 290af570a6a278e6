"""Requests that ask for too much are refused before they are executed, over every protocol."""

from __future__ import annotations

import json
from typing import Any

import plain_http
import pytest
from support import Api
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_PARENTS = (
    "{ task(id: 1) { children(first: 100) { nodes { parent { children(first: 100) { nodes { parent { id } } } } } } } }"
)
_ALIASES = "{ " + " ".join(f"a{n}: tasks(first: 0) {{ totalCount }}" for n in range(120)) + " }"
_DELETES = "mutation { " + " ".join(f"a{n}: deleteTasks(filter: {{}}) {{ changed }}" for n in range(3)) + " }"
_LIVE = (
    "subscription { taskChanges { task { children(first: 500) { nodes { children(first: 500) { nodes { id } } } } } } }"
)
_REFUSED = [(_PARENTS, "cost"), (_ALIASES, "aliases"), (_DELETES, "bulk mutations"), (_LIVE, "cost")]


def _check(error: dict[str, Any], limit: str) -> None:
    extensions = error["extensions"]
    assert (extensions["code"], extensions["limit"]) == ("LIMIT_EXCEEDED", limit)
    assert error["message"] == f"{limit} {extensions['value']:,}, at most {extensions['max']:,}"


@pytest.mark.parametrize(("query", "limit"), _REFUSED[:3])
def test_a_request_over_a_limit_is_a_bad_request(api: Api, query: str, limit: str) -> None:
    """The status is that of GraphQL over HTTP, there is no data, and the counter shows it."""
    counter = f'gql_api_limits_exceeded_total{{limit="{limit}"}}'

    def count() -> float:
        lines = plain_http.get(f"{api.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counter))

    before = count()
    for accept, status in (("application/json", 200), ("application/graphql-response+json", 400)):
        answer = plain_http.post(api.graphql, json={"query": query}, headers={"Accept": accept})
        assert answer.status_code == status
        assert answer.json().keys() == {"errors"}
        _check(answer.json()["errors"][0], limit)
    assert count() >= before + 2


@pytest.mark.parametrize(("query", "limit"), _REFUSED)
def test_a_stream_reports_the_limit(api: Api, query: str, limit: str) -> None:
    """The error is the only result of the stream."""
    answer = plain_http.post(api.graphql, json={"query": query}, headers={"Accept": "text/event-stream"})
    (line,) = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    _check(json.loads(line.removeprefix("data: "))["errors"][0], limit)


def test_a_socket_reports_the_limit_and_stays_open(api: Api) -> None:
    """Each refused operation has an error message, and the next operation is executed."""
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv(timeout=30))["type"] == "connection_ack"
        for number, (query, limit) in enumerate(_REFUSED):
            socket.send(json.dumps({"type": "subscribe", "id": str(number), "payload": {"query": query}}))
            answer = json.loads(socket.recv(timeout=30))
            assert (answer["type"], answer["id"]) == ("error", str(number))
            _check(answer["payload"][0], limit)
        socket.send('{"type": "subscribe", "id": "last", "payload": {"query": "{ __typename }"}}')
        assert json.loads(socket.recv(timeout=30))["payload"] == {"data": {"__typename": "Query"}}


def test_the_answer_has_the_cost_on_request(api: Api) -> None:
    """Only a request that asks for its cost receives it."""
    request = {"query": "query ($n: Int) { tasks(first: $n) { nodes { id } } }", "variables": {"n": 3}}
    assert "extensions" not in plain_http.post(api.graphql, json=request).json()
    answer = plain_http.post(api.graphql, json={**request, "extensions": {"cost": True}}).json()
    assert answer["extensions"] == {"cost": {"value": 525, "max": 20000}}
