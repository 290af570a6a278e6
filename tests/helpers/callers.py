"""Callers with tokens that name their own rights, for tests of what a caller may do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from front import Front
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope
from strawberry.types import ExecutionResult

from gql_api.access.principal import ANONYMOUS, Principal, Scope
from gql_api.api.context import PRINCIPAL, Context
from gql_api.api.schema.build import schema
from gql_api.app import create_app, open_services
from gql_api.settings import Settings


def caller(*scopes: Scope, subject: str = "ann", tenant: str | None = None, token_id: str | None = None) -> Principal:
    """Return a principal with some scopes."""
    return Principal(subject, frozenset(scopes), tenant, token_id=token_id)


def headers_of(scopes: Iterable[Scope]) -> dict[str, str]:
    """Return the headers of a request by ann with some scopes."""
    return {"Authorization": f"Bearer ann:{','.join(scopes)}"}


class NamedScopes:
    """An authenticator of tokens like ``ann:TASKS_READ,OPERATE``."""

    is_required = True

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal that the token describes."""
        subject, _, names = headers.get("authorization", "Bearer nobody:").removeprefix("Bearer ").partition(":")
        return caller(*[Scope(name) for name in names.split(",") if name], subject=subject)


class Authenticated:
    """An application whose callers have been authenticated."""

    def __init__(self, app: ASGIApp, authenticator: NamedScopes) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Note the principal of a request."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        scope[PRINCIPAL] = await self._authenticator.by_headers(headers)
        await self._app(scope, receive, send)


@asynccontextmanager
async def authenticated(settings: Settings) -> AsyncIterator[tuple[Authenticated, Front]]:
    """Open an application with the authenticator of the tests, and its services."""
    authenticator = NamedScopes()
    app = create_app(settings)
    async with open_services(settings) as services:
        app.state.services = replace(services, authenticator=authenticator)
        yield Authenticated(app, authenticator), Front(app)


async def ask_as(front: Front, principal: Principal, document: str, **variables: object) -> ExecutionResult:
    """Run an operation as a principal, from a client with an address."""
    scope = {"type": "http", "app": front.app, "client": ("192.0.2.7", 4711)}
    if principal is not ANONYMOUS:
        scope[PRINCIPAL] = principal
    context = Context(front.services, principal, request=Request(scope), response=Response())
    result = await schema.execute(document, variable_values=variables, context_value=context)
    assert isinstance(result, ExecutionResult)
    return result
