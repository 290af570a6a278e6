"""Tokens that tests hand out, and an API that accepts them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import AutoReconnect
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from gql_api.access.principal import ALL_SCOPES, Principal, Scope
from gql_api.api.authentication.authenticator import TokenAuthentication, UnauthenticatedError
from gql_api.api.context import PRINCIPAL, Services
from gql_api.app import create_app, open_services
from gql_api.settings import Settings


class Tokens:
    """A verifier that accepts what it has handed out, and the revocations of that."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}
        self.is_away = False
        self.verified = 0
        self._seconds: dict[str, float] = {}
        self._watching: dict[str, list[Callable[[], None]]] = {}

    def issue(
        self,
        token: str,
        seconds: float | None = None,
        subject: str = "somebody",
        scopes: frozenset[Scope] = ALL_SCOPES,
    ) -> str:
        """Hand out a token, by default an administrator's, which expires after a time if one is given."""
        expires_at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        self.principals[token] = Principal(subject, scopes, expires_at=expires_at, token_id=token)
        return token

    def issue_from_first_use(self, token: str, seconds: float) -> str:
        """Hand out a token that expires so many seconds after its first verification."""
        self._seconds[token] = seconds
        return self.issue(token)

    def recognises(self, _token: str) -> bool:
        """Return True: there are no other tokens."""
        return True

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token that was handed out and has not expired."""
        self.verified += 1
        if self.is_away:
            raise AutoReconnect("MongoDB is away")
        if (seconds := self._seconds.pop(token, None)) is not None:
            self.issue(token, seconds)
        principal = self.principals.get(token)
        if principal is None or (principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)):
            raise UnauthenticatedError
        return principal

    def watch(self, token_id: str, on_revoked: Callable[[], None]) -> Callable[[], None]:
        """Call a function when a token is revoked."""
        self._watching.setdefault(token_id, []).append(on_revoked)
        return lambda: self._watching[token_id].remove(on_revoked)

    def watchers(self, token_id: str) -> int:
        """Return how many connections watch for the revocation of a token."""
        return len(self._watching.get(token_id, []))

    def revoke(self, token_id: str) -> None:
        """Revoke a token."""
        del self.principals[token_id]
        for on_revoked in list(self._watching.get(token_id, [])):
            on_revoked()


class SetPrincipals:
    """Middleware that authenticates HTTP requests to ``/graphql`` as the API does."""

    def __init__(self, app: ASGIApp, authentication: TokenAuthentication) -> None:
        self._app = app
        self._authentication = authentication

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass a request on with its principal."""
        if scope["type"] == "http" and scope["path"] == "/graphql":
            try:
                scope[PRINCIPAL] = await self._authentication.by_headers(dict(Headers(scope=scope)))
            except UnauthenticatedError:
                await Response(status_code=401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


@dataclasses.dataclass(frozen=True)
class Site:
    """An API with authentication."""

    app: Starlette
    services: Services
    served: ASGIApp


@contextlib.asynccontextmanager
async def with_tokens(settings: Settings, tokens: Tokens, **limits: Any) -> AsyncIterator[Site]:
    """Open an API that accepts these tokens."""
    limited = settings.model_copy(update=limits)
    app = create_app(limited)
    authentication = TokenAuthentication([tokens])
    async with open_services(limited) as services:
        app.state.services = dataclasses.replace(services, authenticator=authentication, revocations=tokens)
        yield Site(app, app.state.services, SetPrincipals(app, authentication))
