"""The group commit of new records: those that are created while others are being stored are the next insert.

A group is a task of its own. Its callers wait for one result, and may leave.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

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

from gql_api.aio.background import shielded
from gql_api.aio.batching import Batches, settle
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
# Sends may wait for a broker that does not answer: others begin beside them.
_SENDS = 1000
# The events of so many small documents are encoded in a millisecond.
_MAX_SENT = 100
# Of a task that has waited for a group, what is left of its timeout may be too short for any answer.
_MIN_SECONDS = 1.0
# The times of a group's records are those of its beginning. They may be older than the insert by no more than a part of
# the time for which live lists allow that a change shows later than its time (``_OVERLAP`` in pubsub/list_feed.py).
_MAX_AGE_SECONDS = 5.0


# A task, and its document.
Stored: TypeAlias = tuple[NewTask, Document]
# Sends tasks that were just stored, and returns the error of each that was not sent.
Send: TypeAlias = Callable[[Sequence[Stored]], Awaitable[Sequence[Exception | None]]]


class _Waiting(NamedTuple):
    task: NewTask
    since: float
    answer: asyncio.Future[Document]


class _Row(NamedTuple):
    document: Document
    encoded: RawBSONDocument


class CreationGroups:
    """The inserts of new records. Those that arrive together, from any callers, become one command.

    The tasks of a group are sent together as soon as they are stored, while the next group is being stored. A lone task
    is stored at once by :meth:`TaskStore.create`. Its record and that of a task in a group do not differ: the document
    of an insert is complete, with the time of MongoDB.

    Args:
        store: the MongoDB of the API.
        settings: the timeout of a call. Groups that might take longer than the age that their times may have are not
            made.
        send: sends the tasks of a group that were stored.
    """

    def __init__(self, store: TaskStore, settings: Settings, send: Send) -> None:
        self.limiter = store.limiter
        self._store = store
        self._seconds = settings.store_timeout_seconds
        self._clock = Clock(self._read_time)
        self._tasks = store.database.get_collection(fields.TASKS, codec_options=reads.FAST_CODEC)
        self._send = send
        self._groups: Batches[_Waiting] = Batches(self._create, concurrency=_CONCURRENCY, max_items=_MAX_TASKS)
        self._sends: Batches[tuple[_Waiting, Document]] = Batches(
            self._send_stored, concurrency=_SENDS, max_items=_MAX_SENT
        )

    async def create(self, task: NewTask) -> Document:
        """Insert the record of a new task with a random id, durably, send the task, and return the record as stored.

        All of this happens even if the caller is cancelled.

        Raises:
            DuplicateKeyError: its idempotency key belongs to another task.
            WaitQueueTimeoutError: the inserts before it have taken the time of the call; the task is not stored.
            PyMongoError: MongoDB did not answer; the task may or may not be stored.
        """
        # Only MongoDB compares a start time with its own.
        if task.waits or self._seconds > _MAX_AGE_SECONDS:
            return await self._create_alone(task)
        answer: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._groups.add(_Waiting(task, time.monotonic(), answer))
        return await answer

    @shielded
    async def _create_alone(self, task: NewTask) -> Document:
        document = await self._store.create(task)
        (error,) = await self._send([(task, document)])
        if error is not None:
            raise error
        return document

    async def _create(self, waiting: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._outcomes(waiting)
        except Exception as error:  # noqa: BLE001 - each caller receives it
            outcomes = [error] * len(waiting)
        for each, outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, Exception):
                settle(each.answer, outcome)
            else:
                self._sends.add((each, outcome))

    async def _send_stored(self, stored: Sequence[tuple[_Waiting, Document]]) -> None:
        try:
            errors = await self._send([(each.task, document) for each, document in stored])
        except Exception as error:  # noqa: BLE001 - each caller receives it
            errors = [error] * len(stored)
        for (each, document), refusal in zip(stored, errors, strict=True):
            settle(each.answer, refusal or document)

    async def _outcomes(self, waiting: Sequence[_Waiting]) -> Sequence[Document | Exception]:
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
