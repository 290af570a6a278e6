"""The group commit of new records: those that are created while others are being stored are the next insert."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    PyMongoError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WriteError,
)

from gql_api.aio.batching import BatchedReads
from gql_api.api.creation.clock import Clock
from gql_api.api.creation.documents import complete
from gql_api.api.store.limiter import limited
from gql_api.api.store.tasks import TaskStore
from gql_api.outage import DUPLICATE_KEY
from gql_api.record import fields, reads
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.settings import Settings

# The documents of a group, all of them small, are made in the event loop: so many take some milliseconds.
_MAX_TASKS = 64
# A group begins beside another one that takes long: that may wait on a dead connection, or for members far away.
_CONCURRENCY = 4
# Of a task that has waited for a group, what is left of its timeout may be too short for any answer.
_MIN_SECONDS = 1.0
# The times of a group's records are those of its beginning. They may be older than the insert by no more than a part of
# the time for which live lists allow that a change shows later than its time (``_OVERLAP`` in pubsub/list_feed.py).
_MAX_AGE_SECONDS = 5.0


class _Waiting(NamedTuple):
    task: NewTask
    since: float


class _Row(NamedTuple):
    document: Document
    encoded: RawBSONDocument


class CreationGroups:
    """The inserts of new records. Those that arrive together, from any callers, become one command.

    A lone task is stored at once by :meth:`TaskStore.create`. Its record and that of a task in a group do not differ:
    the document of an insert is complete, with the time of MongoDB.

    Args:
        store: the MongoDB of the API.
        settings: the timeout of a call. Groups that might take longer than the age that their times may have are not
            made.
    """

    def __init__(self, store: TaskStore, settings: Settings) -> None:
        self.limiter = store.limiter
        self._store = store
        self._seconds = settings.store_timeout_seconds
        self._clock = Clock(self._read_time)
        self._tasks = store.database.get_collection(fields.TASKS, codec_options=reads.FAST_CODEC)
        # Not reads, but the same: the tasks that arrive during an insert are the next one.
        self._groups: BatchedReads[_Waiting, Document] = BatchedReads(
            self._create, concurrency=_CONCURRENCY, max_ids=_MAX_TASKS
        )

    async def create(self, task: NewTask) -> Document:
        """Insert the record of a new task with a random id, durably, and return it as stored.

        Raises:
            DuplicateKeyError: its idempotency key belongs to another task.
            WaitQueueTimeoutError: the inserts before it have taken the time of the call; the task is not stored.
            PyMongoError: MongoDB did not answer; the task may or may not be stored.
        """
        # Only MongoDB compares a start time with its own.
        if task.waits or self._seconds > _MAX_AGE_SECONDS:
            return await self._store.create(task)
        return await self._groups.load(_Waiting(task, time.monotonic()))

    async def _create(self, waiting: Sequence[_Waiting]) -> Sequence[Document | Exception]:
        now = time.monotonic()
        in_time = [each for each in waiting if now - each.since < self._seconds]
        created = iter(await self._create_in_time(in_time, now) if in_time else ())
        return [next(created) if now - each.since < self._seconds else self._late() for each in waiting]

    async def _create_in_time(self, waiting: Sequence[_Waiting], now: float) -> Sequence[Document | Exception]:
        left = self._seconds - (now - min(each.since for each in waiting))
        with pymongo.timeout(max(left, _MIN_SECONDS)):
            if len(waiting) == 1:
                return [await self._store.create(waiting[0].task)]
            return await self._insert([each.task for each in waiting])

    def _late(self) -> Exception:
        return WaitQueueTimeoutError(f"Other inserts did not end within {self._seconds:g} s")

    @limited
    async def _insert(self, tasks: Sequence[NewTask]) -> Sequence[Document | Exception]:
        now = await self._clock.now()
        rows = [self._row(task, now) for task in tasks]
        stored = iter(await self._stored([row for row in rows if isinstance(row, _Row)]))
        return [next(stored) if isinstance(row, _Row) else row for row in rows]

    async def _read_time(self) -> datetime:
        hello = await self._store.database.client.admin.command("hello", codec_options=reads.FAST_CODEC)
        now: datetime = hello["localTime"]
        return now

    def _row(self, task: NewTask, now: datetime) -> _Row | Exception:
        """Return what is inserted for a task; one that BSON cannot represent fails alone."""
        try:
            document = complete(self._store.creation(task), now)
            return _Row(document, RawBSONDocument(bson.encode(document)))
        except Exception as error:  # noqa: BLE001 - its caller receives it
            return error

    async def _stored(self, rows: Sequence[_Row]) -> Iterable[Document | Exception]:
        documents = [row.document for row in rows]
        if not rows:
            return documents
        try:
            await self._tasks.insert_many([row.encoded for row in rows], ordered=False)
        except BulkWriteError as error:
            return _outcomes(documents, error.details)
        return documents


def _outcomes(documents: Sequence[Document], details: Any) -> list[Document | Exception]:
    """Return the outcome of each insert: its record, or the error that concerns it."""
    outcomes: list[Document | Exception] = [*documents]
    for unconfirmed in details["writeConcernErrors"]:
        # Where a majority has not confirmed the group, each of its records may be lost yet.
        error = WriteConcernError(unconfirmed["errmsg"], unconfirmed.get("code"), unconfirmed)
        outcomes = [error] * len(documents)
    for failure in details["writeErrors"]:
        outcomes[failure["index"]] = _error(failure)
    return outcomes


def _error(failure: Any) -> PyMongoError:
    kind = DuplicateKeyError if failure["code"] == DUPLICATE_KEY else WriteError
    return kind(failure["errmsg"], failure["code"], failure)
