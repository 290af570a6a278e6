"""What every part of the result backend stands on: connections, the two forms of a value, and reading records."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from celery.backends.mongodb import MongoBackend
from pymongo.errors import DuplicateKeyError

from gql_api.outage import is_outage
from gql_api.record import fields, queries, writes
from gql_api.record.model import NewTask
from gql_api.record.reads import Document, TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.translation import celery_meta
from gql_api.worker.state.process import is_worker
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.tasks import Store

if TYPE_CHECKING:
    from celery import Celery
    from pymongo.collection import Collection
    from pymongo.database import Database

Answer = TypeVar("Answer")


class BaseBackend(MongoBackend):
    """Celery's MongoDB backend on our connections, reading our records."""

    supports_result_compression = False

    def __init__(self, app: Celery, settings: Settings | None = None, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.settings = settings or Settings.load()
        self.connections = connections_for(self.settings)
        self.store = Store(self.connections)
        self.internal_store = Store(self.connections, internal=True)

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

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether to wait for the store: in a worker, while it is just away. Elsewhere whoever asks hears of it."""
        return is_worker() and is_outage(exc)

    def when_store_answers(self, operation: Callable[[], Answer]) -> Answer:
        """Do something with the store. In a worker a store that is away is waited for; elsewhere that is an error."""
        if not is_worker():
            return operation()
        answer: Answer = self._ensure_retryable(operation)
        return answer

    def json_form(self, value: Any) -> Any:
        """A Python value as the JSON value that Celery's serializer makes of it.

        Raises:
            EncodeError: it makes none.
        """
        return None if value is None else json.loads(self.encode(value))

    def python_form(self, value: Any) -> Any:
        """A JSON value as the Python value that Celery's serializer makes of it."""
        return None if value is None else self.decode(json.dumps(value))

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Poll until a task is ready, as Celery's, and look at its parents once more then.

        Their error goes before the one they caused, whatever the poll saw first: Celery's Redis backend has that order.
        """
        meta: dict[str, Any] = super().wait_for(task_id, timeout, interval, no_ack, on_interval)
        if on_interval is not None:
            on_interval()
        return meta

    def task_result_exists(self, task_id: str) -> bool:
        """Whether the id has a record."""
        return self.find(task_id) is not None

    def create_record(self, store: Store, task: NewTask) -> None:
        """Make the record of a task that had none when it was sent, or never was sent; not of one that was deleted."""
        if self.database[fields.TOMBSTONES].find_one(queries.by_id(task.id)) is not None:
            return
        with contextlib.suppress(DuplicateKeyError):  # another process was faster
            store.change(writes.create(task), upsert=True)

    def is_recorded(self, task_id: str) -> bool:
        """Whether the id is a task's that clients see."""
        return self.when_store_answers(lambda: self.store.find(task_id)) is not None

    def find(self, task_id: str) -> TaskRecord | None:
        """Read the record of a task, Celery's internal ones included."""
        return self.store.find(task_id) or self.internal_store.find(task_id)

    def meta_of(self, record: TaskRecord) -> dict[str, Any]:
        """What Celery knows of a task."""
        return self._meta(record.id, record)

    def records_of(self, task_ids: list[str]) -> list[TaskRecord]:
        """Read several tasks, Celery's internal ones included, in no order; one without a record is left out."""
        return [record for store in (self.internal_store, self.store) for record in store.find_all(task_ids)]

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return self._meta(task_id, self.find(task_id))

    def _meta(self, task_id: str, record: TaskRecord | None) -> dict[str, Any]:
        meta: dict[str, Any] = self.meta_from_decoded(celery_meta(task_id, record, self.python_form))
        return meta
