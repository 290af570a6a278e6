"""A cache of the principals of verified tokens, because clients send the same token with each request."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gql_api.access.principal import Principal


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    until: float


class TokenCache:
    """A bounded cache, keyed by the hashes of tokens: the process keeps no token.

    Args:
        max_count: the number of principals that it keeps. The one that was used least recently makes room.
        max_seconds: the longest time for which it keeps one.
        clock: the time, in seconds since the epoch.
    """

    def __init__(
        self, max_count: int = 4096, max_seconds: float = 300.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._max_count = max_count
        self._max_seconds = max_seconds
        self._clock = clock

    def get(self, token: str) -> Principal | None:
        """Return the principal of a token that was verified a short time ago and has not expired."""
        key = _key(token)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.principal

    def put(self, token: str, principal: Principal) -> None:
        """Keep the principal of a verified token, at the longest until the token expires."""
        until = self._clock() + self._max_seconds
        if principal.expires_at is not None:
            until = min(until, principal.expires_at.timestamp())
        key = _key(token)
        self._entries[key] = _Entry(principal, until)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_count:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all principals."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
