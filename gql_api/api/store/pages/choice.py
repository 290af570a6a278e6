"""The choice of the index for a page with conditions on metadata.

MongoDB keeps the plan that was best for an earlier value. For a value that few tasks have, a plan that walks the list
in its order reads ten times as many tasks as it did then, before MongoDB tries the index of metadata; and the other way
round for a value that many have.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from math import inf, isqrt
from typing import TypeVar

import bson
import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ExecutionTimeout, NetworkTimeout, OperationFailure

from gql_api.query.anchors import INDEX, Walk, anchors, walk_of
from gql_api.query.lists import PageRequest
from gql_api.record.reads import Document

T = TypeVar("T")
Hint = list[tuple[str, int]]
Read = Callable[[Hint | None], Awaitable[T]]

# MongoDB reads and sorts so many tasks in some 40 ms.
_MAX_FOUND = 5_000
_WALK_SECONDS = 0.25
# For so long is remembered what was found out, about so many conditions.
_SECONDS = 30.0
_MAX_REMEMBERED = 1_000
# MongoDB's errors for an index that does not exist, or not yet, and for one that cannot serve a query.
_UNUSABLE = frozenset({2, 291})


class _Recent:
    """Numbers that were found out, each for a short time; when there are too many, the oldest goes first."""

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[int, float]] = {}

    def get(self, key: Hashable) -> int | None:
        """Return the number for a key, if it is known."""
        number, until = self._found.get(key, (0, -inf))
        return number if time.monotonic() < until else None

    def put(self, key: Hashable, number: int) -> None:
        """Remember the number for a key from now on."""
        self._found.pop(key, None)
        if len(self._found) >= _MAX_REMEMBERED:
            del self._found[next(iter(self._found))]
        self._found[key] = number, time.monotonic() + _SECONDS


class IndexChoice:
    """The choice of an index, by counts of index entries that end early.

    Args:
        tasks: the collection.
    """

    def __init__(self, tasks: AsyncCollection[Document]) -> None:
        self._tasks = tasks
        self._size = 0
        self._measured_at = -inf
        self._counts = _Recent()
        self._slow_walks = _Recent()

    async def read(self, query: Document, request: PageRequest, page: Read[T]) -> T:
        """Read a page of the tasks of a query: ``page`` reads it by an index, or by one that MongoDB chooses.

        The index of metadata finds tasks in no order, so all that match a condition have to be read and sorted. A walk
        in the order of the list reads tasks until the page is full. If the matches are spread evenly, both read the
        same number when that is the square root of the tasks in the collection times those of the page. A walk that
        takes long shows that they are not, and MongoDB decides.
        """
        conditions = anchors(query)
        if not conditions:
            return await page(None)
        walk = walk_of(query, request)
        try:
            if await self._are_few(conditions, walk, request):
                return await page(INDEX)
            if walk.is_in_order:
                return await self._walk(query, request, walk, page)
        except OperationFailure as error:
            if error.code not in _UNUSABLE:
                raise
        return await page(None)

    async def _are_few(self, conditions: list[Document], walk: Walk, request: PageRequest) -> bool:
        """Return whether all that match one of the conditions are fewer than a walk would read."""
        most = min(_MAX_FOUND, isqrt(request.limit * await self._collection_size()))
        if walk.range is not None:
            most = await self._count(walk.range, walk.index, most)
        for condition in conditions:
            if await self._count(condition, INDEX, most + 1) <= most:
                return True
        return False

    async def _walk(self, query: Document, request: PageRequest, walk: Walk, page: Read[T]) -> T:
        key = bson.encode(query), request.order, request.backwards
        if self._slow_walks.get(key) is None:
            try:
                with pymongo.timeout(_WALK_SECONDS):
                    return await page(walk.index)
            except (ExecutionTimeout, NetworkTimeout):
                self._slow_walks.put(key, 1)
        return await page(None)

    async def _count(self, query: Document, index: Hint, most: int) -> int:
        """Count the tasks of a query that an index answers alone, and end at a maximum.

        The number is remembered, but not for a rare value: it may become frequent.
        """
        key = bson.encode(query), most
        count = self._counts.get(key) if most else 0
        if count is None:
            count = await self._tasks.count_documents(query, limit=most, hint=index)
            if count >= most or index is not INDEX:
                self._counts.put(key, count)
        return count

    async def _collection_size(self) -> int:
        now = time.monotonic()
        if now - self._measured_at >= _SECONDS:
            self._size, self._measured_at = await self._tasks.estimated_document_count(), now
        return self._size
