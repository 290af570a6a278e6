"""The end of records: deleted, and told to those who ask later what has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, logs, queries, tombstones
from gql_api.record.reads import TaskRecord

_CHUNK = 100


class Deletions:
    """Deletes tasks that are final, and reads the tombstones that they left.

    Args:
        database: the one that holds our collections.
        slots: what calls of MongoDB are made in.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], slots: ConcurrencyLimiter) -> None:
        self.slots = slots
        self._tasks = database[fields.TASKS]
        self._tombstones = database[fields.TOMBSTONES]
        self._log_lines = database[fields.TASK_LOGS]

    @limited
    async def delete(self, task_ids: Sequence[str]) -> tuple[list[tuple[dict[str, Any], datetime]], int]:
        """Delete those of some tasks that are final, and leave tombstones.

        Returns:
            what filters ask for of each, and when it was deleted; and how many of them this call deleted, for another
            one may have been at the same.
        """
        documents = await self._tasks.find(tombstones.deletable(task_ids), queries.FILTERED_ONLY).to_list()
        if not documents:
            return [], 0
        found = [TaskRecord(document).id for document in documents]
        await self._tombstones.bulk_write(tombstones.save_tombstones(found), ordered=False)
        saved = await self._tombstones.find(tombstones.tombstones_of(found)).to_list()
        await self._log_lines.delete_many(logs.of_tasks(found))
        count = (await self._tasks.delete_many(tombstones.deletable(found))).deleted_count
        return tombstones.with_deletion_times(documents, saved), count

    async def since(self, time: datetime) -> AsyncIterator[tuple[str, datetime]]:
        """Read which tasks were deleted from a time on, and when; the oldest first."""
        graves = self._tombstones.find(tombstones.tombstones_since(time)).sort(tombstones.EARLIEST_TOMBSTONE)
        while found := await self.slots.use(graves.to_list, _CHUNK):
            for grave in found:
                yield tombstones.tombstone_from(grave)
