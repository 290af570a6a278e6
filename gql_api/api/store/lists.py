"""Lists, counts and facets of tasks, over the API's MongoDB client: reads that may look at very many records."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ExecutionTimeout, NetworkTimeout

from gql_api.api.errors import ClientError
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.query import facets, lists
from gql_api.query.facets import Bucket, FacetField
from gql_api.query.lists import PageRequest
from gql_api.record.fields import Status
from gql_api.record.reads import Document, TaskRecord

TIMEOUT = "QUERY_TIMEOUT"


@dataclass(frozen=True, slots=True)
class ChildPage:
    """A stretch of the children of one task."""

    parent_id: str
    stretch: PageRequest


class TaskLists:
    """Reads what a filter finds. Each call takes ``seconds`` at most, in MongoDB as well.

    Raises:
        ClientError: it would have taken longer.
    """

    def __init__(self, tasks: AsyncCollection[Document], slots: ConcurrencyLimiter, seconds: float) -> None:
        self.slots = slots
        self._tasks = tasks
        self._seconds = seconds

    @limited
    async def page(
        self, wanted: Document, stretch: PageRequest, fields: Mapping[str, int] | None = None
    ) -> list[TaskRecord]:
        """Read a stretch of the tasks that a query finds, or some fields of theirs, in the stretch's direction."""
        async with self._bounded():
            found = (
                self._tasks.find({"$and": [stretch.query(), wanted]}, fields).sort(stretch.sort()).limit(stretch.limit)
            )
            return [TaskRecord(document) async for document in found]

    async def count(self, wanted: Document) -> int:
        """Count the tasks that a query finds."""
        statuses = facets.statuses_in(wanted)
        if statuses is not None:
            return sum((await self._counts_of(statuses)).values())
        return await self._count(wanted)

    async def facet(self, wanted: Document, field: FacetField, first: int) -> list[Bucket]:
        """Count the tasks that a query finds by the values of a field, the most frequent first."""
        statuses = facets.statuses_in(wanted)
        if field is FacetField.STATUS and statuses is not None:
            counts = (await self._counts_of(statuses)).most_common(first)
            return [Bucket(status, count) for status, count in counts if count]
        return await self._buckets(facets.by_field(wanted, field, first))

    async def _counts_of(self, statuses: Sequence[Status]) -> Counter[Status]:
        counting = (self._count(facets.of_status(status)) for status in statuses)
        return Counter(dict(zip(statuses, await asyncio.gather(*counting), strict=True)))

    @limited
    async def _count(self, wanted: Document) -> int:
        async with self._bounded():
            return await self._tasks.count_documents(wanted)

    async def metadata_facet(self, wanted: Document, path: str, first: int) -> list[Bucket]:
        """Count the tasks that a query finds by what is at a path of their metadata, the most frequent first.

        Raises:
            InvalidValueError: it is not a path.
        """
        return await self._buckets(facets.by_metadata(wanted, path, first))

    async def child_pages(self, pages: Sequence[ChildPage]) -> list[list[TaskRecord]]:
        """Read pages of children, those of the same stretch by one query."""
        parents: dict[PageRequest, list[str]] = defaultdict(list)
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

    @limited
    async def _rows(self, pipeline: list[dict[str, Any]]) -> list[Document]:
        async with self._bounded():
            return await (await self._tasks.aggregate(pipeline)).to_list()

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            with pymongo.timeout(self._seconds):
                yield
        except (ExecutionTimeout, NetworkTimeout) as error:
            if isinstance(error, NetworkTimeout):
                # Who notices first, MongoDB or its client, is up to chance. One that is away says so here.
                await self._tasks.database.command("ping")
            message = f"This takes longer than {self._seconds:g} s: ask for what an index can find, or for fewer tasks"
            raise ClientError(message, TIMEOUT) from error
