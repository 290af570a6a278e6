"""The authenticator of an application: it asks the verifiers of its kinds of tokens who calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.api.errors import UNAUTHENTICATED, UNAVAILABLE, ClientError

_AUTHORIZATION = "authorization"
# RFC 6750, 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Servers limit headers too, but a token may also come in a message of a WebSocket.
_MAX_TOKEN_LENGTH = 16 * 1024


class Refusal(StrEnum):
    """A reason for which authentication fails: a label of the counter, and not for clients."""

    MISSING = "missing"
    INVALID = "invalid"
    EXPIRED = "expired"
    CONFLICT = "conflict"


class UnauthenticatedError(ClientError):
    """An error of a request without a token that the API accepts. The message does not say what is wrong with one."""

    def __init__(self, message: str = "The request needs a valid token", reason: Refusal = Refusal.INVALID) -> None:
        super().__init__(message, UNAUTHENTICATED)
        self.reason = reason


class AuthenticationUnavailableError(ClientError):
    """An error of a request while nobody can be authenticated: nothing is known about its token."""

    def __init__(self) -> None:
        super().__init__("The API cannot verify tokens at the moment, try again later", UNAVAILABLE)


class TokenVerifier(Protocol):
    """A verifier of one kind of tokens."""

    def recognises(self, token: str) -> bool:
        """Return whether a token is of this kind, from its form alone."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: the token is not valid.
            AuthenticationUnavailableError: nothing is known about the token.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """


class RequestVerifier(Protocol):
    """A verifier of requests that have no token of a known kind."""

    async def verify(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal of a request.

        Raises:
            UnauthenticatedError: the request is not accepted.
            AuthenticationUnavailableError: nothing is known about the request.
        """


class Revocations(Protocol):
    """The revocations of tokens that are in use."""

    def watch(self, token_id: str, on_revoked: Callable[[], None]) -> Callable[[], None]:
        """Call a function once when a token is revoked, within two seconds; return the function that ends the watch."""


class Authenticator(Protocol):
    """An authenticator of requests and connections."""

    @property
    def is_required(self) -> bool:
        """False if the API has no authentication, and everybody may do everything."""

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal of a request, from its headers, whose names are in lower case.

        Raises:
            UnauthenticatedError: there is no valid token.
            AuthenticationUnavailableError: nothing is known about the token.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """


class NoAuthentication:
    """The authenticator of an API without authentication."""

    is_required = False

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:  # noqa: ARG002 - the interface
        """Return the principal that may do everything."""
        return ANONYMOUS


class TokenAuthentication:
    """An authenticator by bearer tokens, in the Authorization header.

    Args:
        verifiers: the verifiers of the kinds of tokens that the API accepts. The first that recognises one decides.
        otherwise: the verifier of requests whose token none of them recognises, and of those without one.
    """

    is_required = True

    def __init__(self, verifiers: Sequence[TokenVerifier], otherwise: RequestVerifier | None = None) -> None:
        self._verifiers = verifiers
        self._otherwise = otherwise

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal of a request.

        Raises:
            UnauthenticatedError: there is no valid token.
            AuthenticationUnavailableError: nothing is known about the token.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """
        authorization = headers.get(_AUTHORIZATION, "")
        scheme, _, token = authorization.partition(" ")
        token = token.strip(" ") if scheme.lower() == "bearer" else ""
        if token and len(token) <= _MAX_TOKEN_LENGTH and _TOKEN.fullmatch(token):
            for verifier in self._verifiers:
                if verifier.recognises(token):
                    return await verifier.verify(token)
        if self._otherwise is not None:
            return await self._otherwise.verify(headers)
        raise UnauthenticatedError(reason=Refusal.INVALID if authorization else Refusal.MISSING)


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of a request, from those of its ASGI scope. The lines of one name are joined by commas.

    Raises:
        UnauthenticatedError: there are several Authorization headers, of which a proxy may have read another one.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name == _AUTHORIZATION:
            raise UnauthenticatedError("The request must have one Authorization header", Refusal.CONFLICT)
        else:
            headers[name] += f"{'; ' if name == 'cookie' else ', '}{value}"
    return headers
