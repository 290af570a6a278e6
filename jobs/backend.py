"""The result backend: Celery's side of a task's life, written into its record instead of over it."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery import states
from celery.backends.mongodb import MongoBackend
from celery.result import GroupResult, result_from_tuple
from kombu.exceptions import EncodeError
from pymongo.errors import (
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from jobs.connections import QUICK, connections_for
from jobs.outage import is_outage
from jobs.outcomes import ENDS_ATTEMPT, Attempt, arrival, celery_meta, change_of, progress_from
from jobs.progress import ProgressWriter
from jobs.record import fields, groups, reads, writes
from jobs.record.details import Progress
from jobs.record.fields import is_internal
from jobs.record.reads import Document, TaskRecord
from jobs.record.writes import Write
from jobs.settings import Settings
from jobs.store import Store

if TYPE_CHECKING:
    from celery import Celery
    from pymongo.collection import Collection
    from pymongo.database import Database

_PROGRESS = "PROGRESS"
_OUTAGE_SECONDS = 1.0
# MongoDB's codes for a document that an update made larger than 16 MiB.
_TOO_LARGE_CODES = {10334, 17419}
_TOO_LARGE = "the result makes the task's document larger than MongoDB's 16 MiB"


@functools.cache
def _progress_writer_for(settings: Settings) -> ProgressWriter:
    """One writer a process, for the report and the end of an attempt may come through different backends."""
    store = Store(connections_for(settings))

    def write(task_id: str, progress: Progress) -> None:
        while True:
            try:
                store.change(writes.progress(task_id, progress), concern=QUICK)
            except PyMongoError as error:
                if not is_outage(error):
                    raise
                time.sleep(_OUTAGE_SECONDS)
            else:
                return

    return ProgressWriter(write, settings.progress_interval_seconds)


class Backend(MongoBackend):
    """Keeps the state of a task in its record, next to everything its caller stored there.

    Each method of Celery's that stores becomes one conditional update; a change that was made is announced, one that
    the record refused (it is final, or not in a state for it) changes and announces nothing. Threads may share one.
    """

    supports_result_compression = False

    def __init__(self, app: Celery, settings: Settings | None = None, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.settings = settings or Settings.load()
        self.connections = connections_for(self.settings)
        self.store = Store(self.connections)
        self._internal_store = Store(self.connections, internal=True)
        self._progress = _progress_writer_for(self.settings)

    def as_uri(self, include_password: bool = False) -> str:
        """The address for the worker's banner."""
        url = self.settings.mongodb_url
        # kombu's sanitizer takes one host; a replica set has several.
        return url if include_password else re.sub(r"(?<=:)[^:/@]*(?=@)", "**", url)

    @property
    def database(self) -> Database[Document]:
        """This process's database handle."""
        return self.connections.database()

    @property
    def collection(self) -> Collection[Document]:
        """The task records."""
        return self.database[fields.TASKS]

    @property
    def group_collection(self) -> Collection[Document]:
        """Celery's saved groups."""
        return self.database[fields.GROUPS]

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether the store is just away. The write is made again then, and refused if the record is final by now."""
        return is_outage(exc)

    def report_progress(self, task_id: str, progress: Progress) -> None:
        """Hand over a progress report; see :class:`jobs.progress.ProgressWriter`."""
        self._progress.report(task_id, progress)

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state as Celery asks; ``PROGRESS`` becomes a progress report.

        Raises:
            EncodeError: the result is nothing that can be stored; Celery then stores that as the failure.
        """
        if state == _PROGRESS:
            self.report_progress(task_id, progress_from(result, self.json_form))
            return result
        if state in ENDS_ATTEMPT:
            kwargs["last_progress"] = self._progress.take(task_id)
        return super().store_result(task_id, result, state, traceback=traceback, request=request, **kwargs)

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Any = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Record the end also of a task with ``ignore_result``: that drops the result, not the state."""
        ignored = request is not None and not request.is_eager and (request.ignore_result or not store_result)
        if ignored:
            self.store_result(task_id, None, state, request=request, ignored=True)
        super().mark_as_done(task_id, result, request=request, store_result=store_result and not ignored, state=state)

    def mark_as_retry(
        self,
        task_id: str,
        exc: BaseException | None,
        traceback: str | None = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Record a retry, unless :meth:`jobs.task.Task.apply_async` did before it sent the next attempt."""
        if getattr(request, "retry_stored", False):
            return None
        return super().mark_as_retry(
            task_id, exc, traceback=traceback, request=request, store_result=store_result, state=state
        )

    def encode_result(self, result: Any, state: str) -> Any:
        """Keep an exception's own text beside what Celery keeps of it."""
        encoded = super().encode_result(result, state)
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return {**encoded, fields.MESSAGE: str(result)}
        return encoded

    def cleanup(self) -> None:
        """Delete expired groups. Tasks are kept: they are what this backend is for."""
        if self.expires:
            self.group_collection.delete_many(groups.older_than(self.expires))

    def task_result_exists(self, task_id: str) -> bool:
        """Whether the id has a record."""
        return self._find(task_id) is not None

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        store = self._store_of(task_id, request)
        if store is self._internal_store and state not in states.READY_STATES:
            return result
        children = self.json_form(self.current_task_children(request))
        attempt = Attempt(task_id, request, children, kwargs.get("last_progress"), kwargs.get("ignored", False))
        try:
            self._record(store, attempt, change_of(attempt, state, result, traceback, self.json_form))
        except EncodeError:
            if attempt.last_progress is None:
                raise
            # A report that cannot be stored must not decide how the task ends.
            attempt = replace(attempt, last_progress=None)
            self._record(store, attempt, change_of(attempt, state, result, traceback, self.json_form))
        return result

    def _record(self, store: Store, attempt: Attempt, write: Write) -> None:
        if not self._change(store, write) and store.find(attempt.task_id) is None:
            self._record_arrival(store, attempt)
            self._change(store, write)

    def _store_of(self, task_id: str, request: Any) -> Store:
        """What Celery stores for its own tasks, or under an id with no task to its name, is no client's task."""
        name = getattr(request, "task", None)
        if name is None:
            return self._internal_store if self.store.find(task_id) is None else self.store
        return self._internal_store if is_internal(name) else self.store

    def json_form(self, value: Any) -> Any:
        """A Python value as the JSON value that Celery's serializer makes of it.

        Raises:
            EncodeError: it makes none.
        """
        return None if value is None else json.loads(self.encode(value))

    def _python_form(self, value: Any) -> Any:
        return None if value is None else self.decode(json.dumps(value))

    def _change(self, store: Store, write: Write) -> bool:
        try:
            return store.change(write)
        except DocumentTooLarge as error:
            raise EncodeError(_TOO_LARGE) from error
        except OperationFailure as error:
            if error.code in _TOO_LARGE_CODES:
                raise EncodeError(_TOO_LARGE) from error
            raise

    def _record_arrival(self, store: Store, attempt: Attempt) -> None:
        """Make a record for a task that no record was made for when it was sent."""
        arrived = arrival(attempt, self.json_form, default_queue=self.app.conf.task_default_queue)
        with contextlib.suppress(DuplicateKeyError):  # another process was faster
            store.change(writes.create(arrived), upsert=True)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = self.meta_from_decoded(celery_meta(task_id, self._find(task_id), self._python_form))
        return meta

    def _forget(self, task_id: str) -> None:
        if not self.store.change(writes.forget(task_id)):
            self._internal_store.change(writes.forget(task_id))

    def _find(self, task_id: str) -> TaskRecord | None:
        return self.store.find(task_id) or self._internal_store.find(task_id)

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        filter_, update = groups.save(group_id, self.json_form(result.as_tuple()))
        self.group_collection.update_one(filter_, update, upsert=True)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        document = self.group_collection.find_one(reads.by_id(group_id))
        if document is None:
            return None
        members = self._python_form(groups.members_of(document))
        return {"task_id": group_id, "result": result_from_tuple(members, self.app)}

    def _delete_group(self, group_id: str) -> None:
        self.group_collection.delete_one(reads.by_id(group_id))
