"""The recovery of one worker, over an adopted app without workers."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from celery import Celery
from databases import create_all
from pymongo import UpdateOne
from redis import Redis

from gql_api.adopt import adopt
from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery.backlog import Backlog
from gql_api.worker.recovery.contact import Contacts
from gql_api.worker.recovery.recovery import Recovery
from gql_api.worker.sending.republish import publish

HOUR_MS = 3_600_000
MAX_LOST_WORKERS = 3
# A scan takes less, on a busy machine too.
LEASE_SECONDS = 60.0


class SteadyRecovery(Recovery):
    """The recovery of one worker, for which no time passes between the answers of the servers but what a test adds."""

    def __init__(self, app: Celery, backend: Backend) -> None:
        super().__init__(app, backend, threading.Event())
        self.seconds = 0.0
        self.contacts = Contacts(backend, Backlog(app), lambda: self.seconds)

    def keep_contact(self) -> None:
        """Stay in contact with both servers for longer than a lease."""
        for _ in range(4):
            self.seconds += 0.4 * LEASE_SECONDS
            self.contacts.ask_store()
            self.contacts.ask_broker()
        assert self.contacts.is_store_steady
        assert self.contacts.is_broker_steady


@dataclass
class Bench:
    """An adopted app without workers, a queue of its own, and the recovery of one worker."""

    app: Celery
    backend: Backend
    queue: str
    redis: Redis
    workers: ExitStack

    def recovery(self) -> SteadyRecovery:
        """Make a worker's recovery that has been in contact with both servers for long enough, and stays so."""
        recovery = SteadyRecovery(self.app, self.backend)
        recovery.keep_contact()
        return recovery

    def scan(self, recovery: Recovery) -> bool:
        """Scan once, with the locks that other workers may have, and return whether there is more to do."""
        self.backend.database[fields.LEADER_LOCKS].delete_many({})
        return recovery.scan()

    def create(self, number: int, *, priority: int = 0) -> list[str]:
        """Create the records of tasks that were queued an hour ago, one after the other."""
        ids = [str(uuid.uuid4()) for _ in range(number)]
        tasks = [NewTask(id=id_, name="job", queue=self.queue, priority=priority) for id_ in ids]
        create_all(self.backend.collection, tasks)
        self.backend.collection.bulk_write(
            [UpdateOne({"_id": id_}, _set_back(HOUR_MS - n)) for n, id_ in enumerate(ids)], ordered=False
        )
        return ids

    def start(self, ids: Sequence[str], **more: Any) -> None:
        """Make tasks STARTED, with leases that have expired."""
        state = {fields.STATUS: Status.STARTED, fields.ATTEMPTS: 1, **more}
        self.backend.collection.update_many({"_id": {"$in": list(ids)}}, {"$set": state})

    def find(self, *ids: str) -> list[TaskRecord]:
        """Read tasks, in order."""
        records = {record.id: record for record in self.backend.store.find_all(list(ids))}
        return [records[id_] for id_ in ids]

    def send_as_a_caller(self, *ids: str) -> None:
        """Publish the first messages of tasks, as the API does."""
        with self.app.producer_or_acquire() as producer:
            for record in self.find(*ids):
                message = self.app.amqp.as_task_v2(record.id, record.name, [], {})
                self.app.amqp.send_unrecorded(producer, message, queue=self.queue, priority=record.priority)

    def send_again(self, task_id: str) -> None:
        """Publish the message of a task once more, as recovery does."""
        self.backend.collection.update_one({"_id": task_id}, [{"$set": {fields.DUE_AT: "$$NOW"}}])
        publish(self.app, *self.find(task_id))

    def take_message(self) -> str:
        """Take the next message of priority 0 and return the id of its task."""
        return _id_of(self.redis.rpop(self.queue))

    def queued(self, priority: int = 0) -> list[str]:
        """Return the ids in the queue, the oldest message first."""
        key = self.queue if priority == 0 else f"{self.queue}\x06\x16{priority}"
        messages: Any = self.redis.lrange(key, 0, -1)
        return [_id_of(message) for message in reversed(messages)]


def _id_of(message: Any) -> str:
    return str(json.loads(message)["headers"]["id"])


def _job() -> None:
    """Do nothing: no worker runs."""


def _set_back(milliseconds: int) -> list[dict[str, Any]]:
    at = {"$subtract": ["$$NOW", milliseconds]}
    entry = {fields.REVISION: 1, fields.STATUS: Status.QUEUED, fields.AT: at}
    return [{"$set": {fields.DUE_AT: at, fields.CREATED_AT: at, fields.HISTORY: [entry]}}]


@contextlib.contextmanager
def recovery_bench(settings: Settings) -> Iterator[Bench]:
    """Yield a bench whose settings have a long lease."""
    limits = {"lease_seconds": LEASE_SECONDS, "max_lost_workers": MAX_LOST_WORKERS}
    settings = settings.model_copy(update=limits)
    app = adopt(Celery("recovery-tests", set_as_current=False, broker=settings.celery_broker_url))
    app.task(name="job")(_job)
    app.finalize()
    backend = Backend(app, settings)
    app._backend_cache = backend  # noqa: SLF001 - the backend would read the environment
    backend.collection.create_indexes(fields.INDEXES)
    with Redis.from_url(settings.celery_broker_url) as redis, ExitStack() as workers:
        yield Bench(app, backend, f"q-{uuid.uuid4()}", redis, workers)
    backend.connections.close()
    app.close()
