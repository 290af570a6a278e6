"""A worker's own connections to MongoDB and Redis, opened in the process that uses them, never inherited by a fork."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from gql_api.record.reads import CODEC, Document
from gql_api.settings import Settings
from gql_api.worker.state.process import is_worker
from gql_api.worker.store.publisher import Publisher

Client = TypeVar("Client")

DURABLE = WriteConcern(w="majority", j=True)
# Progress may be lost with the server that took it: the next report or the final state brings it up again.
QUICK = WriteConcern(w=1)

_EVENT_TIMEOUT_SECONDS = 1.0
_SERVER_SELECTION_MS = 5_000


class PerProcess(Generic[Client]):
    """A client made at its first use in each process. A child never touches, nor closes, what its parent opened."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._clients: dict[int, Client] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._unlock)

    def get(self) -> Client:
        """Return this process's client."""
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            with self._lock:
                client = self._clients.get(pid)
                if client is None:
                    client = self._clients[pid] = self._connect()
        return client

    def pop(self) -> Client | None:
        """Take this process's client out, if it has made one."""
        return self._clients.pop(os.getpid(), None)

    def _unlock(self) -> None:
        # Another thread of the parent may have held the lock at the fork, and no such thread exists in the child.
        self._lock = threading.Lock()


class Connections:
    """The MongoDB database and the Redis of a worker."""

    def __init__(self, settings: Settings) -> None:
        self._database_name = settings.mongodb_database
        self._mongo: PerProcess[MongoClient[Document]] = PerProcess(
            lambda: MongoClient(
                settings.mongodb_url,
                serverSelectionTimeoutMS=_SERVER_SELECTION_MS,
                appname="gql-api worker",
                # A worker makes each of its writes until it hears that it was taken, and knows its own when it was
                # taken before. MongoDB's retries, which cost it a second write each, are for everybody else.
                retryWrites=not is_worker(),
            ),
        )
        self._publisher = PerProcess(lambda: Publisher(settings.redis_url, _EVENT_TIMEOUT_SECONDS))

    def mongo(self) -> MongoClient[Document]:
        """This process's MongoDB client."""
        return self._mongo.get()

    def database(self) -> Database[Document]:
        """The database, with times that carry their offset and acknowledged, journaled majority writes."""
        return self.mongo().get_database(self._database_name, codec_options=CODEC, write_concern=DURABLE)

    def publisher(self) -> Publisher:
        """This process's way to tell events."""
        return self._publisher.get()

    def close(self) -> None:
        """Close what this process has opened, for good."""
        for client in (self._mongo.pop(), self._publisher.pop()):
            if client is not None:
                client.close()


@functools.cache
def connections_for(settings: Settings) -> Connections:
    """One set of connections a process for the same settings: Celery may make a backend for each thread."""
    return Connections(settings)
