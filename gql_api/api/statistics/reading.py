"""Answers to questions for statistics, from the stored buckets where these can answer, and from the records."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from gql_api.access.visibility import Visibility
from gql_api.api.errors import LimitExceededError, OverloadedError
from gql_api.api.statistics.progress import read_progress
from gql_api.api.store.committed import MAJORITY
from gql_api.api.store.limiter import limited
from gql_api.api.store.pages.time_limit import TimeLimit
from gql_api.api.store.tasks import TaskStore
from gql_api.query.compile import compile_filter
from gql_api.query.statistics import StatisticsQuery, are_held
from gql_api.record import fields
from gql_api.record.reads import CODEC, Document
from gql_api.record.statistics import buckets, cells, slots
from gql_api.record.statistics.cells import Counted, Pipeline, Span
from gql_api.record.statistics.progress import Step
from gql_api.record.statistics.slots import SlotCounts

MAX_RECORDS = 200_000
"""The number of created, and of ended tasks, that one question may read as records."""
MAX_ROWS = 10_000
"""The number of slots and values, together, that an answer may have."""
# Minutes are counted a minute after their end at the latest. If more is left, counting was interrupted.
_USUAL_DELAY = timedelta(minutes=5)
_RETRY_SECONDS = 10
# Rows have up to a hundred cells. Other requests go on between two batches.
_BATCH = 50


class Statistics:
    """A reader of statistics.

    Args:
        store: the MongoDB of the API.
        seconds: how long a question may take.
    """

    def __init__(self, store: TaskStore, seconds: float) -> None:
        self.limiter = store.lists.limiter
        self._store = store
        self._database = store.database
        self._bounded = TimeLimit(self._collection(fields.TASKS), seconds)

    async def now(self) -> datetime:
        """Return the time of MongoDB."""
        return await self._store.now()

    async def read(self, query: StatisticsQuery, visibility: Visibility) -> list[SlotCounts]:
        """Count the visible tasks that a query is about.

        Returns:
            the slots and values that have any, by slot and value.

        Raises:
            ClientError: with the code LIMIT_EXCEEDED, the answer has too many rows, or needs too many records; with
                OVERLOADED, too many minutes are not counted yet; with QUERY_TIMEOUT, MongoDB took too long.
            InvalidValueError: the filter is invalid. Paths begin at the filter.
        """
        matching = visibility.narrowed(compile_filter(query.filter).query)
        if query.needs_value is None and are_held(query.filter) and are_held(visibility.filter):
            return await self._from_buckets(query, matching)
        return await self._from_records(query, matching)

    @limited
    async def _from_buckets(self, query: StatisticsQuery, matching: Document) -> list[SlotCounts]:
        span = query.span
        async with self._bounded():
            done = await read_progress(self._database)
            quarters = query.by_quarters(done[Step.ROLLED_UP])
            live_since = max(quarters.until, min(span.until, done[Step.COUNTED] or span.since))
            if not query.counts_creations:
                matching = {"$and": [matching, buckets.of_ended_tasks()]}
            pipeline = buckets.stored_cells(Span(quarters.until, live_since), matching)
            pipeline.append(buckets.and_(buckets.QUARTERS, buckets.stored_cells(quarters, matching)))
            if live_since < span.until:
                live = Span(live_since, span.until)
                await self._check_delay(live)
                counted = Counted(live, matching)
                records = buckets.of_records(counted, live.since, created=query.counts_creations)
                pipeline.append(buckets.and_(fields.TOMBSTONES, records))
            return await self._rows(buckets.MINUTES, pipeline, query)

    @limited
    async def _from_records(self, query: StatisticsQuery, matching: Document) -> list[SlotCounts]:
        # One more than allowed shows that there are more.
        counted = Counted(query.span, matching, query.needs_value, MAX_RECORDS + 1)
        pipeline = cells.of_ended(counted)
        if query.counts_creations:
            pipeline.append(buckets.and_(fields.TASKS, cells.of_created(replace(counted, value=None))))
        async with self._bounded():
            rows = await self._rows(fields.TASKS, pipeline, query)
        if (number := slots.number_of(rows)) > MAX_RECORDS:
            raise LimitExceededError("records of statistics", number, MAX_RECORDS)
        return rows

    async def _check_delay(self, live: Span) -> None:
        """Check that the minutes that are not counted yet are few, or have few tasks.

        Raises:
            OverloadedError: there are too many tasks.
        """
        if min(live.until, await self._read_now()) - live.since <= _USUAL_DELAY:
            return
        tasks = self._collection(fields.TASKS)
        for query in cells.ranges(live).values():
            if await tasks.count_documents(query, limit=MAX_RECORDS + 1) > MAX_RECORDS:
                message = f"The tasks since {live.since.isoformat()} are not counted yet"
                raise OverloadedError("statistics", message, _RETRY_SECONDS)

    async def _read_now(self) -> datetime:
        # Not by the store, whose calls wait for slots: this one has a slot.
        hello = await self._database.client.admin.command("hello", codec_options=CODEC)
        now: datetime = hello["localTime"]
        return now

    async def _rows(self, collection: str, pipeline: Pipeline, query: StatisticsQuery) -> list[SlotCounts]:
        added_up = [*pipeline, *slots.by_slot(query.slots, query.value, MAX_ROWS + 1)]
        found = await self._collection(collection).aggregate(added_up, allowDiskUse=True, batchSize=_BATCH)
        rows = [slots.counts_from(query.slots, row) async for row in found]
        if len(rows) > MAX_ROWS:
            raise LimitExceededError("rows of statistics", len(rows), MAX_ROWS)
        return rows

    def _collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        return self._database.get_collection(name, codec_options=CODEC, read_concern=MAJORITY)
