"""The task records as the API sees them: read, and created, over one asynchronous MongoDB client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from gql_api.background import to_its_end
from gql_api.lists import TaskLists
from jobs import values
from jobs.definitions import TaskDefinition
from jobs.record import chords, control, fields, logs, queries, queues, reads, workers, writes
from jobs.record.details import NewTask
from jobs.record.logs import LogLevel, LogLine
from jobs.record.reads import TaskRecord
from jobs.record.writes import Write
from jobs.settings import Settings

logger = logging.getLogger(__name__)

Document = dict[str, Any]

_DURABLE = WriteConcern(w="majority", j=True)
_INDEX_RETRY_SECONDS = 1.0
_INDEX_SECONDS = 3600.0
_DUPLICATE_KEY = 11000
# So many records are encoded and decoded in one go at most: other requests wait for that.
_CHUNK = 100


class TaskStore:
    """MongoDB behind the API. Every call is bounded in time and raises a :class:`PyMongoError` when that is over.

    A call goes on to its end when whoever waits for it is cancelled: see :func:`to_its_end`.
    """

    def __init__(self, settings: Settings) -> None:
        timeout_ms = round(settings.store_timeout_seconds * 1000)
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(
            settings.mongodb_url,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            timeoutMS=timeout_ms,
            appname="gql-api",
        )
        self._database = self._client.get_database(
            settings.mongodb_database, codec_options=reads.CODEC, write_concern=_DURABLE
        )
        self._tasks = self._database[fields.TASKS]
        self._timeout = settings.store_timeout_seconds
        self._tombstones = self._database[fields.TOMBSTONES]
        self._indexed = asyncio.Event()
        self.lists = TaskLists(self._tasks, settings.query_timeout_seconds)
        # A cursor must not name a line that a failover takes back.
        self._log_lines = self._database.get_collection(fields.TASK_LOGS, read_concern=ReadConcern("majority"))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @to_its_end
    async def ping(self) -> None:
        """Ask whether MongoDB has a primary that answers."""
        await self._client.admin.command("ping")

    async def create_indexes(self) -> None:
        """Create what is missing of the indexes, however long MongoDB takes to come up, and to build them.

        What makes idempotency keys unique comes first, for calls wait for it.
        """
        while True:
            try:
                # A large collection takes its time, which is no outage.
                with pymongo.timeout(_INDEX_SECONDS):
                    await self._tasks.create_indexes(fields.UNIQUE_INDEXES)
                    self._indexed.set()
                    await self._tasks.create_indexes(fields.INDEXES)
                    await self._database[fields.CHORDS].create_indexes(chords.INDEXES)
                    await self._tombstones.create_indexes(fields.TOMBSTONE_INDEXES)
                    await self._log_lines.create_indexes(logs.INDEXES)
            except PyMongoError as error:
                logger.warning("The indexes are not made yet: %s", error)
                await asyncio.sleep(_INDEX_RETRY_SECONDS)
            else:
                return

    async def indexes(self) -> None:
        """Wait for the indexes: the one of idempotency keys is what makes them unique.

        Raises:
            ServerSelectionTimeoutError: MongoDB did not come up in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._indexed.wait()
        except TimeoutError as error:
            raise ServerSelectionTimeoutError("the indexes are not made yet") from error

    @to_its_end
    async def change(self, write: Write) -> Document | None:
        """Make one conditional change; ``gql_api.changes`` announces it. None when the record did not take it."""
        filter_, update = write
        return await self._tasks.find_one_and_update(filter_, update, return_document=ReturnDocument.AFTER)

    @to_its_end
    async def with_key(self, name: str, key: str) -> TaskRecord | None:
        """Read the task of an idempotency key."""
        document = await self._tasks.find_one(control.with_key(name, key))
        return None if document is None else TaskRecord(document)

    @to_its_end
    async def release_key(self, task_id: str, age_seconds: float) -> bool:
        """Take the idempotency key from a task that has had it for so long; tells whether it has."""
        return (await self._tasks.update_one(*control.release_key(task_id, age_seconds))).matched_count > 0

    @to_its_end
    async def change_many(self, writes: Sequence[Write]) -> int:
        """Make changes of many records, one after the other, and return how many were made."""
        return sum([(await self._tasks.update_many(*write)).modified_count for write in writes])

    @to_its_end
    async def delete(self, task_ids: Sequence[str]) -> tuple[list[tuple[Document, datetime]], int]:
        """Delete those of some tasks that are final, and leave tombstones.

        Returns:
            what filters ask for of each, and when it was deleted; and how many of them this call deleted, for another
            one may have been at the same.
        """
        documents = await self._tasks.find(control.deletable(task_ids), queries.FILTERED_ONLY).to_list()
        if not documents:
            return [], 0
        found = {TaskRecord(document).id: document for document in documents}
        graves = [UpdateOne(*control.bury(task_id), upsert=True) for task_id in found]
        await self._tombstones.bulk_write(graves, ordered=False)
        buried = [control.grave_from(grave) async for grave in self._tombstones.find(control.buried([*found]))]
        await self._log_lines.delete_many(logs.of_tasks([*found]))
        count = (await self._tasks.delete_many(control.deletable([*found]))).deleted_count
        return [(found[task_id], at) for task_id, at in buried], count

    async def deleted_since(self, time: datetime) -> AsyncIterator[tuple[str, datetime]]:
        """Read which tasks were deleted from a time on, and when; the oldest first."""
        graves = self._tombstones.find(control.buried_since(time)).sort(control.EARLIEST_GRAVE)
        more = to_its_end(graves.to_list)
        while found := await more(_CHUNK):
            for grave in found:
                yield control.grave_from(grave)

    @to_its_end
    async def now(self) -> datetime:
        """Ask MongoDB for its time."""
        hello = await self._client.admin.command("hello", codec_options=reads.CODEC)
        now: datetime = hello["localTime"]
        return now

    @to_its_end
    async def pool_of(self, hostname: str) -> str | None:
        """Read which pool a worker has; None when it is not known."""
        document = await self._database[fields.WORKERS].find_one(workers.by_hostname(hostname))
        return None if document is None else workers.pool_of(document)

    @to_its_end
    async def create_many(self, tasks: Sequence[NewTask]) -> tuple[dict[str, Document], set[str]]:
        """Insert the records of new tasks, many by one command.

        Returns:
            the records that are there now, by id: one is left out when its idempotency key is another task's; and the
            ids that this call inserted, for another one may have been at the same.
        """
        there: dict[str, Document] = {}
        inserted: set[str] = set()
        for start in range(0, len(tasks), _CHUNK):
            chunk = tasks[start : start + _CHUNK]
            inserted |= await self._insert(await asyncio.to_thread(_inserts, chunk))
            found = self._tasks.find(queries.by_ids([task.id for task in chunk]))
            there |= {TaskRecord(document).id: document async for document in found}
        return there, inserted

    async def _insert(self, inserts: list[UpdateOne]) -> set[str]:
        try:
            return set(((await self._tasks.bulk_write(inserts, ordered=False)).upserted_ids or {}).values())
        except BulkWriteError as error:
            problems = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(p["code"] != _DUPLICATE_KEY for p in problems):
                raise
            return {upserted[fields.ID] for upserted in error.details["upserted"]}

    @to_its_end
    async def create(self, task: NewTask) -> Document:
        """Insert the record of a new task, durably, and return it as stored.

        Raises:
            DuplicateKeyError: its idempotency key is another task's.
        """
        filter_, update = writes.create(task)
        document = await self._tasks.find_one_and_update(
            filter_, update, upsert=True, return_document=ReturnDocument.AFTER
        )
        if document is None:
            raise AssertionError("an upsert returns the document")
        return document

    @to_its_end
    async def get(self, task_id: str) -> TaskRecord | None:
        """Read one task; None when there is none with this id, or can be none."""
        if not values.is_text(task_id):
            return None
        document = await self._tasks.find_one(queries.by_id(task_id))
        return None if document is None else TaskRecord(document)

    @to_its_end
    async def revisions(self, task_ids: Collection[str]) -> dict[str, int]:
        """Read how far some tasks are, by id."""
        found = self._tasks.find(queries.by_ids(list(task_ids)), queries.REVISION_ONLY)
        return queries.revisions_of([document async for document in found])

    async def get_many(self, task_ids: Collection[str]) -> list[TaskRecord]:
        """Read the tasks that exist among these, in no order."""
        return [TaskRecord(document) for document in await self.documents(task_ids)]

    @to_its_end
    async def documents(self, task_ids: Collection[str]) -> list[Document]:
        """Read the same as they are stored."""
        return await self._tasks.find(queries.by_ids(list(task_ids))).to_list()

    async def by_ids(self, task_ids: list[str]) -> list[TaskRecord | None]:
        """Read tasks in the order of their ids, with None where there is none, or can be none."""
        found = {record.id: record for record in await self.get_many(set(filter(values.is_text, task_ids)))}
        return [found.get(task_id) for task_id in task_ids]

    @to_its_end
    async def below(self, task_ids: Collection[str]) -> list[TaskRecord]:
        """Read the states, and no more, of the tasks that some tasks sent, in no order."""
        found = self._tasks.find(queries.children_of_any(list(task_ids)), queries.STATE_ONLY)
        return [TaskRecord(document) async for document in found]

    @to_its_end
    async def log_lines(self, task_id: str, after: int, level: LogLevel, limit: int) -> list[LogLine]:
        """Read what a task has logged, in order, after a position."""
        found = self._log_lines.find(logs.after(task_id, after, level))
        return [logs.line_from(document) async for document in found.sort(logs.IN_ORDER).limit(limit)]

    @to_its_end
    async def log_counts(self, task_ids: Collection[str]) -> dict[str, int]:
        """Read how many lines some tasks have logged, by id."""
        found = self._tasks.find(queries.by_ids(list(task_ids)), logs.COUNTS_ONLY)
        return logs.counts_of([document async for document in found])

    @to_its_end
    async def definitions(self, names: list[str] | None = None) -> list[TaskDefinition]:
        """Read what workers have announced, by name."""
        pipeline = workers.definitions_with_workers(names)
        rows = await self._database[fields.DEFINITIONS].aggregate(pipeline)
        return [workers.definition_from(row) async for row in rows]

    @to_its_end
    async def queues(self) -> list[queues.Queue]:
        """Read what waits in each queue, by name."""
        return [queues.queue_from(row) async for row in await self._tasks.aggregate(queues.depths())]

    @to_its_end
    async def workers(self) -> list[workers.Worker]:
        """Read the live workers, by hostname."""
        return [workers.worker_from(row) async for row in await self._tasks.aggregate(workers.live())]


def _inserts(tasks: Sequence[NewTask]) -> list[UpdateOne]:
    return [UpdateOne(*writes.create(task), upsert=True) for task in tasks]
