"""A cache of what was found out about tokens, for a short time and bounded in number."""

from __future__ import annotations

import time
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    value: V
    until: float


class BoundedCache(Generic[V]):
    """A cache whose entries expire. When it is full, the oldest entry goes first, whether it is in use or not.

    Args:
        size: the largest number of entries.
        seconds: how long an entry is valid.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._entries: dict[str | bytes, _Entry[V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str | bytes) -> V | None:
        """Return a value that is valid, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= time.monotonic():
            del self._entries[key]
            return None
        return entry.value

    def put(self, key: str | bytes, value: V, since: float) -> None:
        """Keep a value that is known since a time of :func:`time.monotonic`."""
        self._entries.pop(key, None)
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = _Entry(value, since + self._seconds)

    def remove(self, key: str | bytes) -> None:
        """Remove a value, if there is one."""
        self._entries.pop(key, None)
