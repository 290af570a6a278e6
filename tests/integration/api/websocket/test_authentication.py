"""How a socket gets its principal, and how it is refused one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sockets import socket_of
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope
from support import served
from tokens import Site, Tokens, with_tokens
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gql_api.access.principal import Scope
from gql_api.api.authentication.authenticator import TokenAuthentication
from gql_api.api.context import PRINCIPAL
from gql_api.api.websocket.authentication import admits_handshake
from gql_api.record.model import NewTask
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_SUBPROTOCOL = Subprotocol("graphql-transport-ws")


@pytest.fixture
def tokens() -> Tokens:
    """The tokens of two clients."""
    tokens = Tokens()
    tokens.issue("good")
    tokens.issue("other", subject="somebody else")
    return tokens


@pytest.fixture
async def site(settings: Settings, tokens: Tokens) -> AsyncIterator[Site]:
    """An API that accepts the tokens."""
    async with with_tokens(settings, tokens) as site:
        yield site


@pytest.fixture
async def port(site: Site) -> AsyncIterator[int]:
    """Its port."""
    async with socket_of(site.app) as port:
        yield port


def _open(port: int, header: str | None = None, path: str = "/graphql") -> connect:
    headers = {} if header is None else {"Authorization": header}
    url = f"ws://127.0.0.1:{port}{path}"
    return connect(url, subprotocols=[_SUBPROTOCOL], additional_headers=headers, compression=None)


async def _init(socket: ClientConnection, payload: Any = None) -> Any:
    """Send connection_init, and return the type of the answer or the close code."""
    await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
    try:
        return json.loads(await asyncio.wait_for(socket.recv(), 10))["type"]
    except ConnectionClosed:
        return socket.close_code


def _failures(reason: str) -> float:
    return REGISTRY.get_sample_value("gql_api_authentication_failures_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": "Bearer good"},
        {"authorization": "bearer good"},
        {"AUTHORIZATION": "Bearer good", "unrelated": 1},
        {"token": "good"},
        {"authToken": "good"},
        {"token": "good", "Authorization": "Bearer good"},
        {"token": "good", "authToken": None},
    ],
    ids=str,
)
async def test_connection_init_brings_the_token(port: int, payload: dict[str, Any]) -> None:
    """A client that can send no header puts its token into the payload, under one of the documented keys."""
    async with _open(port) as socket:
        assert await _init(socket, payload) == "connection_ack"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (None, 4403),
        ({}, 4403),
        ({"token": ""}, 4403),
        ({"token": "bad"}, 4403),
        ({"token": ["good"]}, 4403),
        ({"Authorization": "good"}, 4403),
        ({"Authorization": "Basic good"}, 4403),
        ({"headers": {"Authorization": "Bearer good"}}, 4403),
        ({"token": "good", "authToken": "other"}, 4403),
        ({"token": "\ud800"}, 4403),
    ],
    ids=str,
)
async def test_a_socket_without_a_valid_token_is_closed(port: int, payload: Any, code: int) -> None:
    """Its client is not let in, and learns nothing about the token."""
    async with _open(port) as socket:
        assert await _init(socket, payload) == code
        assert socket.close_reason in {"Forbidden", "The connection has two different tokens"}


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (None, "connection_ack"),
        ({"token": "good"}, "connection_ack"),
        ({"Authorization": "Bearer good"}, "connection_ack"),
        ({"token": "other"}, 4403),
        ({"token": "bad"}, 4403),
    ],
    ids=str,
)
async def test_the_handshake_brings_the_token(port: int, tokens: Tokens, payload: Any, answer: Any) -> None:
    """It is verified once; connection_init may repeat it, and must not have another one."""
    before = _failures("conflict")
    async with _open(port, "Bearer good") as socket:
        assert await _init(socket, payload) == answer
    assert tokens.verified == 1
    assert _failures("conflict") - before == (0 if answer == "connection_ack" else 1)


@pytest.mark.parametrize("header", ["Bearer bad", "Bearer", "Basic good", "good"])
async def test_an_invalid_token_in_the_handshake_refuses_it(port: int, header: str) -> None:
    """The client gets the answer of an HTTP request, and no socket."""
    before = _failures("invalid")
    with pytest.raises(InvalidStatus) as refused:
        async with _open(port, header):
            pass
    response = refused.value.response
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    (error,) = json.loads(response.body or b"")["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert _failures("invalid") == before + 1


async def test_a_token_in_the_url_is_not_read(port: int) -> None:
    """URLs are logged: a client that puts its token there is not let in."""
    async with _open(port, path="/graphql?token=good&authorization=Bearer%20good") as socket:
        assert await _init(socket) == 4403


async def test_a_token_cannot_be_verified_while_mongodb_is_away(port: int, tokens: Tokens) -> None:
    """Nobody is let in, and the client may try again: nothing says that its token is not valid."""
    tokens.is_away = True
    before = _failures("unavailable")
    async with _open(port) as socket:
        assert await _init(socket, {"token": "good"}) == 1013
    with pytest.raises(InvalidStatus) as refused:
        async with _open(port, "Bearer good"):
            pass
    response = refused.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert json.loads(response.body or b"")["errors"][0]["extensions"] == {"code": "SERVICE_UNAVAILABLE"}
    assert _failures("unavailable") == before + 2


async def test_nothing_runs_before_the_client_is_let_in(port: int) -> None:
    """A ping is answered; an operation closes the socket, also one of a handshake with a token."""
    for header in (None, "Bearer good"):
        async with _open(port, header) as socket:
            await socket.send('{"type": "ping"}')
            assert await socket.recv() == '{"type":"pong"}'
            await socket.send('{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}')
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 10)
            assert socket.close_code == 4401


async def test_a_second_connection_init_changes_nothing(port: int, tokens: Tokens) -> None:
    """A client cannot become another one: the protocol closes its socket."""
    async with _open(port) as socket:
        assert await _init(socket, {"token": "good"}) == "connection_ack"
        assert await _init(socket, {"token": "other"}) == 4429
    assert tokens.verified == 1


async def test_the_operations_of_a_socket_have_its_principal(port: int, site: Site, tokens: Tokens) -> None:
    """The tasks that it sees are those of its token's subject."""
    tokens.issue("mine", subject="me", scopes=frozenset({Scope.TASKS_READ}))
    for id_, owner in {"mine": "me", "foreign": "somebody else"}.items():
        await site.services.store.create(NewTask(id=id_, name="add", owner=owner))
    async with _open(port) as socket:
        await _init(socket, {"token": "mine"})
        query = {"query": "{ tasks(first: 9) { nodes { id } } }"}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
        assert json.loads(await socket.recv())["payload"] == {"data": {"tasks": {"nodes": [{"id": "mine"}]}}}


