"""The verifier of access tokens, which the API signs itself."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime

from gql_api.access import api_tokens
from gql_api.access.access_tokens import AccessTokenSigner, InvalidAccessTokenError, is_access_token
from gql_api.access.principal import Principal
from gql_api.api.authentication.authenticator import UnauthenticatedError
from gql_api.api.authentication.issued.api_tokens import ApiTokens
from gql_api.api.authentication.issued.bounded_cache import BoundedCache

_CACHED_TOKENS = 10_000
_CACHED_SECONDS = 60.0


class AccessTokens:
    """A verifier of access tokens. One that was made with an API token ends with the revocation of that.

    Args:
        signer: the keys.
        tokens: the API tokens.
    """

    def __init__(self, signer: AccessTokenSigner, tokens: ApiTokens) -> None:
        self._signer = signer
        self._tokens = tokens
        # Requests of one token share its principal, with its compiled visibility.
        self._principals: BoundedCache[Principal] = BoundedCache(_CACHED_TOKENS, _CACHED_SECONDS)

    def recognises(self, token: str) -> bool:
        """Return whether a token has the form of an access token."""
        return is_access_token(token)

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: the token is not valid.
            PyMongoError: MongoDB did not answer, so that nothing is known about the API token behind it.
        """
        principal = self._principal_of(token)
        root = principal.token_id or ""
        if root.startswith(api_tokens.PREFIX):
            await self._tokens.check_root(root)
        return principal

    def _principal_of(self, token: str) -> Principal:
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        principal = self._principals.get(digest)
        if principal is None:
            try:
                principal = self._signer.principal_of(token)
            except InvalidAccessTokenError:
                raise UnauthenticatedError from None
            self._principals.put(digest, principal, time.monotonic())
        elif principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
            raise UnauthenticatedError
        return principal
