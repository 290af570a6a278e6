"""The tokens that the API issues to its callers: never wider than the caller's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gql_api import values
from gql_api.access import access_tokens, api_tokens
from gql_api.access.access_tokens import AccessToken, AccessTokenSigner, OversizedTokenError
from gql_api.access.grants import Grant
from gql_api.access.narrowing import GrantInput, narrowed
from gql_api.access.new_tokens import NewToken
from gql_api.access.principal import Principal, Scope
from gql_api.api.authentication.issued.token_store import TokenStore
from gql_api.api.errors import FORBIDDEN, ClientError, MutationRefusedError, TaskErrorCode
from gql_api.registry.api_tokens import StoredToken
from gql_api.settings import Settings
from gql_api.values import InvalidValueError, Problem


class TokenIssuer:
    """The commands on tokens.

    Args:
        settings: the limits.
        signer: signs access tokens; None without ACCESS_SECRET.
        store: the stored API tokens.
    """

    def __init__(self, settings: Settings, signer: AccessTokenSigner | None, store: TokenStore) -> None:
        self._settings = settings
        self._signer = signer
        self._store = store

    def create_access_token(self, asked: GrantInput, expires_in_seconds: int, principal: Principal) -> AccessToken:
        """Sign a short-lived token. It expires with the caller's own at the latest.

        Raises:
            MutationRefusedError: the caller asked for more than it has, or for something invalid.
            ClientError: the deployment issues no access tokens, or has no authentication.
        """
        subject = _subject_of(principal, "createAccessToken")
        if self._signer is None:
            raise ClientError("createAccessToken needs the setting ACCESS_SECRET of the API", FORBIDDEN)
        try:
            _check_seconds(expires_in_seconds, self._settings.access_token_max_seconds)
            grant = narrowed(Grant.of(principal), asked, self._settings)
            expiry = datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
            if principal.expires_at is not None:
                expiry = min(expiry, principal.expires_at)
            root = principal.token_id if _is_ours(principal) else None
            return self._signer.sign(subject, principal.tenant, grant, expiry, root)
        except InvalidValueError as error:
            raise MutationRefusedError.for_problems(error.problems, "input") from None
        except OversizedTokenError as error:
            message = f"input: {error}; use a smaller filter, fewer names or less metadata"
            raise MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "input") from None

    async def create_api_token(self, new: NewToken, asked: GrantInput, principal: Principal) -> tuple[StoredToken, str]:
        """Make an API token and store its hash; return it as stored, and the token itself.

        A token of the API's own, unlike an administrator who logged in elsewhere, makes none that expires later: the
        holder of a stolen one would otherwise keep access.

        Raises:
            MutationRefusedError: the caller asked for more than it has, or for something invalid.
            ClientError: the caller is no administrator.
        """
        _check_admin(principal, "createApiToken")
        tenant = new.tenant if principal.tenant is None or new.tenant is not None else principal.tenant
        new = NewToken(new.name, new.subject, tenant, new.expires_in_seconds)
        try:
            new.check()
            _check_tenant(tenant, principal)
            grant = narrowed(Grant.of(principal), asked, self._settings)
        except InvalidValueError as error:
            raise MutationRefusedError.for_problems(error.problems, "input") from None
        latest = principal.expires_at if _is_ours(principal) else None
        token, stored = new.make(grant, principal.subject, latest)
        await self._store.create(stored)
        return stored, token.text

    async def revoke_api_token(self, id_: str, principal: Principal) -> StoredToken:
        """Revoke an API token of the caller's tenant.

        Raises:
            MutationRefusedError: there is no such token.
            ClientError: the caller is no administrator, or its token has a filter.
        """
        _check_admin(principal, "revokeApiToken")
        _check_not_narrowed(principal, "revokeApiToken")
        is_text = values.is_text(id_)
        revoked = await self._store.revoke(id_, principal.tenant, principal.subject) if is_text else None
        if revoked is None:
            raise MutationRefusedError.because(TaskErrorCode.NOT_FOUND, f"No API token with id {id_!a}", "id")
        return revoked

    async def api_tokens(
        self, size: int, after: tuple[datetime, str] | None, principal: Principal
    ) -> list[StoredToken]:
        """Read the API tokens of the caller's tenant, the newest first.

        Raises:
            ClientError: the caller is no administrator, or its token has a filter.
        """
        _check_admin(principal, "apiTokens")
        _check_not_narrowed(principal, "apiTokens")
        return await self._store.page(principal.tenant, size, after)


def _check_seconds(seconds: int, longest: int) -> None:
    if not 1 <= seconds <= longest:
        raise InvalidValueError(Problem(("expiresInSeconds",), f"must be from 1 to {longest}, got {seconds}"))


def _check_tenant(tenant: str | None, principal: Principal) -> None:
    if principal.tenant not in (None, tenant):
        raise InvalidValueError(Problem(("tenant",), "must be your own, or left out"))


def _is_ours(principal: Principal) -> bool:
    return (principal.token_id or "").startswith((api_tokens.PREFIX, access_tokens.PREFIX))


def _subject_of(principal: Principal, field: str) -> str:
    if principal.subject is None:
        raise ClientError(f"{field} needs a caller with a token, and this API has no authentication", FORBIDDEN)
    return principal.subject


def _check_admin(principal: Principal, field: str) -> None:
    _subject_of(principal, field)
    if not principal.has(Scope.ADMIN):
        raise ClientError(f"{field} needs the scope ADMIN", FORBIDDEN)


def _check_not_narrowed(principal: Principal, field: str) -> None:
    if principal.filter is not None:
        raise ClientError(f"{field}: a token with a filter cannot manage the tokens of others", FORBIDDEN)
