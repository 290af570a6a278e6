"""A worker's connections to MongoDB and Redis: each process opens its own, and a forked child inherits none."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from kombu.exceptions import OperationalError
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.write_concern import WriteConcern
from redis.exceptions import RedisError

from gql_api.events import Channels
from gql_api.outage import is_outage
from gql_api.record.reads import CODEC, Document
from gql_api.settings import Settings
from gql_api.worker.state.process import is_worker
from gql_api.worker.store.publisher import Event, Publisher

logger = logging.getLogger(__name__)

Client = TypeVar("Client")

DURABLE = WriteConcern(w="majority", j=True)
# For writes that may be lost with the server that took them: the next report or the final state replaces progress.
QUICK = WriteConcern(w=1)

_EVENT_TIMEOUT_SECONDS = 1.0
_SERVER_SELECTION_MS = 5_000
# PyMongo's own connection asks every server for changes and waits this long for one. Without an answer so much later it
# closes all connections to that server, also those that wait: they may be half-open.
_MONITOR_MS = 5_000
_CONNECT_MS = 5_000
# The longest time for an answer otherwise. Recovery and retention read and write much at a time.
_ANSWER_MS = 60_000


class PerProcess(Generic[Client]):
    """A client that each process makes at its first use. A child neither uses nor closes its parent's client."""

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
        """Remove and return this process's client, if it has made one."""
        return self._clients.pop(os.getpid(), None)

    def _unlock(self) -> None:
        # Another thread of the parent may have held the lock at the fork; that thread does not exist in the child.
        self._lock = threading.Lock()


class Connections:
    """The MongoDB database and the Redis of a worker.

    Args:
        settings: the addresses.
        seconds: how long each call of MongoDB waits for a server, a connection and an answer; by default long enough
            for all calls of a worker. In any other program a call waits for ``STORE_TIMEOUT_SECONDS`` at most.
    """

    def __init__(self, settings: Settings, seconds: float | None = None) -> None:
        self._database_name = settings.mongodb_database
        self.channels = Channels(settings.mongodb_database)
        self._mongo: PerProcess[MongoClient[Document]] = PerProcess(functools.partial(_connect, settings, seconds))
        self._publisher = PerProcess(lambda: Publisher(settings.redis_url, _EVENT_TIMEOUT_SECONDS))
        _OPEN.add(self)

    def mongo(self) -> MongoClient[Document]:
        """Return this process's MongoDB client."""
        return self._mongo.get()

    def database(self) -> Database[Document]:
        """Return the database, with timezone-aware times and acknowledged, journaled majority writes."""
        return self.mongo().get_database(self._database_name, codec_options=CODEC, write_concern=DURABLE)

    def publish(self, events: Sequence[Event]) -> None:
        """Publish events of what was stored. The record is the truth: lost events are logged, never raised."""
        if not events:
            return
        try:
            self._publisher.get().publish(events)
        except (RedisError, OSError):
            logger.warning("%d events were not published, the first on %s", len(events), events[0][0], exc_info=True)

    def close(self) -> None:
        """Close the connections of this process, for good."""
        for client in (self._mongo.pop(), self._publisher.pop()):
            if client is not None:
                client.close()


_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close all connections when the process ends, which otherwise waits a second for the threads of PyMongo."""
    for connections in list(_OPEN):
        connections.close()


def _connect(settings: Settings, seconds: float | None) -> MongoClient[Document]:
    limit = None if seconds is None else round(seconds * 1000)
    # The role of the process is known at the first use.
    whole = None if is_worker() or limit else round(settings.store_timeout_seconds * 1000)
    return MongoClient(
        settings.mongodb_url,
        serverSelectionTimeoutMS=limit or whole or _SERVER_SELECTION_MS,
        connectTimeoutMS=limit or _CONNECT_MS,
        socketTimeoutMS=limit or _ANSWER_MS,
        # The time for an operation with its retries, which takes precedence over the time for an answer.
        timeoutMS=whole,
        heartbeatFrequencyMS=_MONITOR_MS,
        appname="gql-api worker",
        # A worker repeats each write until MongoDB acknowledges it, and recognizes its own earlier write. MongoDB's
        # retries, which cost the server a second write each, are for all other programs.
        retryWrites=not is_worker(),
    )


@contextlib.contextmanager
def library_errors() -> Iterator[None]:
    """Raise, for an outage of MongoDB, the error with which Celery reports that its broker is away.

    Raises:
        OperationalError: MongoDB did not answer. A write may have been done.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        raise OperationalError(f"MongoDB, which records the tasks, did not answer: {error}") from error


@functools.cache
def connections_for(settings: Settings) -> Connections:
    """Return one set of connections for equal settings: Celery may make a backend for each thread."""
    return Connections(settings)
