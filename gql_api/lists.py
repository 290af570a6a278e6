"""Lists, counts and facets of tasks, over the API's MongoDB client: reads that may look at very many records."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ExecutionTimeout

from gql_api.errors import ClientError
from jobs.record import facets, lists
from jobs.record.facets import Bucket, FacetField
from jobs.record.lists import Stretch
from jobs.record.reads import Document, TaskRecord

TIMEOUT = "QUERY_TIMEOUT"


@dataclass(frozen=True, slots=True)
class ChildPage:
    """A stretch of the children of one task."""

    parent_id: str
    stretch: Stretch


class TaskLists:
    """Reads what a filter finds. MongoDB works on each query for ``seconds`` at most.

    Raises:
        ClientError: it would have taken longer.
        TimeoutError: MongoDB has not said so either, for ``silence_seconds``: it does not answer.
    """

    def __init__(self, tasks: AsyncCollection[Document], seconds: float, silence_seconds: float) -> None:
        self._tasks = tasks
        self._seconds = seconds
        self._limit_ms = max(1, round(seconds * 1000))
        self._silence_seconds = silence_seconds

    async def page(self, wanted: Document, stretch: Stretch) -> list[TaskRecord]:
        """Read a stretch of the tasks that a query finds, in the direction of the stretch."""
        query = {"$and": [stretch.query(), wanted]}
        async with self._bounded():
            found = self._tasks.find(query, sort=stretch.sort(), limit=stretch.limit, max_time_ms=self._limit_ms)
            return [TaskRecord(document) async for document in found]

    async def count(self, wanted: Document) -> int:
        """Count the tasks that a query finds."""
        async with self._bounded():
            if not wanted:
                return await self._tasks.estimated_document_count(maxTimeMS=self._limit_ms)
            return await self._tasks.count_documents(wanted, maxTimeMS=self._limit_ms)

    async def facet(self, wanted: Document, field: FacetField, first: int) -> list[Bucket]:
        """Count the tasks that a query finds by the values of a field, the most frequent first."""
        return await self._buckets(facets.by_field(wanted, field, first))

    async def metadata_facet(self, wanted: Document, path: str, first: int) -> list[Bucket]:
        """Count the tasks that a query finds by what is at a path of their metadata, the most frequent first.

        Raises:
            PathError: it is no path.
        """
        return await self._buckets(facets.by_metadata(wanted, path, first))

    async def child_pages(self, pages: Sequence[ChildPage]) -> list[list[TaskRecord]]:
        """Read pages of children, those of the same stretch by one query."""
        parents: dict[Stretch, list[str]] = defaultdict(list)
        for page in pages:
            parents[page.stretch].append(page.parent_id)
        found: dict[ChildPage, list[TaskRecord]] = {page: [] for page in pages}
        for stretch, parent_ids in parents.items():
            for row in await self._rows(lists.children(parent_ids, stretch)):
                parent_id, child = lists.child_from(row)
                found[ChildPage(parent_id, stretch)].append(child)
        return [found[page] for page in pages]

    async def child_counts(self, parent_ids: Sequence[str]) -> list[int]:
        """Count the children of some tasks by one query."""
        counts = {bucket.value: bucket.count for bucket in await self._buckets(facets.by_parent(list(parent_ids)))}
        return [counts.get(parent_id, 0) for parent_id in parent_ids]

    async def _buckets(self, pipeline: list[dict[str, Any]]) -> list[Bucket]:
        return [facets.bucket_from(row) for row in await self._rows(pipeline)]

    async def _rows(self, pipeline: list[dict[str, Any]]) -> list[Document]:
        async with self._bounded():
            return await (await self._tasks.aggregate(pipeline, maxTimeMS=self._limit_ms)).to_list()

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Wait for MongoDB to end the query by itself: only one that does not even do that is away.

        The timeouts of PyMongo end on both sides at once, and mostly on this one first; zero is none of them.
        """
        try:
            with pymongo.timeout(0):
                async with asyncio.timeout(self._seconds + self._silence_seconds):
                    yield
        except ExecutionTimeout as error:
            message = f"This takes longer than {self._seconds:g} s: ask for what an index can find, or for fewer tasks"
            raise ClientError(message, TIMEOUT) from error