async def test_the_token_of_connection_init_replaces_that_of_the_handshake(site: Site, tokens: Tokens) -> None:
    """The same client may have both; the end of the one that is not used any more does not close its socket."""
    tokens.issue("handshake", 60)

    async def parent(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await site.app({**scope, PRINCIPAL: tokens.principals["handshake"]}, receive, send)

    async with socket_of(parent) as port, _open(port) as socket:
        assert await _init(socket, {"token": "good"}) == "connection_ack"
        assert (tokens.watchers("handshake"), tokens.watchers("good")) == (0, 1)


async def test_a_client_without_a_token_takes_a_place(settings: Settings, tokens: Tokens) -> None:
    """A client that has not been let in counts like any other."""
    async with (
        with_tokens(settings, tokens, connections_max=1) as site,
        served(site.app, ws="websockets-sansio") as port,
        _open(port),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with _open(port, "Bearer bad"):
                pass
        assert refused.value.response.status_code == 503
    assert tokens.verified == 0


async def test_a_client_without_a_token_is_closed_when_its_time_is_over(settings: Settings, tokens: Tokens) -> None:
    """It has as long for connection_init as clients with a token."""
    limits = {"connection_init_seconds": 0.3}
    async with with_tokens(settings, tokens, **limits) as site, served(site.app, ws="websockets-sansio") as port:
        async with _open(port) as socket:
            await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 4408
    assert tokens.verified == 0


async def test_a_server_without_answers_to_handshakes_refuses_them(tokens: Tokens) -> None:
    """An ASGI server may have no way to answer a handshake: it is closed before it is accepted."""
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "headers": [(b"authorization", b"Bearer bad")]}
    assert not await admits_handshake(scope, receive, send, TokenAuthentication([tokens]))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
