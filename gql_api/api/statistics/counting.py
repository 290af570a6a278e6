"""The counting of minutes that are over, by one process at a time, and the removal of buckets that are too old.

Counting takes nothing from those who create or end tasks: it reads their records. A minute is counted when all writes
of it are stored for certain, and compared with the records once more, ten minutes later. If the process dies in
between, another one counts the same minute again, and its buckets replace those that were stored.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pymongo
from pymongo.errors import DuplicateKeyError, PyMongoError

from gql_api.aio.background import shielded
from gql_api.api.statistics.progress import Progress, read_progress
from gql_api.api.store.committed import MAJORITY
from gql_api.api.store.tasks import TaskStore
from gql_api.query.statistics import floor_minute
from gql_api.record import due, fields
from gql_api.record.reads import CODEC, Document
from gql_api.record.statistics import buckets, cells
from gql_api.record.statistics.cells import Span

logger = logging.getLogger(__name__)

_LOCK = "statistics"
_INTERVAL = timedelta(seconds=15)
# A write has the time at which MongoDB began it. So much later it is done.
_SETTLES_IN = timedelta(seconds=10)
_CHECKED_AFTER = timedelta(minutes=10)
# What is counted at a time, if much is left.
_CHUNK = timedelta(hours=1)
_MAX_SECONDS = 300.0


class Counting:
    """The counting by one process.

    Args:
        store: the MongoDB of the API.
        retention_days: for how many days buckets are kept; 0 for ever.
    """

    def __init__(self, store: TaskStore, retention_days: float) -> None:
        self._store = store
        self._database = store.database
        self._statistics = self._database[buckets.STATISTICS]
        self._progress = self._database[buckets.PROGRESS]
        self._retention = timedelta(days=retention_days) if retention_days else None
        self._is_failing = False

    async def run(self) -> None:
        """Count what is to be counted, again and again, when no other process does."""
        while True:
            # Not at the same time as other processes.
            await asyncio.sleep(_INTERVAL.total_seconds() * random.uniform(0.8, 1.2))  # noqa: S311 - as above
            try:
                await self._count_in_turn()
            except PyMongoError as error:
                if not self._is_failing:
                    logger.warning("Statistics are not counted, and tried again: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False

    @shielded
    async def _count_in_turn(self) -> None:
        now = await self._store.now()
        filter_, update = due.take_leader_lock(_LOCK, now, _INTERVAL.total_seconds() / 2)
        try:
            await self._database[fields.LEADER_LOCKS].update_one(filter_, update, upsert=True)
        except DuplicateKeyError:
            return
        await self.count(now)

    async def count(self, now: datetime) -> None:
        """Count the minutes that are over at a time, by the clock of MongoDB, and check those before.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        progress = await self._begun(now)
        for span in _chunks(progress.counted_until, floor_minute(now - _SETTLES_IN)):
            await self._store_counts(span)
            await self._note(counted_until=span.until)
        for span in _chunks(progress.checked_until, floor_minute(now - _CHECKED_AFTER)):
            await self._check(span)
            await self._note(checked_until=span.until)
        if self._retention is not None:
            await self._statistics.delete_many(buckets.older_than(now - self._retention))

    async def _begun(self, now: datetime) -> Progress:
        """Read the progress, which begins at the oldest task."""
        progress = await read_progress(self._database)
        if progress.counted_until is not None:
            return progress
        tasks = self._database[fields.TASKS]
        oldest = await tasks.find_one(buckets.every_task(), {fields.CREATED_AT: 1}, sort=buckets.OLDEST)
        begin = min(buckets.created_at_of(oldest) or now, now)
        if self._retention is not None:
            begin = max(begin, now - self._retention)
        await self._progress.update_one(buckets.THE_PROGRESS, buckets.progress_since(floor_minute(begin)), upsert=True)
        return await read_progress(self._database)

    async def _store_counts(self, span: Span) -> None:
        """Count a span, and replace its buckets."""
        # All that was stored before is shown by what follows, also if another member becomes primary meanwhile.
        await self._store.committed.barrier()
        counted_at = await self._store.now()
        tombstones = self._database.get_collection(fields.TOMBSTONES, codec_options=CODEC, read_concern=MAJORITY)
        with pymongo.timeout(_MAX_SECONDS):
            async with self._store.committed.session() as session:
                pipeline = buckets.count(span, counted_at)
                await (await tombstones.aggregate(pipeline, session=session, allowDiskUse=True)).to_list()
            await self._statistics.delete_many(buckets.outdated(span, counted_at))

    async def _check(self, span: Span) -> None:
        """Count a span again if more tasks were created or have ended in it than its buckets have."""
        with pymongo.timeout(_MAX_SECONDS):
            stored = buckets.number_from(await self._documents(buckets.STATISTICS, buckets.number_stored(span)))
            found = 0
            for query in cells.ranges(span).values():
                found += await self._database[fields.TASKS].count_documents(query)
            for query in buckets.number_deleted(span):
                found += await self._database[fields.TOMBSTONES].count_documents(query)
        if found > stored:
            logger.warning("Statistics from %s to %s lacked %d", span.since, span.until, found - stored)
            await self._store_counts(span)

    async def _documents(self, collection: str, pipeline: list[Document]) -> list[Document]:
        return await (await self._database[collection].aggregate(pipeline)).to_list()

    async def _note(self, **until: datetime) -> None:
        await self._progress.update_one(buckets.THE_PROGRESS, buckets.progressed(**until))


def _chunks(since: datetime | None, until: datetime) -> Iterator[Span]:
    """Yield the whole minutes between two times, as many at a time as may be counted together."""
    begin = until if since is None else since
    while begin < until:
        end = min(begin + _CHUNK, until)
        yield Span(begin, end)
        begin = end
