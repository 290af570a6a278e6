"""A missing scope refuses an operation over every transport, before anything is executed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import plain_http
import pytest
from callers import authenticated, headers_of
from front import Front
from root_fields import RootField, root_fields
from sockets import socket_of
from support import wait_until_async
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gql_api.access.principal import ALL_SCOPES, Scope
from gql_api.api.execution.plan import OperationPlan
from gql_api.record import writes
from gql_api.record.model import ErrorInfo, NewTask
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

pytestmark = pytest.mark.usefixtures("prepared")

_PROTOCOL = Subprotocol("graphql-transport-ws")
_SSE = {"Accept": "text/event-stream"}
_SPEC = {"Accept": "application/graphql-response+json"}
_SCOPED = [field for field in root_fields() if field.scope is not None]


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Front]]:
    """A served API that needs a token, and its services."""
    async with (
        authenticated(settings) as (served, front),
        socket_of(served) as port,
        plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client, front


def _without(field: RootField) -> dict[str, str]:
    return headers_of(sorted(ALL_SCOPES - {field.scope}))


def _is_refusal(field: RootField, errors: list[dict[str, Any]]) -> bool:
    message = f"{field.name}: needs the scope {field.scope}"
    extensions = {"code": "FORBIDDEN", "field": field.name, "scope": field.scope}
    return errors == [{"message": message, "extensions": extensions}]


async def test_post_refuses_every_field_without_its_scope(app: tuple[httpx.AsyncClient, Front]) -> None:
    """The answer has no data; its status is 403 for a client of the specification, and 200 for others."""
    client, _ = app
    for field in [field for field in _SCOPED if field.kind != "subscription"]:
        body = {"query": field.document}
        strict = await client.post("/graphql", json=body, headers=_without(field) | _SPEC)
        lenient = await client.post("/graphql", json=body, headers=_without(field))
        assert (strict.status_code, lenient.status_code) == (403, 200), field
        assert strict.json() == lenient.json()
        assert strict.json().keys() == {"errors"}
        assert _is_refusal(field, strict.json()["errors"]), field


async def test_one_scope_is_enough_for_its_fields(app: tuple[httpx.AsyncClient, Front]) -> None:
    """No field needs a second scope, ADMIN included: it stands for no other."""
    client, _ = app
    for field in root_fields("query", "mutation"):
        headers = headers_of([] if field.scope is None else [field.scope])
        answer = await client.post("/graphql", json={"query": field.document}, headers=headers)
        missing = [error.get("extensions", {}).get("scope") for error in answer.json().get("errors", [])]
        assert set(missing) <= {None}, field


async def test_get_refuses_every_query_without_its_scope(app: tuple[httpx.AsyncClient, Front]) -> None:
    """A query in the address is no different."""
    client, _ = app
    for field in [field for field in _SCOPED if field.kind == "query"]:
        answer = await client.get("/graphql", params={"query": field.document}, headers=_without(field) | _SPEC)
        assert answer.status_code == 403
        assert _is_refusal(field, answer.json()["errors"]), field


async def test_an_event_stream_has_the_refusal_only(app: tuple[httpx.AsyncClient, Front]) -> None:
    """Streams end with the refusal: of shared subscriptions, of personal ones, and of all other operations."""
    client, _ = app
    for field in [*_SCOPED, _personal()]:
        async with client.stream(
            "POST", "/graphql", json={"query": field.document}, headers=_without(field) | _SSE, timeout=10
        ) as answer:
            text = (await answer.aread()).decode()
        (data,) = [line[5:] for line in text.splitlines() if line.startswith("data:") and line[5:].strip()]
        assert _is_refusal(field, json.loads(data)["errors"]), field


async def test_a_socket_refuses_every_field_without_its_scope(app: tuple[httpx.AsyncClient, Front]) -> None:
    """The operation gets an error message, and the socket stays open."""
    client, _ = app
    for scope in sorted({field.scope for field in _SCOPED if field.scope is not None}):
        fields = [field for field in [*_SCOPED, _personal()] if field.scope is scope]
        url = str(client.base_url.join("/graphql")).replace("http", "ws", 1)
        async with connect(url, subprotocols=[_PROTOCOL], additional_headers=_without(fields[0])) as socket:
            await socket.send('{"type": "connection_init"}')
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            for number, field in enumerate(fields):
                subscribe = {"type": "subscribe", "id": str(number), "payload": {"query": field.document}}
                await socket.send(json.dumps(subscribe))
                message = json.loads(await socket.recv())
                assert (message["type"], message["id"]) == ("error", str(number)), field
                assert _is_refusal(field, message["payload"]), field


async def test_rest_refuses_what_graphql_refuses(app: tuple[httpx.AsyncClient, Front]) -> None:
    """The routes run operations of the schema, and have their scopes; /metrics needs OPERATE."""
    client, _ = app
    body = {"task_input": 1}
    for scope, method, path in [
        (Scope.TASKS_READ, "GET", "/tasks"),
        (Scope.TASKS_READ, "GET", "/task/x"),
        (Scope.TASKS_CREATE, "POST", "/create-task"),
        (Scope.OPERATE, "GET", "/metrics"),
    ]:
        content = body if method == "POST" else None
        refused = await client.request(method, path, json=content, headers=headers_of(sorted(ALL_SCOPES - {scope})))
        allowed = await client.request(method, path, json=content, headers=headers_of([scope]))
        assert refused.status_code == 403, path
        assert f"needs the scope {scope}" in refused.json()["errors"][0]["message"]
        assert allowed.status_code != 403, path


async def test_a_running_subscription_of_others_is_no_way_in(app: tuple[httpx.AsyncClient, Front]) -> None:
    """A caller without the scope does not join the execution that another one's subscription has."""
    client, front = app
    body = {"query": "subscription { taskChanges { __typename } }"}
    reader = client.stream("POST", "/graphql", json=body, headers=headers_of([Scope.TASKS_READ]) | _SSE, timeout=10)
    async with reader:
        await wait_until_async(lambda: _executes(front, 1))
        other = await client.post("/graphql", json=body, headers=headers_of([Scope.OPERATE]) | _SSE, timeout=10)
        assert "needs the scope TASKS_READ" in other.text
        assert len(front.services.executions) == 1


