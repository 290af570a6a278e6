"""The end of records: deleted, and told to those who ask later what has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from gql_api.slots import Slots, in_a_slot
from jobs.record import control, fields, logs, queries
from jobs.record.reads import TaskRecord

_CHUNK = 100


class Deletions:
    """Deletes tasks that are final, and reads the tombstones that they left.

    Args:
        database: the one that holds our collections.
        slots: what calls of MongoDB are made in.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], slots: Slots) -> None:
        self.slots = slots
        self._tasks = database[fields.TASKS]
        self._tombstones = database[fields.TOMBSTONES]
        self._log_lines = database[fields.TASK_LOGS]

    @in_a_slot
    async def delete(self, task_ids: Sequence[str]) -> tuple[list[tuple[dict[str, Any], datetime]], int]:
        """Delete those of some tasks that are final, and leave tombstones.

        Returns:
            what filters ask for of each, and when it was deleted; and how many of them this call deleted, for another
            one may have been at the same.
        """
        documents = await self._tasks.find(control.deletable(task_ids), queries.FILTERED_ONLY).to_list()
        if not documents:
            return [], 0
        found = {TaskRecord(document).id: document for document in documents}
        graves = [UpdateOne(*control.bury(task_id), upsert=True) for task_id in found]
        await self._tombstones.bulk_write(graves, ordered=False)
        buried = [control.grave_from(grave) async for grave in self._tombstones.find(control.buried([*found]))]
        await self._log_lines.delete_many(logs.of_tasks([*found]))
        count = (await self._tasks.delete_many(control.deletable([*found]))).deleted_count
        return [(found[task_id], at) for task_id, at in buried], count

    async def since(self, time: datetime) -> AsyncIterator[tuple[str, datetime]]:
        """Read which tasks were deleted from a time on, and when; the oldest first."""
        graves = self._tombstones.find(control.buried_since(time)).sort(control.EARLIEST_GRAVE)
        while found := await self.slots.use(graves.to_list, _CHUNK):
            for grave in found:
                yield control.grave_from(grave)
