"""Middleware that finds out who sent a request, before anything else of the API sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import PyMongoError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gql_api.access.principal import ANONYMOUS, NOBODY, Principal
from gql_api.api.authentication.authenticator import (
    AuthenticationUnavailableError,
    Authenticator,
    UnauthenticatedError,
    headers_of,
)
from gql_api.api.context import PRINCIPAL, Services
from gql_api.api.errors import ClientError
from gql_api.api.execution.encoding import encode
from gql_api.api.http.negotiation import JSON, accept_of, media_type_for
from gql_api.api.http.stream_formats import FORMATS
from gql_api.api.pages.page import PageOptions
from gql_api.api.pages.requests import path_of
from gql_api.telemetry import counters

_UNAUTHORIZED, _UNAVAILABLE = 401, 503
_RETRY_SECONDS = 1
_PROBES = frozenset({"/healthz", "/readyz"})


class Authenticate:
    """Middleware that puts the principal of a request into its scope, or answers with 401.

    A parent application that has authenticated the client has put its principal into the scope before. The handler of a
    WebSocket authenticates its client by itself, for its token may come in the first message.

    Args:
        app: the application behind it.
        pages: the pages that are served. They have no data, and need no token.
    """

    def __init__(self, app: ASGIApp, pages: PageOptions) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its principal."""
        if scope["type"] == "lifespan" or PRINCIPAL in scope:
            await self._app(scope, receive, send)
            return
        if path_of(scope) in _PROBES:
            scope[PRINCIPAL] = NOBODY
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        if not services.authenticator.is_required:
            scope[PRINCIPAL] = ANONYMOUS
        elif scope["type"] == "http":
            try:
                scope[PRINCIPAL] = await self._principal(scope, services.authenticator)
            except (ClientError, PyMongoError) as error:
                counters.AUTHENTICATION_FAILURES.labels(_reason(error)).inc()
                await _refusal(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _principal(self, scope: Scope, authenticator: Authenticator) -> Principal:
        if scope["method"] == "OPTIONS" or self._pages.are_asked_for(scope):
            return NOBODY
        return await authenticator.by_headers(headers_of(scope["headers"]))


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, UnauthenticatedError) else "unavailable"


def _refusal(scope: Scope, error: ClientError | PyMongoError) -> Response:
    headers = Headers(scope=scope)
    media_type = media_type_for(accept_of(headers))
    if isinstance(error, UnauthenticatedError):
        status, extra = _UNAUTHORIZED, _challenge(headers)
    else:
        status, extra = _UNAVAILABLE, {"Retry-After": str(_RETRY_SECONDS)}
    shown = error if isinstance(error, ClientError) else AuthenticationUnavailableError()
    body = encode({"errors": [dict(shown.formatted)]})
    return Response(body, status, extra, JSON if media_type in FORMATS else media_type)


def _challenge(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the challenge of RFC 6750, 3: with an error if the client has sent a token."""
    return {"WWW-Authenticate": 'Bearer error="invalid_token"' if "authorization" in headers else "Bearer"}
