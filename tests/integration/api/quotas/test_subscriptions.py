"""The quotas for subscriptions, whatever carries them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from front import Front
from opened import Client
from starlette.applications import Starlette
from starlette.types import Message
from support import wait_until_async

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal
from gql_api.api.context import PRINCIPAL, Context, Services
from gql_api.api.errors import QuotaExceededError
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.api.http.view import GraphQLView
from gql_api.api.schema.build import schema
from gql_api.api.schema.subscriptions import SHARED
from gql_api.api.store.slots import Requester, current_requester
from gql_api.api.subscriptions.executions import DrainedError, Executions
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.app import create_app, open_services
from gql_api.settings import Settings

_ALICE, _BOB = Principal("alice", ALL_SCOPES, "acme"), Principal("bob", ALL_SCOPES, "acme")
_CAROL = Principal("carol", ALL_SCOPES, "umbrella")
_SHARED = "subscription { taskChanges { kind } }"
_PERSONAL = 'subscription { taskChanges(since: "2026-01-01T00:00:00Z") { kind } }'


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """The services of an API with quotas for subscriptions."""
    limits = {"quota_subscriptions": 2, "quota_tenant_subscriptions": 3}
    async with open_services(settings.model_copy(update=limits)) as services:
        yield services


class _Stream:
    """A subscription by a stream."""

    def __init__(self, services: Services, principal: Principal, query: str = _SHARED) -> None:
        self._results = services.executions.subscribe(
            Operation(query, None, None), Context(services, principal), principal
        )
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with contextlib.aclosing(self._results) as results:
            async for _ in results:
                pass

    async def error(self) -> Any:
        """Return the error with which the stream has to end."""
        await asyncio.wait([self.task], timeout=20)
        return self.task.exception() if self.task.done() else None

    async def refusal(self) -> Any:
        """Return the error if the stream ends at once. A loaded machine may take longer to end it."""
        await asyncio.wait([self.task], timeout=0.05)
        return self.task.exception() if self.task.done() else None

    async def end(self) -> None:
        """End it from the side of the client."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def _exceeded(services: Services, principal: Principal) -> dict[str, Any]:
    """Return what the error of a subscription that has no room says."""
    error = await _Stream(services, principal).error()
    assert isinstance(error, QuotaExceededError)
    return error.extensions or {}


async def _refusal(services: Services, principal: Principal) -> Any:
    stream = _Stream(services, principal)
    refusal = await stream.refusal()
    await stream.end()
    return refusal


@pytest.mark.parametrize("query", [_SHARED, _PERSONAL])
async def test_streams_of_a_principal_are_bounded(services: Services, query: str) -> None:
    """Shared and other ones count alike, those of other tenants do not count, and one that ends makes room."""
    streams = [_Stream(services, _ALICE, query) for _ in range(2)]
    assert [await stream.refusal() for stream in streams] == [None, None]
    assert await _exceeded(services, _ALICE) == {
        "code": "QUOTA_EXCEEDED",
        "limit": "subscriptions of a principal",
        "max": 2,
        "retryAfter": 5,
    }
    streams.append(_Stream(services, _BOB, query))
    assert await streams[-1].refusal() is None
    assert (await _exceeded(services, _BOB))["limit"] == "subscriptions of a tenant"
    assert await _refusal(services, _CAROL) is None
    await streams[0].end()
    assert await _refusal(services, _ALICE) is None
    await asyncio.gather(*(stream.end() for stream in streams))
    assert len(services.quotas.subscriptions) == 0


async def test_without_authentication_nothing_is_counted(services: Services) -> None:
    """The quotas are those of principals."""
    streams = [_Stream(services, ANONYMOUS) for _ in range(5)]
    assert [await stream.refusal() for stream in streams] == [None] * 5
    assert len(services.quotas.subscriptions) == 0
    await asyncio.gather(*(stream.end() for stream in streams))


@pytest.mark.parametrize("query", [_SHARED, _PERSONAL])
async def test_every_end_of_a_subscription_makes_room(services: Services, query: str) -> None:
    """The client may leave before the first result, the document may be refused, and the process may stop."""
    for _ in range(3):
        refused = _Stream(services, _ALICE, query.replace("kind", "unknown"))
        assert isinstance(await refused.error(), RefusedOperationError)
        early = _Stream(services, _ALICE, query)
        await asyncio.sleep(0)
        await early.end()
        assert len(services.quotas.subscriptions) == 0
    stream = _Stream(services, _ALICE, query)
    assert await stream.refusal() is None
    services.executions.drain()
    await asyncio.wait([stream.task])
    assert isinstance(stream.task.exception(), DrainedError)
    assert len(services.quotas.subscriptions) == 0


