"""Access tokens: JSON Web Tokens that the API itself signs. They carry their grant, so that MongoDB need not know them.

The keys are derived from ACCESS_SECRET for this purpose alone. It may list two secrets while it is changed: the first
signs, both verify.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt

from gql_api.access.grants import Grant, read_grant
from gql_api.access.principal import Principal

PREFIX = "gqa_"
MAX_BYTES = 4096

_ALGORITHM = "HS256"
_TYPE = "gql-api-access+jwt"
_ISSUER = "gql-api"
_PURPOSE = b"gql-api access token"
_KEY_ID_LENGTH = 16
_ID_BYTES = 12
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "jti", "grant"]


class InvalidAccessTokenError(ValueError):
    """The token was not signed by this deployment, or has expired."""


class OversizedTokenError(ValueError):
    """An access token that servers and proxies may refuse as a header. ``size`` is its size in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the token would have {size} bytes, at most {MAX_BYTES} fit into a header")
        self.size = size


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A new access token, with its id, and when it expires."""

    id: str
    text: str = field(repr=False)
    expires_at: datetime


class AccessTokenSigner:
    """The signer and verifier of the access tokens of a deployment.

    Args:
        access_secrets: the secrets in ACCESS_SECRET; the first signs, and all verify.
        audience: the name of the deployment. Tokens of another one with the same secret are not valid.
    """

    def __init__(self, access_secrets: Sequence[str], audience: str) -> None:
        keys = [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in access_secrets]
        self._keys = {hashlib.sha256(key).hexdigest()[:_KEY_ID_LENGTH]: key for key in keys}
        self._audience = audience

    def sign(
        self, subject: str, tenant: str | None, grant: Grant, expires_at: datetime, root: str | None
    ) -> AccessToken:
        """Sign a token.

        Args:
            subject: who its holder is.
            tenant: the tenant of the subject.
            grant: what it allows.
            expires_at: when it expires; whole seconds count.
            root: the id of the token that it was made with, directly or not; that one's revocation ends it.

        Raises:
            OversizedTokenError: its filter, names or metadata are too large.
        """
        expiry = expires_at.replace(microsecond=0)
        id_ = f"{PREFIX}{secrets.token_hex(_ID_BYTES)}"
        claims: dict[str, Any] = {
            "iss": _ISSUER,
            "aud": self._audience,
            "sub": subject,
            "iat": datetime.now(UTC),
            "exp": expiry,
            "jti": id_,
            "grant": grant.as_json(),
            **({} if tenant is None else {"tenant": tenant}),
            **({} if root is None else {"root": root}),
        }
        key_id, key = next(iter(self._keys.items()))
        text = jwt.encode(claims, key, _ALGORITHM, {"typ": _TYPE, "kid": key_id})
        if len(text) > MAX_BYTES:
            raise OversizedTokenError(len(text))
        return AccessToken(id_, text, expiry)

    def principal_of(self, token: str) -> Principal:
        """Return the principal of a token, whose ``token_id`` is that of the root.

        Raises:
            InvalidAccessTokenError: it is not valid. The message does not say why.
        """
        try:
            key = self._keys[_header_of(token)["kid"]]
            # Its own clock decides on ``exp``; that of the process which signed it may be a little ahead of ``iat``.
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=_ISSUER,
                options={"require": _REQUIRED, "verify_iat": False},
            )
            grant = read_grant(claims["grant"])
        except (jwt.InvalidTokenError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise InvalidAccessTokenError("the access token is not valid") from error
        return Principal(
            subject=claims["sub"],
            scopes=grant.scopes,
            tenant=claims.get("tenant"),
            filter=grant.filter,
            restrictions=grant.restrictions,
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            token_id=claims.get("root", claims["jti"]),
        )


def is_access_token(token: str) -> bool:
    """Return whether a text has the form of an access token, valid or not."""
    return len(token) <= MAX_BYTES and _header_of(token).get("typ") == _TYPE


def _header_of(token: str) -> Mapping[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return {}
