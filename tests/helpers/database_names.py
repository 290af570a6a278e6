"""Databases for one test each: making what the API needs, and dropping it, takes longer than most tests."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from databases import Databases
from pymongo import MongoClient
from pymongo.database import Database
from redis import Redis

from gql_api.api.store.tasks import TaskStore
from gql_api.events import Channels
from gql_api.record import fields
from gql_api.settings import Settings

_Client: TypeAlias = MongoClient[dict[str, Any]]

# To drop a database is faster than to delete more.
_MOST_DELETED = 500
# Tests take turns with so many.
_FREE = 3


def settings_for(databases: Databases, name: str) -> Settings:
    """Return settings with a database."""
    return Settings(
        mongodb_url=databases.mongodb.url,
        mongodb_database=name,
        celery_broker_url=databases.redis.url,
        progress_interval_seconds=0.05,
    )


@dataclass
class DatabaseNames:
    """The names of databases of one server.

    Databases are dropped by a thread, for that waits for the journal.
    """

    databases: Databases
    client: _Client
    redis: Redis
    thread: ThreadPoolExecutor
    free: list[_Prepared] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def open(cls, databases: Databases) -> Iterator[DatabaseNames]:
        """Connect to the servers."""
        with (
            _Client(databases.mongodb.url) as client,
            Redis.from_url(databases.redis.url) as redis,
            ThreadPoolExecutor(1) as thread,
        ):
            yield cls(databases, client, redis, thread)

    @contextlib.contextmanager
    def new(self) -> Iterator[str]:
        """Yield the name of a database that does not exist, and drop that later."""
        name = f"test_{uuid.uuid4().hex}"
        yield name
        self._drop(name)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[str]:
        """Yield the name of a database that has what the API makes when it starts, and no documents."""
        # A test may use up all open files: the connection has to exist at its end.
        self.redis.ping()
        # The one that has been free for longest.
        database = self.free.pop(0) if len(self.free) >= _FREE else self._prepare()
        if not database.is_empty():
            # A test had left something running, which wrote to it after the end of the test.
            self._drop(database.name)
            database = self._prepare()
        yield database.name
        self._forget_quotas(database.name)
        if database.is_restored():
            self.free.append(database)
        else:
            self._drop(database.name)

    def _forget_quotas(self, name: str) -> None:
        """Remove what Redis counts for the deployment with this database: the next test has the same subjects."""
        for key in self.redis.scan_iter(f"{Channels(name).quotas}*", count=1000):
            self.redis.delete(key)

    def _drop(self, name: str) -> None:
        self.thread.submit(self.client.drop_database, name)

    def _prepare(self) -> _Prepared:
        name = f"test_{uuid.uuid4().hex}"
        # In a thread, for an event loop may be running in this one.
        self.thread.submit(asyncio.run, _create_indexes(settings_for(self.databases, name))).result()
        return _Prepared(self.client[name])


async def _create_indexes(settings: Settings) -> None:
    store = TaskStore(settings)
    await store.indexes.create()
    await store.close()


class _Prepared:
    """A database that was just prepared."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self._collections = self._find()
        self._indexes = self._stats()["indexes"]

    @property
    def name(self) -> str:
        """Its name."""
        return self._database.name

    def is_empty(self) -> bool:
        """Return whether it has no documents."""
        return self._objects() == 0

    def is_restored(self) -> bool:
        """Remove what was added, and return whether the database is now as it was."""
        if self._objects() > _MOST_DELETED:
            return False
        for name in self._find():
            if name in self._collections:
                self._database[name].delete_many({})
            else:
                self._database.drop_collection(name)
        self._database.command("planCacheClear", fields.TASKS)
        return self._find() == self._collections and self._stats()["indexes"] == self._indexes

    def _find(self) -> dict[str, Mapping[str, Any]]:
        """Return the collections with their options and identities, which another of the same name does not have."""
        return {each["name"]: each for each in self._database.list_collections()}

    def _objects(self) -> int:
        objects: int = self._stats()["objects"]
        return objects

    def _stats(self) -> dict[str, Any]:
        return self._database.command("dbStats")
