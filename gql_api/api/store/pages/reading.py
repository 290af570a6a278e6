"""Reads of pages of tasks, of only those fields that an answer needs; equal ones share a read."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import bson
from pymongo.asynchronous.collection import AsyncCollection

from gql_api.access.visibility import Visibility
from gql_api.aio.sharing import SharedReads
from gql_api.api.store import misfits
from gql_api.api.store.budget import ReadBudget, of_batches
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.api.store.pages.choice import Hint, IndexChoice
from gql_api.api.store.pages.time_limit import TimeLimit
from gql_api.api.store.slots import current_requester
from gql_api.query.lists import PageRequest
from gql_api.record.queries import Part
from gql_api.record.reads import Document, TaskRecord


class Page(list[TaskRecord]):
    """The records of a page. ``shown`` is for what its readers make of them, once for all of them."""

    def __init__(self, records: Iterable[TaskRecord] = ()) -> None:
        super().__init__(records)
        self.shown: Any = None


@dataclass(frozen=True, slots=True)
class PageRead:
    """A read of a part of the tasks of a page.

    Two are equal if they have the same answer, and belong to callers that share slots.
    """

    stored_query: bytes
    request: PageRequest
    visibility: Visibility
    part: Part
    groups: tuple[Hashable, ...]
    query: Document = field(compare=False)


def _itself(document: Document) -> Document:
    return document


class PageReads:
    """A reader of pages. Equal ones that are requested before one of them begins become one query.

    Args:
        tasks: the collection.
        limiter: bounds the calls of MongoDB.
        time_limit: bounds the time of a query.
        max_bytes: how much one answer may read.
    """

    def __init__(
        self, tasks: AsyncCollection[Document], limiter: ConcurrencyLimiter, time_limit: TimeLimit, max_bytes: int
    ) -> None:
        self.limiter = limiter
        self._tasks = tasks
        self._time_limit = time_limit
        self._index = IndexChoice(tasks)
        self._max_bytes = max_bytes
        self._reads: SharedReads[PageRead, ReadBudget, Page] = SharedReads(self._read)

    async def load(
        self, query: Document, request: PageRequest, visibility: Visibility, part: Part, budget: ReadBudget
    ) -> Page:
        """Read a page of the tasks that match a query, in the direction of the request.

        Raises:
            ClientError: the budget of the answer is spent, or the query takes too long.
        """
        groups = current_requester().groups
        read = PageRead(bson.encode(query), request, visibility, part, groups, query)
        page = await self._reads.load(read, budget)
        budget.check(self._max_bytes)
        return page

    @limited
    async def _read(self, read: PageRead, budgets: Sequence[ReadBudget]) -> Page:
        async with self._time_limit():
            visible = read.visibility.narrowed(read.query)
            return await self._index.read(visible, read.request, functools.partial(self._page, read, visible, budgets))

    async def _page(self, read: PageRead, visible: Document, budgets: Sequence[ReadBudget], hint: Hint | None) -> Page:
        request, part = read.request, read.part

        async def matching(narrower: Document) -> list[Document]:
            query = {"$and": [request.query(), visible, narrower]}
            limits = {"limit": request.limit, "batch_size": request.limit}
            found = self._tasks.find_raw_batches(query, part.projection, sort=request.sort(), hint=hint, **limits)
            # PyMongo declares that the cursor has documents.
            return await of_batches(cast(AsyncIterable[bytes], found), budgets, self._max_bytes)

        return Page(map(part.record, await misfits.read_page(matching, part.fitness, _itself)))
