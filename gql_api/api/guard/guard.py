"""Middleware that refuses requests for other hosts and from other origins, and secures the headers of all answers."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.addresses import is_loopback
from gql_api.api.context import PRINCIPAL
from gql_api.api.execution.encoding import encode
from gql_api.api.guard.hosts import Hosts
from gql_api.api.guard.origins import Origins
from gql_api.api.pages.requests import path_of

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""The headers of every answer that has not its own: browsers neither guess types, nor frame, embed or keep answers."""

_HOST = b"host"
_ORIGIN = b"origin"
_READ = frozenset({_HOST, _ORIGIN, b"sec-fetch-site"})
_POLICY_VIOLATION = 1008
_WRONG_HOST = (400, "The API does not answer for this host: add it to ALLOWED_HOSTS")
_WRONG_ORIGIN = (
    403,
    (
        "Pages of this origin may not use the API: add it to ALLOWED_ORIGINS. If it is the API's own, behind a proxy "
        "with TLS, the server has to trust the proxy's X-Forwarded-Proto: see --forwarded-allow-ips of gql-api serve"
    ),
)
_EXPOSED = (
    403,
    (
        "The API has no authentication and answers on loopback only: set JWT_JWKS_URL, JWT_SECRET, API_TOKENS, "
        "ACCESS_SECRET or AUTHENTICATE, or AUTH=none and ALLOW_UNAUTHENTICATED=yes to open it to all who can reach "
        "this address"
    ),
)


class Guard:
    """Middleware that stands before all routes.

    Args:
        app: the application behind it.
        hosts: the hosts that requests may name.
        origins: the origins from which browsers may send requests.
        loopback_only: refuse what arrives at another address of this machine than loopback, unless a parent application
            has authenticated the client.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Origins, *, loopback_only: bool = False) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why it is refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "http":
            send = functools.partial(_send_secured, send)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        hosts: list[bytes] = []
        origins: list[bytes] = []
        sites: list[bytes] = []
        for name, value in scope["headers"]:
            if name in _READ:
                (hosts if name == _HOST else origins if name == _ORIGIN else sites).append(value)
        path = path_of(scope)
        if self._loopback_only and PRINCIPAL not in scope and _is_exposed(scope):
            return _EXPOSED
        if not self._hosts.allows(hosts, path):
            return _WRONG_HOST
        host = hosts[0] if hosts else b""
        is_allowed = self._origins.allows(scope, host, origins, sites)
        return None if is_allowed else _WRONG_ORIGIN


async def internal_server_error(_request: Request, _error: Exception) -> Response:
    """Return the answer to a request that failed, which no middleware sees. The server logs the error."""
    response = _json(500, "Internal server error")
    response.raw_headers += SECURITY_HEADERS
    return response


def without_slash(router: Router) -> ASGIApp:
    """Return the endpoint of paths that have no route, which redirects those that only have a slash too many.

    Starlette's own redirect has the host of the request, which comes from the client.
    """

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/")
        is_too_long = scope["type"] == "http" and path != scope["path"]
        if is_too_long and any(route.matches({**scope, "path": path})[0] is not Match.NONE for route in router.routes):
            query = scope["query_string"].decode("latin-1")
            response = RedirectResponse(f"{quote(path)}?{query}".removesuffix("?"))
            await response(scope, receive, send)
        else:
            await router.not_found(scope, receive, send)

    return endpoint


async def _send_secured(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = list(message.get("headers", ()))
        names = {name for name, _ in headers}
        message["headers"] = headers + [header for header in SECURITY_HEADERS if header[0] not in names]
    await send(message)


async def _refuse(refusal: tuple[int, str], scope: Scope, receive: Receive, send: Send) -> None:
    status, reason = refusal
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
        return
    await _json(status, reason)(scope, receive, send)


def _json(status: int, message: str) -> Response:
    return Response(encode({"errors": [{"message": message}]}), status, media_type="application/json")


def _is_exposed(scope: Scope) -> bool:
    server: Any = scope.get("server")
    # A Unix socket has a path, and no port.
    return server is not None and server[1] is not None and _is_other_address(server[0])


@functools.lru_cache(16)
def _is_other_address(address: str) -> bool:
    try:
        return not is_loopback(address)
    except ValueError:
        return False
