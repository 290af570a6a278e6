"""The authenticator of an application: it asks the verifiers of its kinds of tokens who calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.api.errors import UNAUTHENTICATED, ClientError


class UnauthenticatedError(ClientError):
    """An error of a request without a token that the API accepts. The message does not say what is wrong with one."""

    def __init__(self, message: str = "The request needs a valid token") -> None:
        super().__init__(message, UNAUTHENTICATED)


class TokenVerifier(Protocol):
    """A verifier of one kind of tokens."""

    def recognises(self, token: str) -> bool:
        """Return whether a token is of this kind, from its form alone."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: the token is not valid.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
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
    """

    is_required = True

    def __init__(self, verifiers: Sequence[TokenVerifier]) -> None:
        self._verifiers = verifiers

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal of a request.

        Raises:
            UnauthenticatedError: there is no valid token.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError
        return await self._verify(token.strip())

    async def _verify(self, token: str) -> Principal:
        for verifier in self._verifiers:
            if verifier.recognises(token):
                return await verifier.verify(token)
        raise UnauthenticatedError
