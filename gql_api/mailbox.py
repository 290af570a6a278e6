"""What a watcher has not yet taken: the newest record, and nothing else."""

from __future__ import annotations

import asyncio

from jobs.record.reads import TaskRecord


class Mailbox:
    """Holds at most one record, so that a slow watcher costs bounded memory and never sees anything stale.

    Revisions only rise: what is not newer than the newest seen, put or taken, is dropped.
    """

    def __init__(self) -> None:
        self._newest: TaskRecord | None = None
        self.revision = 0  # of the newest put
        self._filled = asyncio.Event()

    def put(self, record: TaskRecord) -> bool:
        """Leave a record; return whether it was news."""
        if record.revision <= self.revision:
            return False
        self.revision = record.revision
        self._newest = record
        self._filled.set()
        return True

    async def take(self) -> TaskRecord:
        """Wait for a record newer than all taken before."""
        while self._newest is None:
            self._filled.clear()
            await self._filled.wait()
        record, self._newest = self._newest, None
        return record
