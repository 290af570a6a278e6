"""Reads that no failover can roll back, which miss nothing that was stored before them.

Two guarantees of MongoDB make that up. The read concern "majority" shows nothing that can be rolled back; but a new
primary answers such reads for a moment with less than its predecessor had acknowledged. A causally consistent session
closes that gap: a read in it waits until its member shows the last barrier that this process has passed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from bson.timestamp import Timestamp
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from gql_api.access.visibility import Visibility
from gql_api.aio.batching import BatchedReads
from gql_api.api.store import misfits
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, queries, reads
from gql_api.record.fitness import rules
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

MAJORITY = ReadConcern("majority")


class VisibleTask(NamedTuple):
    """A task for a reader, for whom it does not exist if it is not visible."""

    task_id: str
    visibility: Visibility


def by_visibility(tasks: Iterable[VisibleTask]) -> dict[Visibility, set[str]]:
    """Return the ids of tasks by the visibility of their readers: one query reads those of one visibility."""
    alike: dict[Visibility, set[str]] = defaultdict(set)
    for task_id, visibility in tasks:
        alike[visibility].add(task_id)
    return alike


class CommittedReads:
    """A reader of what a majority of the members of a replica set has.

    A read may still be behind the writes that a primary acknowledged by itself, like progress. A read after a
    :meth:`barrier` is not: it shows all writes that were acknowledged before the barrier began, except lost ones, even
    if another member has become primary in between. So what such a read does not show, though a client received it
    before the barrier, is lost for good.

    Args:
        database: the one with the collections of this project, with durable writes.
        limiter: bounds the calls of MongoDB.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], limiter: ConcurrencyLimiter) -> None:
        self.limiter = limiter
        self._client = database.client
        # By the clock of the replica set: the last barrier. A server without members has no such clock.
        self._passed_at: Timestamp | None = None
        self._tasks = database.get_collection(fields.TASKS, codec_options=reads.FAST_CODEC, read_concern=MAJORITY)
        self._barriers = database[fields.BARRIERS]
        self._passed = BatchedReads(self._pass)
        self._loads = BatchedReads(self._load_all)

    async def barrier(self) -> None:
        """Wait until a majority has all writes of the primary; calls that arrive together share one write.

        Raises:
            PyMongoError: there is no primary, or it has lost its majority without noticing that yet.
        """
        await self._passed.load("")

    def session(self) -> AsyncClientSession:
        """Start a session for majority reads that show everything that was stored before the last barrier."""
        session = self._client.start_session(causal_consistency=True)
        if self._passed_at is not None:
            session.advance_operation_time(self._passed_at)
        return session

    async def load(self, task_id: str, visibility: Visibility) -> TaskRecord | None:
        """Read one visible task behind a barrier; reads that arrive together share both."""
        return await self._loads.load(VisibleTask(task_id, visibility))

    @limited
    async def versions(self, task_ids: Collection[str], visibility: Visibility) -> dict[str, Version]:
        """Read the versions of those of these tasks that are visible, by id.

        That of a record that does not fit is ``NO_VERSION``: it is neither news, nor deleted.
        """
        async with self.session() as session:
            query = visibility.narrowed(queries.by_ids(list(task_ids)))
            found = self._tasks.find(query, queries.CHANGE_ONLY, session=session)
            documents = await found.to_list()
            versions = {document[fields.ID]: NO_VERSION for document in documents}
            return versions | queries.versions_of(misfits.fitting(documents, rules.CORE))

    @limited
    async def records(self, task_ids: Collection[str], visibility: Visibility) -> list[TaskRecord]:
        """Read those of these tasks that are visible and fit, in any order."""
        async with self.session() as session:
            found = self._tasks.find(visibility.narrowed(queries.by_ids(list(task_ids))), session=session)
            return misfits.records(await found.to_list())

    @limited
    async def _pass(self, callers: Sequence[str]) -> Sequence[None]:
        async with self.session() as session:
            await self._barriers.update_one(*queries.barrier(), upsert=True, session=session)
            # Two barriers may overlap, and the later one may have passed first.
            times = (self._passed_at, session.operation_time)
            self._passed_at = max((time for time in times if time is not None), default=None)
        return [None] * len(callers)

    async def _load_all(self, tasks: Sequence[VisibleTask]) -> list[TaskRecord | None]:
        await self.barrier()
        found = {
            VisibleTask(record.id, visibility): record
            for visibility, task_ids in by_visibility(tasks).items()
            for record in await self.records(task_ids, visibility)
        }
        return [found.get(task) for task in tasks]
