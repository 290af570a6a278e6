"""The API tokens in MongoDB: reads and writes of their collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo import ReadPreference
from pymongo.errors import DuplicateKeyError

from gql_api.api.store.limiter import limited
from gql_api.api.store.tasks import TaskStore
from gql_api.registry import api_tokens
from gql_api.registry.api_tokens import StoredToken


class TokenStore:
    """The stored API tokens.

    Args:
        store: the MongoDB of the API.
    """

    def __init__(self, store: TaskStore) -> None:
        self.limiter = store.limiter
        # Whatever MONGODB_URL says: a secondary may not know yet that a token is revoked.
        self._tokens = store.database.get_collection(api_tokens.COLLECTION, read_preference=ReadPreference.PRIMARY)

    @limited
    async def create(self, token: StoredToken) -> None:
        """Store a new token. A driver that retries the insert may have stored it already."""
        try:
            await self._tokens.insert_one(api_tokens.document_of(token))
        except DuplicateKeyError:
            stored = await self._tokens.find_one(api_tokens.by_ids([token.id]))
            if stored is None or api_tokens.token_from(stored).hash != token.hash:
                raise

    @limited
    async def read(self, ids: list[str]) -> list[StoredToken | None]:
        """Read tokens, in the order of their ids, with None for each unknown one."""
        documents = await self._tokens.find(api_tokens.by_ids(sorted(set(ids)))).to_list()
        found = {token.id: token for token in map(api_tokens.token_from, documents)}
        return [found.get(id_) for id_ in ids]

    @limited
    async def valid(self, ids: Sequence[str]) -> set[str]:
        """Return those of some ids whose tokens exist and are not revoked."""
        documents = await self._tokens.find(api_tokens.not_revoked(ids), api_tokens.ID_ONLY).to_list()
        return set(map(api_tokens.id_of, documents))

    @limited
    async def page(self, tenant: str | None, size: int, after: tuple[datetime, str] | None) -> list[StoredToken]:
        """Read the tokens of a tenant, or of all, the newest first."""
        found = self._tokens.find(api_tokens.page(tenant, after)).sort(api_tokens.newest_first()).limit(size)
        return [api_tokens.token_from(document) async for document in found]

    @limited
    async def revoke(self, id_: str, tenant: str | None, by: str | None) -> StoredToken | None:
        """Revoke a token, of one tenant or of any tenant, and return the stored token; None for an unknown id."""
        filter_, update = api_tokens.revoke(id_, tenant, by)
        await self._tokens.update_one(filter_, update)
        document = await self._tokens.find_one(filter_)
        return None if document is None else api_tokens.token_from(document)

    @limited
    async def note_use(self, times: Mapping[str, datetime]) -> None:
        """Store when tokens were last used."""
        await self._tokens.bulk_write(api_tokens.used(times), ordered=False)