_HIDDEN = "error { message traceback } definition { name }"
_CONDITIONAL = """query ($w: Boolean = true) {
  task(id: "t") { error { message ... @include(if: $w) { traceback } } definition @include(if: $w) { name } }
}"""


async def _executes(front: Front, count: int) -> bool:
    return len(front.services.executions) == count


async def test_operators_alone_see_tracebacks_and_definitions(
    app: tuple[httpx.AsyncClient, Front], worker: Store, announced: TaskDefinition
) -> None:
    """Both are null without OPERATE: in queries, pages, payloads and subscriptions, however they are selected."""
    client, _ = app
    worker.change(writes.create(NewTask(id="t", name=announced.name, owner="ann")), upsert=True)
    worker.change(writes.fail("t", ErrorInfo("ValueError", "bad", traceback="secret")))
    documents = [
        f'{{ task(id: "t") {{ {_HIDDEN} }} }}',
        f"{{ tasks {{ nodes {{ {_HIDDEN} }} }} }}",
        f'{{ node(id: "t") {{ ...A }} }} fragment A on Task {{ {_HIDDEN} }}',
        _CONDITIONAL,
        f'mutation {{ cancelTask(id: "t") {{ task {{ {_HIDDEN} }} }} }}',
        f'subscription {{ taskUpdated(id: "t") {{ {_HIDDEN} }} }}',
        f'subscription {{ taskChanges(since: "2020-01-01T00:00:00Z") {{ task {{ {_HIDDEN} }} }} }}',
    ]
    for document in documents:
        operator = await _first(client, document, Scope.TASKS_READ, Scope.TASKS_CONTROL, Scope.OPERATE)
        owner = await _first(client, document, Scope.TASKS_READ, Scope.TASKS_CONTROL)
        assert '"traceback":"secret"' in operator, document
        assert '"definition":{"name":"add"}' in operator, document
        assert '"message":"bad","traceback":null' in owner, document
        assert '"definition":null' in owner, document


async def test_what_is_hidden_does_not_depend_on_plans(
    app: tuple[httpx.AsyncClient, Front],
    worker: Store,
    announced: TaskDefinition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operation that no plan can run, so that graphql-core executes it, hides the same."""
    client, _ = app
    worker.change(writes.create(NewTask(id="t", name=announced.name, owner="ann")), upsert=True)
    worker.change(writes.fail("t", ErrorInfo("ValueError", "bad", traceback="secret")))
    monkeypatch.setattr(OperationPlan, "selection", lambda *_: None)
    document = f'{{ task(id: "t") {{ {_HIDDEN} }} }}'
    assert '"traceback":"secret"' in await _first(client, document, Scope.TASKS_READ, Scope.OPERATE)
    owner = await _first(client, document, Scope.TASKS_READ)
    assert '"message":"bad","traceback":null' in owner
    assert '"definition":null' in owner


async def _first(client: httpx.AsyncClient, document: str, *scopes: Scope) -> str:
    """Return the first answer to an operation."""
    headers = headers_of(scopes) | _SSE
    async with client.stream("POST", "/graphql", json={"query": document}, headers=headers, timeout=10) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                return line
    raise AssertionError("no answer")


def _personal() -> RootField:
    """Return a subscription whose execution is not shared."""
    document = 'subscription { taskChanges(since: "2030-01-01T00:00:00Z") { __typename } }'
    return RootField("subscription", "taskChanges", Scope.TASKS_READ, document)
