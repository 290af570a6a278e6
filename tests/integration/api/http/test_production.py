"""PRODUCTION hides the schema from clients over every transport; graphql-cop's checks find nothing then.

The checks are those of https://github.com/dolevf/graphql-cop: each returns whether it has a finding.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import plain_http
import pytest
from front import Front
from sockets import socket_of
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gql_api.app import create_app, open_services
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

Check = Callable[[httpx.AsyncClient], Awaitable[bool]]

_QUERY = "query cop { __typename }"
_SSE = {"Accept": "text/event-stream"}


@pytest.fixture
async def client(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, in production unless the test says otherwise."""
    chosen = settings.model_copy(update={"production": getattr(request, "param", True)})
    app = create_app(chosen)
    async with open_services(chosen) as services:
        app.state.services = services
        async with (
            socket_of(Front(app).app) as port,
            plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            yield client


async def _post(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.post("/graphql", json={"query": query})).json()
    return answer


async def _alias_overload(client: httpx.AsyncClient) -> bool:
    aliases = " ".join(f"alias{number}: __typename" for number in range(101))
    return "alias100" in ((await _post(client, f"query cop {{ {aliases} }}")).get("data") or {})


async def _batch(client: httpx.AsyncClient) -> bool:
    answer = (await client.post("/graphql", json=[{"query": _QUERY}] * 10)).json()
    return isinstance(answer, list) and len(answer) >= 10


async def _circular_introspection(client: httpx.AsyncClient) -> bool:
    nested = "name"
    for _ in range(3):
        nested = f"fields {{ type {{ {nested} }} }}"
    answer = await _post(client, f"query cop {{ __schema {{ types {{ {nested} }} }} }}")
    return bool(answer.get("data"))


async def _directive_overload(client: httpx.AsyncClient) -> bool:
    answer = await _post(client, f"query cop {{ __typename {'@aa' * 10} }}")
    return len(answer["errors"]) == 10


async def _field_duplication(client: httpx.AsyncClient) -> bool:
    answer = await _post(client, f"query cop {{ {'__typename ' * 500} }}")
    return bool(answer.get("data"))


async def _field_suggestions(client: httpx.AsyncClient) -> bool:
    return "Did you mean" in json.dumps(await _post(client, "query cop { __schema { directive } }"))


async def _introspection(client: httpx.AsyncClient) -> bool:
    return bool((await _post(client, "query cop { __schema { types { name fields { name } } } }")).get("data"))


async def _mutation_by_get(client: httpx.AsyncClient) -> bool:
    answer = await client.get("/graphql", params={"query": "mutation cop { __typename }"})
    return "data" in answer.json()


async def _query_by_get(client: httpx.AsyncClient) -> bool:
    return "data" in (await client.get("/graphql", params={"query": _QUERY})).json()


async def _post_of_a_form(client: httpx.AsyncClient) -> bool:
    return "data" in (await client.post("/graphql", data={"query": _QUERY})).json()


async def _trace_mode(client: httpx.AsyncClient) -> bool:
    return "tracing" in (await _post(client, _QUERY)).get("extensions", {})


async def _graphiql(client: httpx.AsyncClient) -> bool:
    # The board at / is no such tool: it has no more than the API gives to everybody.
    for path in ("/graphql", "/graphiql", "/playground"):
        page = await client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        if "graphiql" in page.text.lower() or page.is_success:
            return True
    return False


_CHECKS = [
    _alias_overload,
    _directive_overload,
    _field_duplication,
    _batch,
    _circular_introspection,
    _field_suggestions,
    _introspection,
    _mutation_by_get,
    _query_by_get,
    _post_of_a_form,
    _trace_mode,
    _graphiql,
]


@pytest.mark.parametrize("check", _CHECKS)
async def test_graphql_cop_finds_nothing_in_production(client: httpx.AsyncClient, check: Check) -> None:
    """The request of the check has no finding, and the API goes on to answer."""
    assert not await check(client)
    assert await _post(client, _QUERY) == {"data": {"__typename": "Query"}}


_FILTER = "query ($filter: TaskFilter) { tasks(filter: $filter) { totalCount } }"
_WATCH = "subscription ($id: ID!) { taskUpdated(id: $id, %s) { id } }"
_LISTS = "subscription ($filter: TaskFilter) { taskChanges(filter: $filter) { __typename } }"
_MISSPELT: list[tuple[str, dict[str, Any]]] = [
    ("{ taskz { totalCount } }", {}),
    ("{ tasks(filtr: {}) { totalCount } }", {}),
    ("{ tasks(filter: {statusez: []}) { totalCount } }", {}),
    ("{ tasks(filter: {statuses: [SUCCES]}) { totalCount } }", {}),
    ("{ ... on Querry { __typename } }", {}),
    ("{ __typename @skp(if: true) }", {}),
    ("query ($filter: TaskFilterr) { tasks(filter: $filter) { totalCount } }", {}),
    ("mutation { createTask(inputt: {}) { created } }", {}),
    (_FILTER, {"filter": {"statusez": []}}),
    (_FILTER, {"filter": {"statuses": ["SUCCES"]}}),
    ("subscription { taskUpdatd(id: 1) { id } }", {}),
    (_WATCH % "waitForCreatio: true", {"id": "1"}),
    (_LISTS, {"filter": {"statuses": ["SUCCES"]}}),
    (_LISTS, {"filter": {"statusez": []}}),
]


async def _answers(client: httpx.AsyncClient, query: str, variables: dict[str, Any]) -> list[str]:
    """Return what the API answers over HTTP, as an event stream, and over a WebSocket."""
    request = {"query": query, "variables": variables}
    answers = [
        (await client.post("/graphql", json=request, headers=headers)).text
        for headers in ({"Accept": "application/json"}, _SSE)
    ]
    url = f"ws://{client.base_url.host}:{client.base_url.port}/graphql"
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": request}))
        answers.append(str(await socket.recv()))
    return answers


@pytest.mark.parametrize("client", [True, False], indirect=True, ids=["production", "development"])
async def test_suggestions_are_for_development(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """A misspelt name of a field, argument, type, directive or value is an error with or without a suggestion."""
    suggests = not request.node.callspec.params["client"]
    for query, variables in _MISSPELT:
        answers = await _answers(client, query, variables)
        for answer in answers if not query.startswith("subscription") else answers[1:]:
            assert "errors" in answer or '"type":"error"' in answer, query
            if "@skp" not in query:  # graphql-core suggests no directives
                assert ("Did you mean" in answer) is suggests, (query, answer)
            assert "Internal error" not in answer


@pytest.mark.parametrize("client", [True, False], indirect=True, ids=["production", "development"])
async def test_introspection_is_for_development(client: httpx.AsyncClient, request: pytest.FixtureRequest) -> None:
    """``__schema`` and ``__type`` are refused over all transports, wherever they stand; ``__typename`` stays."""
    for query in (
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Task") { name } }',
        '{ a: __typename ...F } fragment F on Query { t: __type(name: "Task") { name } }',
    ):
        for answer in await _answers(client, query, {}):
            assert ("errors" in answer or '"error"' in answer) is request.node.callspec.params["client"], answer
    for answer in await _answers(client, "{ __typename }", {}):
        assert '{"__typename":"Query"}' in answer


async def test_a_subscription_by_get_stays(client: httpx.AsyncClient) -> None:
    """A browser's EventSource sends nothing else. A query by GET gets a 405 with the reason."""
    watch = await client.get("/graphql", params={"query": 'subscription { taskUpdated(id: "x") { id } }'}, headers=_SSE)
    assert (watch.status_code, watch.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "NOT_FOUND" in watch.text
    for headers in ({}, _SSE):
        query = await client.get("/graphql", params={"query": _QUERY}, headers=headers)
        assert (query.status_code, query.headers["allow"]) == (405, "POST")
        assert query.json()["errors"][0]["message"] == "In production, a query must be sent by POST"
