"""The deletion of records, and the tombstones from which later readers learn of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.access.visibility import Visibility
from gql_api.api.store import misfits
from gql_api.api.store.committed import MAJORITY, CommittedReads
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.events import Deletion
from gql_api.record import canvas, fields, logs, queries
from gql_api.record.fitness import rules
from gql_api.record.past import tombstones

_CHUNK = 100


class Deletions:
    """A store that deletes final tasks and reads the tombstones they left.

    Args:
        database: the one with the collections of this project.
        limiter: bounds the calls of MongoDB.
        committed: the barriers of this process.
    """

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], limiter: ConcurrencyLimiter, committed: CommittedReads
    ) -> None:
        self.limiter = limiter
        self._committed = committed
        self._tasks = database[fields.TASKS]
        self._chords = database[fields.CHORDS]
        self._tombstones = database[fields.TOMBSTONES]
        # A list must not lose a task because of a tombstone that a failover rolls back.
        self._kept_tombstones = self._tombstones.with_options(read_concern=MAJORITY)
        self._log_lines = database[fields.TASK_LOGS]

    @limited
    async def delete(
        self, task_ids: Sequence[str], visibility: Visibility
    ) -> tuple[list[tuple[dict[str, Any], datetime]], int]:
        """Delete the visible final tasks among these, except members of unfinished chords, and leave tombstones.

        Returns:
            of each deleted task the fields that filters read, and the time of its deletion; and how many tasks this
            call deleted, for another call may have deleted some of them.
        """
        found_ = await self._tasks.find(
            visibility.narrowed(tombstones.deletable(task_ids)), queries.DELETED_ONLY
        ).to_list()
        documents = misfits.fitting(found_, rules.of_projection(queries.DELETED_ONLY))
        if chord_ids := tombstones.chords_of(documents):
            unfinished = await self._chords.find(canvas.unfinished_among(chord_ids), queries.ID_ONLY).to_list()
            documents = tombstones.without_members_of(documents, unfinished)
        if not documents:
            return [], 0
        found = [document[fields.ID] for document in documents]
        await self._tombstones.bulk_write(tombstones.save_tombstones(documents), ordered=False)
        saved = await self._tombstones.find(tombstones.tombstones_of(found)).to_list()
        await self._log_lines.delete_many(logs.of_tasks(found))
        count = (await self._tasks.delete_many(tombstones.deletable(found))).deleted_count
        return tombstones.with_deletion_times(documents, saved), count

    @limited
    async def is_deleted(self, task_id: str, visibility: Visibility) -> bool:
        """Return whether the id has a tombstone, of a task that was certainly visible."""
        tombstone = await self._tombstones.find_one(queries.by_id(task_id))
        return tombstone is not None and visibility.certainly_sees(tombstones.remains_in(tombstone))

    @limited
    async def among(self, task_ids: Collection[str], visibility: Visibility) -> dict[str, Deletion]:
        """Read the deletions of those of these tasks that have tombstones and were certainly visible, by id.

        It misses none that was stored before the last barrier.
        """
        async with self._committed.session() as session:
            found = self._kept_tombstones.find(tombstones.tombstones_of(list(task_ids)), session=session)
            deletions = [_deletion(tombstone) async for tombstone in found]
        return {each.task_id: each for each in deletions if visibility.certainly_sees(each.last)}

    async def since(self, time: datetime, visibility: Visibility) -> AsyncIterator[Deletion]:
        """Read the deletions since a time of tasks that were certainly visible; the earliest deletion first.

        It misses no deletion that was stored before the last barrier.
        """
        async with self._committed.session() as session:
            query = visibility.lasting.narrowed(tombstones.tombstones_since(time))
            found = self._kept_tombstones.find(query, session=session).sort(tombstones.EARLIEST_TOMBSTONE)
            while chunk := await self.limiter.use(found.to_list, _CHUNK):
                for deletion in map(_deletion, chunk):
                    if visibility.certainly_sees(deletion.last):
                        yield deletion


def _deletion(tombstone: dict[str, Any]) -> Deletion:
    return Deletion(*tombstones.tombstone_from(tombstone), remains=tombstones.remains_in(tombstone))
