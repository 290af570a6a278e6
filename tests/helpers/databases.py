"""The servers that the tests of one process share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.collection import Collection

from gql_api.cli.embedded_servers import MongodbServer, RedisServer
from gql_api.record import writes
from gql_api.record.model import NewTask

# A busy machine stores as many well within the timeout of a write.
_BATCH = 1_000


@dataclass(frozen=True)
class Databases:
    """A running MongoDB and a running Redis."""

    mongodb: MongodbServer
    redis: RedisServer


def create_all(collection: Collection[dict[str, Any]], tasks: Sequence[NewTask]) -> None:
    """Create the records of many tasks, in order."""
    for first in range(0, len(tasks), _BATCH):
        collection.bulk_write([UpdateOne(*writes.create(task), upsert=True) for task in tasks[first : first + _BATCH]])
