"""Reads of tasks by id, of only those fields that an answer needs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import cast

from pymongo.asynchronous.collection import AsyncCollection

from gql_api import values
from gql_api.access.visibility import Visibility
from gql_api.aio.batching import BatchedReads
from gql_api.api.errors import InvalidRecordError
from gql_api.api.store import misfits
from gql_api.api.store.budget import ReadBudget, with_sizes
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, queries
from gql_api.record.queries import Part
from gql_api.record.reads import Document, TaskRecord


@dataclass(frozen=True, slots=True)
class TaskRead:
    """A read of a part of one task, for the answer that has the budget."""

    task_id: str
    part: Part
    budget: ReadBudget
    visibility: Visibility


class PartialReads:
    """A reader of tasks by id. Reads that arrive together become one query for each part and visibility.

    Args:
        tasks: the collection.
        limiter: bounds the calls of MongoDB.
        max_bytes: how much one answer may read.
    """

    def __init__(self, tasks: AsyncCollection[Document], limiter: ConcurrencyLimiter, max_bytes: int) -> None:
        self.limiter = limiter
        self._tasks = tasks
        self._max_bytes = max_bytes
        self._reads = BatchedReads(self._by_id)

    async def load(self, read: TaskRead) -> TaskRecord | None:
        """Read a part of one task; None for an unknown id.

        Raises:
            ClientError: the budget of the answer is spent.
            InvalidRecordError: the record does not fit.
        """
        try:
            return await self._reads.load(read)
        finally:
            read.budget.check(self._max_bytes)

    async def _by_id(self, reads: Sequence[TaskRead]) -> list[TaskRecord | InvalidRecordError | None]:
        # One query for all parts would read the large fields that one answer needs for all others too.
        alike: dict[tuple[Part, Visibility], list[TaskRead]] = defaultdict(list)
        for read in reads:
            alike[read.part, read.visibility].append(read)
        found = await asyncio.gather(*(self._read(*key, some) for key, some in alike.items()))
        records = dict(zip(alike, found, strict=True))
        return [records[read.part, read.visibility].get(read.task_id) for read in reads]

    @limited
    async def _read(
        self, part: Part, visibility: Visibility, reads: Sequence[TaskRead]
    ) -> dict[str, TaskRecord | InvalidRecordError]:
        # A task that an answer reads in several places is in the answer as often.
        readers: dict[str, list[ReadBudget]] = defaultdict(list)
        for read in reads:
            if values.is_text(read.task_id):
                readers[read.task_id].append(read.budget)
        found: dict[str, TaskRecord | InvalidRecordError] = {}
        batches = self._tasks.find_raw_batches(visibility.narrowed(queries.by_ids(list(readers))), part.projection)
        async for document, size in with_sizes(cast(AsyncIterable[bytes], batches)):
            task_id, record = document[fields.ID], misfits.record_or_error(document, part)
            budgets = readers[task_id]
            for budget in budgets:
                budget.read += size
            # What no reader can afford is not kept.
            if any(budget.read <= self._max_bytes for budget in budgets):
                found[task_id] = record
        return found
