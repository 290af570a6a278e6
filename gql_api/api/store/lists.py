"""Lists, counts and facets of tasks: the reads for which MongoDB may have to scan very many records."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from gql_api.access.visibility import Visibility
from gql_api.api.store import misfits
from gql_api.api.store.budget import ReadBudget, documents, raw
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.api.store.pages.reading import PageReads
from gql_api.api.store.pages.time_limit import TimeLimit
from gql_api.query import facets, lists, quotas
from gql_api.query.facets import Bucket, FacetField
from gql_api.query.lists import PageRequest
from gql_api.record.fields import Status
from gql_api.record.fitness import rules
from gql_api.record.queries import Part
from gql_api.record.reads import Document, TaskRecord


@dataclass(frozen=True, slots=True)
class ChildPage:
    """A page of the children of one task."""

    parent_id: str
    request: PageRequest
    part: Part
    budget: ReadBudget
    visibility: Visibility


@dataclass(frozen=True, slots=True)
class ChildCount:
    """The number of those children of a task that are visible."""

    parent_id: str
    visibility: Visibility


def _itself(document: Document) -> Document:
    return document


class TaskLists:
    """A reader of lists. MongoDB aborts each query after ``seconds``.

    Args:
        tasks: the collection.
        limiter: bounds the calls of MongoDB.
        seconds: how long a query may take.
        max_bytes: how much one answer may read.

    Raises:
        ClientError: with the code QUERY_TIMEOUT, by every method whose query was aborted.
    """

    def __init__(
        self, tasks: AsyncCollection[Document], limiter: ConcurrencyLimiter, seconds: float, max_bytes: int
    ) -> None:
        self.limiter = limiter
        self._tasks = tasks
        self._max_bytes = max_bytes
        self._bounded = TimeLimit(tasks, seconds)
        self.part_of_page = PageReads(tasks, limiter, self._bounded, max_bytes).load

    @limited
    async def page(
        self,
        query: Document,
        request: PageRequest,
        visibility: Visibility,
        fields: Mapping[str, int] | None = None,
        start_session: Callable[[], AbstractAsyncContextManager[AsyncClientSession | None]] = contextlib.nullcontext,
    ) -> list[TaskRecord]:
        """Read a page of the tasks that match a query, or some of their fields, in the direction of the request.

        Args:
            query: the query.
            request: the page.
            visibility: which of the tasks there are for the reader.
            fields: the fields to read; None for all.
            start_session: starts the session of the read, by default one without any guarantee.
        """
        async with self._bounded(), start_session() as session:

            async def read(narrower: Document) -> list[Document]:
                matching = visibility.narrowed({"$and": [request.query(), query, narrower]})
                found = self._tasks.find(matching, fields, session=session)
                return await found.sort(request.sort()).limit(request.limit).to_list()

            found = await misfits.read_page(read, rules.of_projection(fields), _itself)
            return [TaskRecord(document) for document in found]

    async def count(self, query: Document, visibility: Visibility) -> int:
        """Count the visible tasks that match a query."""
        query = visibility.narrowed(query)
        statuses = facets.statuses_in(query)
        if statuses is not None:
            return sum((await self._counts_of(statuses)).values())
        return await self._count(query)

    async def facet(self, query: Document, visibility: Visibility, field: FacetField, first: int) -> list[Bucket]:
        """Count the visible tasks that match a query by the values of a field, the most frequent value first."""
        query = visibility.narrowed(query)
        statuses = facets.statuses_in(query)
        if field is FacetField.STATUS and statuses is not None:
            counts = (await self._counts_of(statuses)).most_common(first)
            return [Bucket(status, count) for status, count in counts if count]
        return await self._buckets(facets.by_field(query, field, first))

    async def _counts_of(self, statuses: Sequence[Status]) -> Counter[Status]:
        counting = (self._count(facets.of_status(status)) for status in statuses)
        return Counter(dict(zip(statuses, await asyncio.gather(*counting), strict=True)))

    @limited
    async def _count(self, query: Document) -> int:
        async with self._bounded():
            return await self._tasks.count_documents(query)

    @limited
    async def count_up_to(self, query: Document, maximum: int) -> int:
        """Count the tasks that match a query, whoever may see them, and end at a maximum."""
        async with self._bounded():
            return await self._tasks.count_documents(query, limit=maximum)

    async def total(self, pipeline: list[dict[str, Any]]) -> int:
        """Return the number that a pipeline adds up over the tasks, whoever may see them."""
        return sum(int(row[quotas.TOTAL]) for row in await self._rows(pipeline))

    async def metadata_facet(self, query: Document, visibility: Visibility, path: str, first: int) -> list[Bucket]:
        """Count the visible tasks that match a query by the values at a path of their metadata, as :meth:`facet` does.

        Raises:
            InvalidValueError: the path is malformed.
        """
        return await self._buckets(facets.by_metadata(visibility.narrowed(query), path, first))

    async def child_pages(self, pages: Sequence[ChildPage]) -> list[list[TaskRecord]]:
        """Read pages of visible children, with one query for all pages that differ in their parents only."""
        parents: dict[tuple[PageRequest, Part, ReadBudget, Visibility], list[str]] = defaultdict(list)
        for page in pages:
            parents[page.request, page.part, page.budget, page.visibility].append(page.parent_id)
        found: dict[ChildPage, list[TaskRecord]] = {page: [] for page in pages}
        for (request, part, budget, visibility), parent_ids in parents.items():
            for parent_id, child in await self._children(parent_ids, request, part, budget, visibility):
                found[ChildPage(parent_id, request, part, budget, visibility)].append(part.record(child))
        return [found[page] for page in pages]

    @limited
    async def _children(
        self, parent_ids: list[str], request: PageRequest, part: Part, budget: ReadBudget, visibility: Visibility
    ) -> list[tuple[str, Document]]:
        async with self._bounded():

            async def read(narrower: Document) -> list[tuple[str, Document]]:
                matching = visibility.narrowed(narrower) if narrower else visibility.query
                rows = await raw(self._tasks).aggregate(lists.children(parent_ids, request, part.projection, matching))
                return [lists.child_from(row) for row in await documents(rows, budget, self._max_bytes)]

            return await misfits.read_page(read, part.fitness, operator.itemgetter(1))

    async def child_counts(self, counted: Sequence[ChildCount]) -> list[int]:
        """Count the visible children of tasks, with one query for each visibility."""
        parents: dict[Visibility, list[str]] = defaultdict(list)
        for each in counted:
            parents[each.visibility].append(each.parent_id)
        counts: dict[ChildCount, int] = {}
        for visibility, parent_ids in parents.items():
            for bucket in await self._buckets(facets.by_parent(parent_ids, visibility.query)):
                counts[ChildCount(bucket.value, visibility)] = bucket.count
        return [counts.get(each, 0) for each in counted]

    async def _buckets(self, pipeline: list[dict[str, Any]]) -> list[Bucket]:
        return [facets.bucket_from(row) for row in await self._rows(pipeline)]

    @limited
    async def _rows(self, pipeline: list[dict[str, Any]]) -> list[Document]:
        async with self._bounded():
            return await (await self._tasks.aggregate(pipeline)).to_list()
