"""The counting of minutes that are over, by one process at a time, and the removal of buckets that are too old.

Counting takes nothing from those who create or end tasks: it reads their records. A minute is counted when all writes
of it are stored for certain, and compared with the records once more, ten minutes later. If the process dies in
between, another one counts the same minute again, and its buckets replace those that were stored.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, PyMongoError

from gql_api.aio.background import shielded
from gql_api.api.statistics.progress import read_progress
from gql_api.api.store.committed import MAJORITY
from gql_api.api.store.tasks import TaskStore
from gql_api.query.statistics import floor_minute, floor_quarter
from gql_api.record import due, fields
from gql_api.record.reads import Document
from gql_api.record.statistics import buckets, cells, progress
from gql_api.record.statistics.cells import Pipeline, Span
from gql_api.record.statistics.progress import Step

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
        self._minutes = self._database[buckets.MINUTES]
        self._quarters = self._database[buckets.QUARTERS]
        self._progress = self._database[progress.PROGRESS]
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
        """Count the minutes that are over at a time, by the clock of MongoDB, check those before, and roll these up.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        done = await self._begun(now)
        checkable = floor_minute(now - _CHECKED_AFTER)
        await self._do(Step.COUNTED, done, floor_minute(now - _SETTLES_IN), self._store_counts)
        await self._do(Step.CHECKED, done, checkable, self._check)
        await self._do(Step.ROLLED_UP, done, floor_quarter(checkable), self._roll_up)
        if self._retention is not None:
            for collection in (self._minutes, self._quarters):
                await collection.delete_many(buckets.older_than(now - self._retention))

    async def _do(
        self,
        step: Step,
        done: Mapping[Step, datetime | None],
        until: datetime,
        work: Callable[[Span], Awaitable[None]],
    ) -> None:
        """Do a step for all minutes for which it is not done yet."""
        begin = done[step]
        while begin is not None and begin < until:
            span = Span(begin, min(begin + _CHUNK, until))
            with pymongo.timeout(_MAX_SECONDS):
                await work(span)
                await self._progress.update_one(progress.THE_PROGRESS, progress.done(step, span.until))
            begin = span.until

    async def _begun(self, now: datetime) -> dict[Step, datetime | None]:
        """Read the progress, which begins at the oldest task."""
        done = await read_progress(self._database)
        if done[Step.COUNTED] is not None:
            return done
        tasks = self._database[fields.TASKS]
        oldest = await tasks.find_one(progress.every_task(), {fields.CREATED_AT: 1}, sort=progress.OLDEST)
        begin = min(progress.created_at_of(oldest) or now, now)
        if self._retention is not None:
            begin = max(begin, now - self._retention)
        # Half hours are whole.
        update = progress.begin(floor_quarter(begin))
        await self._progress.update_one(progress.THE_PROGRESS, update, upsert=True)
        return await read_progress(self._database)

    async def _store_counts(self, span: Span) -> None:
        """Count a span, and replace its buckets."""
        # All that was stored before is shown by what follows, also if another member becomes primary meanwhile.
        await self._store.committed.barrier()
        await self._replace(fields.TOMBSTONES, buckets.count, span, self._minutes)

    async def _roll_up(self, span: Span) -> None:
        """Make the buckets of quarters of an hour. The minutes have been checked, so they do not change any more."""
        await self._replace(buckets.MINUTES, buckets.roll_up, span, self._quarters)

    async def _replace(
        self,
        source: str,
        pipeline: Callable[[Span, datetime], Pipeline],
        span: Span,
        target: AsyncCollection[Document],
    ) -> None:
        counted_at = await self._store.now()
        collection = self._database.get_collection(source, read_concern=MAJORITY)
        async with self._store.committed.session() as session:
            await (await collection.aggregate(pipeline(span, counted_at), session=session, allowDiskUse=True)).to_list()
        await target.delete_many(buckets.outdated(span, counted_at))

    async def _check(self, span: Span) -> None:
        """Count a span again if more tasks were created or have ended in it than its buckets have."""
        rows = await (await self._minutes.aggregate(buckets.number_stored(span))).to_list()
        found, stored = 0, buckets.number_from(rows)
        for query in cells.ranges(span).values():
            found += await self._database[fields.TASKS].count_documents(query)
        for query in buckets.number_deleted(span):
            found += await self._database[fields.TOMBSTONES].count_documents(query)
        if found > stored:
            logger.warning("%d tasks were stored late, and are counted now: %s", found - stored, span)
            await self._store_counts(span)
