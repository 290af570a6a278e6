"""The API's asynchronous MongoDB client, with reads and writes of task records."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, ReturnDocument, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.write_concern import WriteConcern

from gql_api import values
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.aio.background import shielded
from gql_api.aio.batching import BatchedReads
from gql_api.api.errors import InvalidRecordError
from gql_api.api.store import misfits
from gql_api.api.store.committed import MAJORITY, CommittedReads, VisibleTask, by_visibility
from gql_api.api.store.definitions import Definitions
from gql_api.api.store.deletions import Deletions
from gql_api.api.store.indexes import Indexes
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.api.store.lists import TaskLists
from gql_api.api.store.logs import LogLines
from gql_api.api.store.partial_reads import PartialReads
from gql_api.api.store.slots import PRINCIPAL, TENANT
from gql_api.events import Channels
from gql_api.outage import found_only_duplicates
from gql_api.query import quotas
from gql_api.record import control, due, fields, queries, reads, writes
from gql_api.record.fitness import rules
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write
from gql_api.registry import queues, workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

Document = dict[str, Any]

_DURABLE = WriteConcern(w="majority", j=True)
# Few calls keep this process busy, for PyMongo takes more time than MongoDB: 8 and 16 at once are equally fast, 32 and
# 100 slower by a third. 16 are enough as long as MongoDB needs at most 10 ms for a call.
_CALLS_CONCURRENCY = 16
# Lists may take long. They have slots of their own, so that reads by id and writes need not wait for them.
_LISTS_CONCURRENCY = 16
# The indexes are built beside all calls, statistics are counted so, and a ping goes when calls get no slot.
_CONNECTIONS = _CALLS_CONCURRENCY + _LISTS_CONCURRENCY + 3
_PING_SECONDS = 1.0
# Records are encoded and decoded in chunks of this size, for other requests wait meanwhile.
_CHUNK = 100
_MONITOR_MS = 5_000


class TaskStore:
    """The MongoDB of the API. Every call has a timeout, after which it raises a :class:`PyMongoError`.

    A call waits for the :class:`ConcurrencyLimiter`, then runs to its end even if its caller is cancelled.
    """

    def __init__(self, settings: Settings) -> None:
        self._shares_queues = settings.shares_queues
        self.channels = Channels(settings.mongodb_database)
        seconds = settings.store_timeout_seconds
        timeout_ms = round(seconds * 1000)
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(
            settings.mongodb_url,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            timeoutMS=timeout_ms,
            # A server that is silent for so long, and for a timeout more, gets new connections.
            heartbeatFrequencyMS=_MONITOR_MS,
            maxPoolSize=_CONNECTIONS,
            appname="gql-api",
        )
        self._database = self._client.get_database(
            settings.mongodb_database, codec_options=reads.CODEC, write_concern=_DURABLE
        )
        # For documents that TaskRecord reads. All others need times with offsets.
        self._tasks = self._database.get_collection(fields.TASKS, codec_options=reads.FAST_CODEC)
        self._now = BatchedReads(self._read_time)
        self._pings = BatchedReads(self._try_ping)
        self.limiter = ConcurrencyLimiter(_CALLS_CONCURRENCY, seconds, seconds, answers=self._answers)
        self.indexes = Indexes(self._database, seconds, [quotas.OPEN_INDEX] if settings.has_open_task_quotas else [])
        self.committed = CommittedReads(self._database, self.limiter)
        self.deletions = Deletions(self._database, self.limiter, self.committed)
        self.definition_reads = Definitions(self._database, self.limiter)
        self.log_lines = LogLines(self._database, self.limiter, self.committed)
        longest = settings.query_timeout_seconds
        # Lists show no task whose creation a failover can roll back, and every write that was acknowledged as durable.
        # Progress may appear there a flush of the journal later, and a client's own change a moment after a failover,
        # until the new primary has committed what it took over. Reads by id show whatever the primary has.
        listed = self._tasks.with_options(read_concern=MAJORITY)
        share = settings.list_slots_per_request
        caps = {PRINCIPAL: settings.quota_list_slots, TENANT: settings.quota_tenant_list_slots}
        lists_limiter = ConcurrencyLimiter(_LISTS_CONCURRENCY, seconds, seconds + longest, share, self._answers, caps)
        self.max_bytes = max_bytes = settings.answer_max_bytes
        self.partial = PartialReads(self._tasks, self.limiter, max_bytes)
        self.lists = TaskLists(listed, lists_limiter, longest, max_bytes)

    @property
    def database(self) -> AsyncDatabase[Document]:
        """The database, with durable writes, for collections that are not about tasks."""
        return self._database

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @limited
    async def ping(self) -> None:
        """Check that MongoDB has a primary that answers."""
        await self._client.admin.command("ping")

    async def _answers(self) -> bool:
        """Return whether MongoDB answers; calls that arrive together share one ping."""
        return self._client.topology_description.has_readable_server() and await self._pings.load("")

    async def _try_ping(self, callers: Sequence[str]) -> list[bool]:
        try:
            with pymongo.timeout(_PING_SECONDS):
                await self._client.admin.command("ping")
        except PyMongoError:
            return [False] * len(callers)
        return [True] * len(callers)

    @limited
    async def change(self, write: Write, visibility: Visibility) -> Document | None:
        """Apply one conditional write, which the caller announces; return None when no visible record matched."""
        filter_, update = write
        return await self._tasks.find_one_and_update(
            visibility.narrowed(filter_), update, return_document=ReturnDocument.AFTER
        )

    @limited
    async def by_idempotency_key(self, key_space: str | None, name: str, key: str) -> TaskRecord | None:
        """Read the task that has an idempotency key, whether its creator may still see it or not."""
        document = await self._tasks.find_one(control.with_key(key_space, name, key))
        return None if document is None else misfits.record(document)

    @limited
    async def release_key(self, task_id: str, age_seconds: float) -> bool:
        """Remove the idempotency key of a task that is old enough; return whether it was."""
        return (await self._tasks.update_one(*control.release_key(task_id, age_seconds))).matched_count > 0

    @limited
    async def change_many(self, writes: Sequence[Write], visibility: Visibility) -> int:
        """Apply writes on many visible records, one after the other, and return the number of changed records."""
        narrowed = [(visibility.narrowed(filter_), update) for filter_, update in writes]
        return sum([(await self._tasks.update_many(*write)).modified_count for write in narrowed])

    async def now(self) -> datetime:
        """Return the time of MongoDB; calls that arrive together share one read."""
        return await self._now.load("")

    @limited
    async def _read_time(self, callers: Sequence[str]) -> list[datetime]:
        hello = await self._client.admin.command("hello", codec_options=reads.CODEC)
        now: datetime = hello["localTime"]
        return [now] * len(callers)

    @limited
    async def worker_pool(self, hostname: str, run: str | None) -> str | None:
        """Read the kind of the pool of a worker, by its name and its run; None for an unknown worker."""
        documents = await self._database[fields.WORKERS].find(workers.by_hostname(hostname)).to_list()
        return workers.pool_of(documents, run)

    @shielded
    async def create_many(self, tasks: Sequence[NewTask]) -> tuple[dict[str, Document], set[str]]:
        """Insert the records of new tasks, many with each command.

        Returns:
            the stored records by id, without those whose idempotency key belongs to another task; and the ids that
            this call inserted, for another call may have inserted some of them.
        """
        stored: dict[str, Document] = {}
        inserted: set[str] = set()
        for start in range(0, len(tasks), _CHUNK):
            chunk = tasks[start : start + _CHUNK]
            inserted |= await self._insert(await asyncio.to_thread(self._inserts, chunk))
            stored |= {
                TaskRecord(document).id: document
                for document in await self.documents([t.id for t in chunk], EVERYTHING)
            }
        return stored, inserted

    @limited
    async def _insert(self, inserts: list[UpdateOne]) -> set[str]:
        try:
            return set(((await self._tasks.bulk_write(inserts, ordered=False)).upserted_ids or {}).values())
        except BulkWriteError as error:
            if not found_only_duplicates(error):
                raise
            return {upserted[fields.ID] for upserted in error.details["upserted"]}

    @limited
    async def create(self, task: NewTask) -> Document:
        """Insert the record of a new task, durably, and return it as stored.

        Raises:
            DuplicateKeyError: its idempotency key belongs to another task.
        """
        filter_, update = self.creation(task)
        document = await self._tasks.find_one_and_update(
            filter_, update, upsert=True, return_document=ReturnDocument.AFTER
        )
        if document is None:
            raise AssertionError("an upsert returns the document")  # an invariant of MongoDB, for the type checker
        return document

    @limited
    async def get(self, task_id: str, visibility: Visibility) -> TaskRecord | None:
        """Read one task; None for an unknown id, and for a task that is not visible.

        Raises:
            InvalidRecordError: its record does not fit.
        """
        if not values.is_text(task_id):
            return None
        document = await self._tasks.find_one(visibility.narrowed(queries.by_id(task_id)))
        return None if document is None else misfits.record(document)

    @limited
    async def revisions(self, task_ids: Collection[str], visibility: Visibility) -> dict[str, int]:
        """Read the revisions of these tasks, by id."""
        found = self._tasks.find(visibility.narrowed(queries.by_ids(list(task_ids))), queries.REVISION_ONLY)
        return queries.revisions_of([document async for document in found])

    async def get_many(self, task_ids: Collection[str], visibility: Visibility) -> list[TaskRecord]:
        """Read those of these tasks that are visible and fit, in any order."""
        return misfits.records(await self.documents(task_ids, visibility))

    @limited
    async def documents(self, task_ids: Collection[str], visibility: Visibility) -> list[Document]:
        """Read the stored documents of those of these tasks that are visible, in any order."""
        return await self._tasks.find(visibility.narrowed(queries.by_ids(list(task_ids)))).to_list()

    async def whole(self, tasks: list[VisibleTask]) -> list[TaskRecord | InvalidRecordError | None]:
        """Read tasks for the live feed, in their order, with None for each that does not exist or is not visible."""
        found = {
            VisibleTask(document[fields.ID], visibility): misfits.record_or_error(document)
            for visibility, task_ids in by_visibility(task for task in tasks if values.is_text(task.task_id)).items()
            for document in await self.documents(task_ids, visibility)
        }
        return [found.get(task) for task in tasks]

    @limited
    async def children_of(self, task_ids: Collection[str], visibility: Visibility) -> list[TaskRecord]:
        """Read the visible children of these tasks, only their states, in any order."""
        query = visibility.narrowed(queries.children_of_any(list(task_ids)))
        found = self._tasks.find(query, queries.STATE_ONLY)
        fit = misfits.fitting(await found.to_list(), rules.of_projection(queries.STATE_ONLY))
        return [TaskRecord(document) for document in fit]

    async def definitions(self, names: list[str] | None = None) -> list[TaskDefinition]:
        """Read the announced task definitions, by name."""
        return await self.definition_reads.all(names)

    @limited
    async def queues(self) -> list[queues.Queue]:
        """Read the queues with their waiting tasks, by name."""
        return [queues.queue_from(row) async for row in await self._database[fields.TASKS].aggregate(queues.depths())]

    @limited
    async def workers(self) -> list[workers.Worker]:
        """Read the live workers, by hostname."""
        return workers.workers_from([row async for row in await self._database[fields.TASKS].aggregate(workers.live())])

    def _inserts(self, tasks: Sequence[NewTask]) -> list[UpdateOne]:
        return [UpdateOne(*self.creation(task), upsert=True) for task in tasks]

    def creation(self, task: NewTask) -> Write:
        """Return the write that creates the record of a task. Run as an upsert."""
        write = writes.create(task)
        return due.unsent(write) if self._shares_queues else write
