"""The verifier of JSON Web Tokens (RFC 7519), which an issuer outside this API signs."""

from __future__ import annotations

import logging
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from gql_api.access.principal import Principal
from gql_api.api.authentication.authenticator import Refusal, UnauthenticatedError
from gql_api.api.authentication.claims import Claims, ClaimsError
from gql_api.api.authentication.jwks import Keys
from gql_api.api.authentication.token_cache import TokenCache
from gql_api.settings import Settings

logger = logging.getLogger(__name__)

_DOTS = 2
# RFC 9068 has a type of its own for access tokens.
_TYPES = frozenset({"jwt", "at+jwt"})
_KEY_ID_LENGTH = 256


class JsonWebTokens:
    """The verifier of JSON Web Tokens.

    Args:
        settings: the issuer, the audience and the meaning of the claims.
        keys: the keys of the issuer.
        cache: the principals of tokens that were verified before.
    """

    def __init__(self, settings: Settings, keys: Keys, cache: TokenCache) -> None:
        self._keys = keys
        self._claims = Claims(settings)
        self._cache = cache
        self._algorithms = list(settings.token_algorithms)
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._leeway = settings.jwt_leeway_seconds

    def recognises(self, token: str) -> bool:
        """Return whether a token has the three parts of a signed one."""
        return token.count(".") == _DOTS

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: the token is not valid.
            AuthenticationUnavailableError: the keys of its issuer are not known.
        """
        cached = self._cache.get(token)
        if cached is not None:
            return cached
        try:
            principal = self._claims.principal(await self._verified(token))
        except ExpiredSignatureError:
            raise UnauthenticatedError(reason=Refusal.EXPIRED) from None
        except (PyJWTError, ValueError) as error:
            # PyJWT's own messages, and those of the claims, have nothing of the token's content.
            logger.debug("A token is refused: %s", error)
            raise UnauthenticatedError from None
        self._cache.put(token, principal)
        return principal

    async def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims of a token.

        Raises:
            PyJWTError: it is not valid.
            ClaimsError: its header is not acceptable.
        """
        header = jwt.get_unverified_header(token)
        _check_header(header)
        algorithm: str = header.get("alg", "")
        if algorithm not in self._algorithms:
            raise ClaimsError("the algorithm is not allowed")
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise ClaimsError("the key is not known")
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],  # one of those that the settings allow, and never both kinds
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"require": ["exp"], "enforce_minimum_key_length": True},
        )


def _check_header(header: dict[str, Any]) -> None:
    """Check what PyJWT does not: the type, and that the token needs no extension."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise ClaimsError("the type is not that of an access token")
    if "crit" in header or "b64" in header:
        raise ClaimsError("the token needs an extension")
    if not isinstance(header.get("alg"), str) or len(header.get("kid", "")) > _KEY_ID_LENGTH:
        raise ClaimsError("the header is malformed")
