"""The servers that the tests of one process share."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import UpdateOne
from pymongo.collection import Collection

from gql_api.cli.embedded_servers import MongodbServer, RedisServer
from gql_api.record import writes
from gql_api.record.model import NewTask

# A busy machine stores as many well within the timeout of a write.
_BATCH = 1_000


_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made below it
_PREFIX = "gql-api-tests-"
# Both servers take less than half a gigabyte, and several test processes run at a time.
_ROOM_BYTES = 4 * 1024**3


@contextlib.contextmanager
def data_folder(otherwise: Path) -> Iterator[Path]:
    """Yield a folder in memory for the data of both servers, or one on a disk where memory has too little room.

    Creating the indexes of a database takes six times as long on a disk. No test of the shared servers kills them.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
        yield otherwise
        return
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY) as folder:
        yield Path(folder)


def _remove_abandoned() -> None:
    """Remove the folders of test processes that were killed."""
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        if not psutil.pid_exists(int(folder.name.removeprefix(_PREFIX).partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Databases:
    """A running MongoDB and a running Redis."""

    mongodb: MongodbServer
    redis: RedisServer


def create_all(collection: Collection[dict[str, Any]], tasks: Sequence[NewTask]) -> None:
    """Create the records of many tasks, in order."""
    for first in range(0, len(tasks), _BATCH):
        collection.bulk_write([UpdateOne(*writes.create(task), upsert=True) for task in tasks[first : first + _BATCH]])
