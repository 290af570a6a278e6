"""The authentication of WebSockets: by the Authorization header of the handshake, or by connection_init.

Browsers can send no header with a handshake, so their clients send the token in connection_init. A token in the URL is
never read, for URLs are logged.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import GraphQLError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gql_api.access.principal import NOBODY, Principal
from gql_api.api.authentication.authenticator import Authenticator, Refusal, UnauthenticatedError, headers_of
from gql_api.api.context import PRINCIPAL
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.masking import masked
from gql_api.api.websocket.transport import TRY_AGAIN_LATER
from gql_api.telemetry.counters import AUTHENTICATION_FAILURES

_AUTHORIZATION = "authorization"
# The keys of connection_init, in lower case, whose value is a token without its scheme.
_TOKEN_KEYS = ("token", "authtoken")
# RFC 6750, 3.
_CHALLENGE = 'Bearer error="invalid_token"'
_POLICY_VIOLATION, _FORBIDDEN = 1008, 4403


class SocketRefusal(NamedTuple):
    """The close of a socket whose client was not let in: code and reason."""

    code: int
    reason: str


class ConflictingTokensError(UnauthenticatedError):
    """An error of a connection that has two different tokens."""

    def __init__(self) -> None:
        super().__init__("The connection has two different tokens", Refusal.CONFLICT)


async def admits_handshake(scope: Scope, receive: Receive, send: Send, authenticator: Authenticator) -> bool:
    """Authenticate a handshake, and return whether it may go on; a refused one is answered.

    One without a token may go on: connection_init has to bring it. A parent application may have authenticated the
    client already.
    """
    if PRINCIPAL in scope or not authenticator.is_required:
        return True
    try:
        scope[PRINCIPAL] = await authenticator.by_headers(headers_of(scope["headers"]))
    except UnauthenticatedError as error:
        if _AUTHORIZATION not in Headers(scope=scope):
            scope[PRINCIPAL] = NOBODY
            return True
        _count_failure(error)
        await _refuse(
            Response(_body(error), 401, {"WWW-Authenticate": _CHALLENGE}, "application/json"), scope, receive, send
        )
    except Exception as error:  # noqa: BLE001 - _count_failure logs it
        response = Response(_body(_count_failure(error)), 503, {"Retry-After": "1"}, "application/json")
        await _refuse(response, scope, receive, send)
    else:
        return True
    return False


async def by_init(
    payload: Mapping[str, Any] | None, headers: Headers, principal: Principal, authenticator: Authenticator
) -> Principal | SocketRefusal:
    """Return the principal of a socket whose client has sent connection_init, or why the socket is closed.

    Args:
        payload: the payload of the message.
        headers: the headers of the handshake.
        principal: the principal of the handshake.
        authenticator: the authenticator of the API.
    """
    if not authenticator.is_required:
        return principal
    try:
        return await _verified(payload or {}, headers, principal, authenticator)
    except UnauthenticatedError as error:
        _count_failure(error)
        return SocketRefusal(_FORBIDDEN, error.message if isinstance(error, ConflictingTokensError) else "Forbidden")
    except Exception as error:  # noqa: BLE001 - _count_failure logs it
        _count_failure(error)
        return SocketRefusal(TRY_AGAIN_LATER, "Try again later")


async def _verified(
    payload: Mapping[str, Any], headers: Headers, principal: Principal, authenticator: Authenticator
) -> Principal:
    given = _authorization(payload)
    if given is None:
        if principal is NOBODY:
            raise UnauthenticatedError(reason=Refusal.MISSING)
        return principal
    of_handshake = headers.get(_AUTHORIZATION)
    if of_handshake is not None:
        if not _are_equal(of_handshake, given):
            raise ConflictingTokensError
        return principal
    verified = await authenticator.by_headers({**headers_of(headers.raw), _AUTHORIZATION: given})
    # The authenticator of a deployment may know the client by another header of the handshake.
    if principal is not NOBODY and _identity(principal) != _identity(verified):
        raise ConflictingTokensError
    return verified


def _count_failure(error: Exception) -> GraphQLError:
    """Count a failed authentication, log an unexpected error, and return what the client may see."""
    reason = error.reason if isinstance(error, UnauthenticatedError) else "unavailable"
    AUTHENTICATION_FAILURES.labels(reason).inc()
    (visible,) = masked([error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)])
    return visible


def _authorization(payload: Mapping[str, Any]) -> str | None:
    """Return the value of an Authorization header for the token of connection_init, or None without a token."""
    given = _given(payload)
    if not all(isinstance(value, str) for value in given.values()):
        raise UnauthenticatedError
    found = [value if name == _AUTHORIZATION else f"Bearer {value}" for name, value in given.items()]
    if any(not _are_equal(found[0], other) for other in found[1:]):
        raise ConflictingTokensError
    return found[0] if found else None


def _given(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of connection_init that are tokens; a client without a token may send an empty one."""
    named = {name.lower(): value for name, value in payload.items() if value}
    return {name: named[name] for name in (_AUTHORIZATION, *_TOKEN_KEYS) if name in named}


def _are_equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_normal(one), _normal(other))


def _normal(authorization: str) -> bytes:
    scheme, _, token = authorization.strip().partition(" ")
    return f"{scheme.lower()} {token.strip()}".encode("utf-8", "surrogatepass")


def _identity(principal: Principal) -> object:
    return principal.subject, principal.tenant, principal.audience, principal.restrictions


def _body(error: GraphQLError) -> bytes:
    return encode({"errors": [error.formatted]})


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
