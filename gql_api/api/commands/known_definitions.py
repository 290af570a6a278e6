"""The task definitions that this process has read a moment ago."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

from gql_api import values
from gql_api.aio.batching import BatchedReads
from gql_api.api.store.tasks import TaskStore
from gql_api.registry.definitions import TaskDefinition

# Definitions are read again after this time, which is when a newer announcement takes effect.
_SECONDS = 2.0


class KnownDefinitions:
    """A cache of task definitions. Calls that arrive together share the reads of those that are too old."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._known: dict[str, tuple[float, TaskDefinition]] = {}
        self._reads: BatchedReads[str, None] = BatchedReads(self._read)

    async def of(self, names: Collection[str]) -> dict[str, TaskDefinition]:
        """Return the definitions with these names, and read those that are not cached or too old."""
        since = time.monotonic() - _SECONDS
        stale = [name for name in names if not self._was_read(name, since) and values.is_text(name)]
        if stale:
            await asyncio.gather(*map(self._reads.load, stale))
        return self.known(names)

    def known(self, names: Collection[str]) -> dict[str, TaskDefinition]:
        """Return those of the definitions with these names that were read, however long ago."""
        return {name: self._known[name][1] for name in names if name in self._known}

    def _was_read(self, name: str, since: float) -> bool:
        return name in self._known and self._known[name][0] >= since

    async def _read(self, names: Sequence[str]) -> list[None]:
        now = time.monotonic()
        wanted = sorted(set(names))
        found = {definition.name: definition for definition in await self._store.definitions(wanted)}
        for name in wanted:
            _, known = self._known.pop(name, (now, None))
            if name in found:
                # An unchanged definition keeps the validator that it has compiled.
                self._known[name] = now, known if known is not None and known == found[name] else found[name]
        return [None] * len(names)
