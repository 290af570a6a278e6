"""The task records as the backend reads them and as Celery's states change them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from celery import states
from kombu.exceptions import EncodeError
from pymongo.errors import DocumentTooLarge, DuplicateKeyError, OperationFailure

from gql_api.record import writes
from gql_api.record.fields import is_internal
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write
from gql_api.worker.backend.messages import text_id
from gql_api.worker.backend.translation import ENDS_ATTEMPT, Attempt, worker_of
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

# MongoDB's codes for a document that an update made larger than 16 MiB.
_TOO_LARGE_CODES = {10334, 17419}
_TOO_LARGE = "the result makes the task's document larger than MongoDB's 16 MiB"


class Records:
    """The records of clients' tasks, in ``store``, and of Celery's internal tasks, in ``internal_store``."""

    def __init__(self, connections: Connections) -> None:
        self.store = Store(connections)
        self.internal_store = Store(connections, internal=True)

    def find(self, task_id: str) -> TaskRecord | None:
        """Read one task."""
        task_id = text_id(task_id)
        return self.store.find(task_id) or self.internal_store.find(task_id)

    def find_all(self, task_ids: list[str]) -> list[TaskRecord]:
        """Read several tasks, in any order; an id without a record is left out."""
        return [record for store in (self.internal_store, self.store) for record in store.find_all(task_ids)]

    def store_of(self, task_id: str, name: str | None) -> Store:
        """Return the store that keeps a state of a task: the clients' tasks, or Celery's internal ones.

        ``name`` is the name of the function, or None if Celery reports the state without a request. The state of an
        internal task, or of an id without a name, is kept in the clients' store only if the id has a record there:
        ``Task.replace`` lets ``celery.accumulate`` end under the id of the replaced task.
        """
        if name is not None and not is_internal(name):
            return self.store
        return self.internal_store if self.store.find(task_id) is None else self.store

    def create(self, store: Store, task: NewTask) -> None:
        """Create the record of a task that was sent without one, or was not sent; not that of a deleted task."""
        if store.is_deleted(task.id):
            return
        with contextlib.suppress(DuplicateKeyError):  # another process was faster
            store.change(writes.create(task), upsert=True)

    def store_state(
        self, store: Store, attempt: Attempt, state: str, write: Write, new_task: Callable[[], NewTask]
    ) -> bool:
        """Store a state of a task, and create the record first if it does not exist yet.

        Returns:
            Whether the change is made, now or by an earlier try whose reply was lost.

        Raises:
            EncodeError: the record would be too large.
        """
        if _change(store, write):
            return True
        record = store.find(attempt.task_id)
        if record is not None:
            is_own = record.status == state and record.attempts == attempt.number
            if is_own:
                store.confirm(record)
            return is_own
        self.create(store, new_task())
        if state not in ENDS_ATTEMPT | {states.STARTED}:
            # A custom state that was set from outside, without a start: it implies that the task runs.
            _change(store, writes.start(attempt.task_id, worker=worker_of(None, attempt.request)))
        return _change(store, write)

    def forget(self, task_id: str) -> None:
        """Drop the result of a task."""
        task_id = text_id(task_id)
        if not self.store.change(writes.forget(task_id)):
            self.internal_store.change(writes.forget(task_id))


def _change(store: Store, write: Write) -> bool:
    try:
        return store.change(write) is not None
    except DocumentTooLarge as error:
        raise EncodeError(_TOO_LARGE) from error
    except OperationFailure as error:
        if error.code in _TOO_LARGE_CODES:
            raise EncodeError(_TOO_LARGE) from error
        raise
