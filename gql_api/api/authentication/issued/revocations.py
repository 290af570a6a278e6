"""The revocations of tokens that connections use: the API asks MongoDB about all of them about once a second."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from pymongo.errors import PyMongoError

from gql_api.access.api_tokens import PREFIX
from gql_api.api.authentication.issued.token_store import TokenStore

logger = logging.getLogger(__name__)

# With the time that a read takes, a revocation is known within two seconds.
_MIN_SECONDS, _MAX_SECONDS = 0.7, 1.0
_MAX_IDS = 1000


class PolledRevocations:
    """The revocations of tokens that are in use. While MongoDB does not answer, no token counts as revoked.

    Args:
        store: the stored tokens.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._watches: dict[str, set[_Watch]] = {}
        self._is_watched = asyncio.Event()
        self._is_away = False

    def watch(self, token_id: str, on_revoked: Callable[[], None]) -> Callable[[], None]:
        """Call a function once when a token is revoked, within two seconds; return the function that ends the watch.

        Only API tokens can be revoked; an access token has the id of the API token that it was made with.
        """
        watch = _Watch(on_revoked)
        if not token_id.startswith(PREFIX):
            return watch.end
        self._watches.setdefault(token_id, set()).add(watch)
        self._is_watched.set()

        def end() -> None:
            watch.end()
            watches = self._watches.get(token_id, set())
            watches.discard(watch)
            if not watches:
                self._watches.pop(token_id, None)

        return end

    async def run(self) -> None:
        """Ask MongoDB about the watched tokens until this is cancelled; not while there are none."""
        while True:
            await self._is_watched.wait()
            # Processes that started together do not ask together.
            await asyncio.sleep(random.uniform(_MIN_SECONDS, _MAX_SECONDS))  # noqa: S311 - jitter
            await self._check([*self._watches])
            if not self._watches:
                self._is_watched.clear()

    async def _check(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _MAX_IDS):
            some = ids[start : start + _MAX_IDS]
            try:
                valid = await self._store.valid(some)
            except PyMongoError as error:
                if not self._is_away:
                    logger.warning("MongoDB does not answer, revocations of tokens are found later: %s", error)
                self._is_away = True
                return
            self._is_away = False
            for id_ in some:
                if id_ not in valid:
                    self._revoke(id_)

    def _revoke(self, id_: str) -> None:
        for watch in self._watches.pop(id_, set()):
            watch.call()


class _Watch:
    def __init__(self, on_revoked: Callable[[], None]) -> None:
        self._on_revoked: Callable[[], None] | None = on_revoked

    def call(self) -> None:
        on_revoked, self._on_revoked = self._on_revoked, None
        if on_revoked is None:
            return
        try:
            on_revoked()
        except Exception:
            logger.exception("A connection did not end with its token")

    def end(self) -> None:
        self._on_revoked = None