async def test_the_lists_of_a_shared_execution_are_those_of_its_principal(services: Services) -> None:
    """They count for the quota of slots of the one whose subscription began it."""
    requesters = []

    def context(fanout: Fanout, principal: Principal) -> Context:
        requesters.append(current_requester())
        return Context(services, principal, fanout)

    async with Executions(schema, SHARED, context) as executions:
        stream = _Stream(dataclasses.replace(services, executions=executions), _ALICE)
        assert await stream.refusal() is None
        await stream.end()
    assert [requester.groups for requester in requesters] == [Requester.of(_ALICE).groups]


@pytest.mark.parametrize("media_type", ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"])
async def test_a_stream_over_the_quota_has_the_error_only(
    services: Services, settings: Settings, client_of: Client, media_type: str
) -> None:
    """The client learns when to try again, in either format, and the stream ends."""
    app = create_app(settings)
    app.state.services = services
    streams = [_Stream(services, _ALICE) for _ in range(2)]
    assert [await stream.refusal() for stream in streams] == [None, None]
    async with client_of(Front(app), _ALICE) as client:
        answer = await client.post("/graphql", json={"query": _SHARED}, headers={"Accept": media_type})
    assert '"code":"QUOTA_EXCEEDED","limit":"subscriptions of a principal","max":2,"retryAfter":5' in answer.text
    await asyncio.gather(*(stream.end() for stream in streams))


class _Socket:
    """A client of a WebSocket that has been authenticated."""

    def __init__(self, app: Starlette, principal: Principal, settings: Settings) -> None:
        self.messages: list[dict[str, Any]] = []
        self._sent = asyncio.Queue[Message]()
        self._sent.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "path": "/graphql",
            "headers": [],
            "subprotocols": ["graphql-transport-ws"],
            "app": app,
            PRINCIPAL: principal,
        }
        self.task = asyncio.create_task(GraphQLView(settings)(scope, self._sent.get, self._receive))
        self.send({"type": "connection_init"})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._sent.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def subscribe(self, id_: str, query: str) -> None:
        """Start a subscription."""
        self.send({"type": "subscribe", "id": id_, "payload": {"query": query}})

    async def answers(self, count: int) -> list[Any]:
        """Wait for some messages beside the acknowledgement, and return their ids and the quotas they name."""

        async def are_there() -> bool:
            return len(self.messages) > count

        await wait_until_async(are_there)
        return [(message["id"], message["payload"][0]["extensions"]["limit"]) for message in self.messages[1:]]

    async def close(self) -> None:
        """Close the socket."""
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.task

    async def _receive(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            text = message.get("text") or message["bytes"].decode()
            self.messages.append(json.loads(text))


async def test_sockets_of_a_principal_share_its_quota(services: Services, settings: Settings) -> None:
    """The error ends the operation, not the socket; a completed operation and a closed socket make room."""
    app = Starlette()
    app.state.services = services
    one, other = _Socket(app, _ALICE, settings), _Socket(app, _ALICE, settings)
    one.subscribe("shared", _SHARED)
    one.subscribe("personal", _PERSONAL)

    async def are_counted() -> bool:
        return len(services.quotas.subscriptions) == 2

    await wait_until_async(are_counted)
    other.subscribe("a", _SHARED)
    other.subscribe("b", _PERSONAL)
    limit = "subscriptions of a principal"
    assert sorted(await other.answers(2)) == [("a", limit), ("b", limit)]
    one.send({"type": "complete", "id": "shared"})
    one.send({"type": "complete", "id": "personal"})

    async def are_none() -> bool:
        return len(services.quotas.subscriptions) == 0

    await wait_until_async(are_none)
    for id_, query in (("c", _SHARED), ("d", _PERSONAL)):
        other.subscribe(id_, query)
    await wait_until_async(are_counted)
    await other.close()
    assert len(services.quotas.subscriptions) == 0
    await one.close()
