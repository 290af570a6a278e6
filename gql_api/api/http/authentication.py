"""Middleware that finds out who sent a request, before anything else of the API sees it."""

from __future__ import annotations

from pymongo.errors import PyMongoError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from gql_api.access.principal import ANONYMOUS
from gql_api.api.authentication.authenticator import UnauthenticatedError
from gql_api.api.context import PRINCIPAL, Services
from gql_api.api.errors import UNAVAILABLE, ClientError
from gql_api.api.execution.encoding import encode
from gql_api.api.http.negotiation import JSON

_UNAUTHORIZED, _UNAVAILABLE = 401, 503
_PROBES = frozenset({"/healthz", "/readyz"})


class Authenticate:
    """Middleware that puts the principal of a request into its scope, or answers with 401.

    Args:
        app: the application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its principal."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        if not services.authenticator.is_required or scope["path"] in _PROBES:
            scope[PRINCIPAL] = ANONYMOUS
        else:
            try:
                scope[PRINCIPAL] = await services.authenticator.by_headers(dict(Headers(scope=scope)))
            except (UnauthenticatedError, PyMongoError) as error:
                await _refusal(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(scope: Scope, error: UnauthenticatedError | PyMongoError) -> ASGIApp:
    if scope["type"] != "http":
        return WebSocketClose()
    if isinstance(error, UnauthenticatedError):
        body = encode({"errors": [dict(error.formatted)]})
        return Response(body, _UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}, JSON)
    unavailable = ClientError("The API cannot verify tokens at the moment, try again later", UNAVAILABLE)
    return Response(encode({"errors": [dict(unavailable.formatted)]}), _UNAVAILABLE, {"Retry-After": "1"}, JSON)
