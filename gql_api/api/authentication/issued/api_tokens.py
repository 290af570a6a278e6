"""The verifier of API tokens, which MongoDB stores as hashes."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from pymongo.errors import PyMongoError

from gql_api.access.api_tokens import PREFIX, ApiToken
from gql_api.access.grants import read_grant
from gql_api.access.principal import Principal
from gql_api.aio.batching import BatchedReads
from gql_api.api.authentication.authenticator import UnauthenticatedError
from gql_api.api.authentication.issued.bounded_cache import BoundedCache
from gql_api.api.authentication.issued.token_store import TokenStore
from gql_api.registry.api_tokens import StoredToken

logger = logging.getLogger(__name__)

# With the time that a read takes, a revoked token is refused within two seconds.
_KNOWN_SECONDS = 1.0
_KNOWN_TOKENS = 10_000
# Ids are random: one that is not known does not become known.
_UNKNOWN_SECONDS = 60.0
_UNKNOWN_TOKENS = 50_000
_USE_SECONDS = 60.0
_FLUSH_SECONDS = 5.0


class _Known:
    """A stored token with its principal, which is made once: requests of one token share its compiled visibility."""

    def __init__(self, token: StoredToken) -> None:
        self.token = token
        self.principal = _principal_of(token)

    def is_valid(self) -> bool:
        """Return whether the token is neither revoked nor expired."""
        token = self.token
        return token.revoked_at is None and (token.expires_at is None or token.expires_at > datetime.now(UTC))


class ApiTokens:
    """A verifier of API tokens. Reads of MongoDB that arrive together are one query, and are cached for a second.

    Args:
        store: the stored tokens.
        use_seconds: the shortest time between two writes of the last use of one token.
        flush_seconds: the time between two writes of last uses.
    """

    def __init__(
        self, store: TokenStore, use_seconds: float = _USE_SECONDS, flush_seconds: float = _FLUSH_SECONDS
    ) -> None:
        self._store = store
        self._use_seconds = use_seconds
        self._flush_seconds = flush_seconds
        self._reads: BatchedReads[str, StoredToken | None] = BatchedReads(store.read)
        self._known: BoundedCache[_Known] = BoundedCache(_KNOWN_TOKENS, _KNOWN_SECONDS)
        self._unknown: BoundedCache[bool] = BoundedCache(_UNKNOWN_TOKENS, _UNKNOWN_SECONDS)
        self._noted: BoundedCache[bool] = BoundedCache(_KNOWN_TOKENS, use_seconds)
        self._used: dict[str, datetime] = {}

    def recognises(self, token: str) -> bool:
        """Return whether a token begins like an API token: a mistyped one is refused by this verifier."""
        return token.startswith(PREFIX)

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            UnauthenticatedError: the token is not valid.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """
        parsed = ApiToken.parse(token)
        known = None if parsed is None else await self._read(parsed.id)
        if parsed is None or known is None or not parsed.has_hash(known.token.hash) or not known.is_valid():
            raise UnauthenticatedError
        self._note_use(parsed.id)
        return known.principal

    async def check_root(self, token_id: str) -> None:
        """Check that a token with which an access token was made is still valid.

        Raises:
            UnauthenticatedError: it is not.
            PyMongoError: MongoDB did not answer, so that nothing is known about the token.
        """
        known = await self._read(token_id)
        if known is None or not known.is_valid():
            raise UnauthenticatedError
        self._note_use(token_id)

    async def run(self) -> None:
        """Write the last uses of tokens until this is cancelled. While MongoDB is away they are kept, up to a bound."""
        while True:
            await asyncio.sleep(self._flush_seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write the last uses of tokens that are not written yet."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._store.note_use(used)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the last use of API tokens is stored later: %s", error)
            self._used = {**used, **self._used}

    async def _read(self, id_: str) -> _Known | None:
        if (known := self._known.get(id_)) is not None:
            return known
        if self._unknown.get(id_):
            return None
        since = time.monotonic()
        stored = await self._reads.load(id_)
        if stored is None:
            self._unknown.put(id_, value=True, since=since)
            return None
        try:
            known = _Known(stored)
        except ValueError as error:
            logger.warning("The API token %s is refused: %s", id_, error)
            self._unknown.put(id_, value=True, since=since)
            return None
        self._known.put(id_, known, since)
        return known

    def _note_use(self, id_: str) -> None:
        if self._noted.get(id_) is None and len(self._used) < _KNOWN_TOKENS:
            self._noted.put(id_, value=True, since=time.monotonic())
            self._used[id_] = datetime.now(UTC)


def _principal_of(token: StoredToken) -> Principal:
    grant = read_grant(token.grant)
    return Principal(
        subject=token.subject,
        scopes=grant.scopes,
        tenant=token.tenant,
        filter=grant.filter,
        restrictions=grant.restrictions,
        expires_at=token.expires_at,
        token_id=token.id,
    )
