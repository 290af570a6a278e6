"""The tokens that the API issues itself, opened together: their verifiers, their issuer and their revocations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gql_api.access.access_tokens import AccessTokenSigner
from gql_api.aio.background import background
from gql_api.api.authentication.authenticator import Revocations, TokenVerifier
from gql_api.api.authentication.issued.access_tokens import AccessTokens
from gql_api.api.authentication.issued.api_tokens import ApiTokens
from gql_api.api.authentication.issued.issuing import TokenIssuer
from gql_api.api.authentication.issued.revocations import PolledRevocations
from gql_api.api.authentication.issued.token_store import TokenStore
from gql_api.api.store.tasks import TaskStore
from gql_api.settings import Settings


@dataclass(frozen=True)
class IssuedTokens:
    """The tokens that the API issues itself.

    Attributes:
        verifiers: the verifiers of both kinds; that of access tokens only with ACCESS_SECRET.
        issuer: the commands on tokens.
        revocations: the revocations of tokens that connections use.
    """

    verifiers: Sequence[TokenVerifier]
    issuer: TokenIssuer
    revocations: Revocations

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, store: TaskStore) -> AsyncIterator[IssuedTokens]:
        """Open them for as long as the block lasts. Without tokens and connections nothing reads MongoDB."""
        token_store = TokenStore(store)
        api_tokens = ApiTokens(token_store)
        verifiers: list[TokenVerifier] = [api_tokens]
        signer = None
        if settings.access_secrets:
            signer = AccessTokenSigner(settings.access_secrets, settings.mongodb_database)
            verifiers.append(AccessTokens(signer, api_tokens))
        revocations = PolledRevocations(token_store)
        async with background(api_tokens.run, revocations.run):
            yield cls(verifiers, TokenIssuer(settings, signer, token_store), revocations)
