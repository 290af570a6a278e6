"""Make many task records, straight in MongoDB, as tasks created, run and ended over ninety days would have left them.

    python benchmarks/dataset.py --tasks 1000000 --data-dir .data/million

With ``--data-dir`` a MongoDB of its own runs on that folder meanwhile; the folder stays, for benchmarks/reading.py.
With ``--mongodb-url`` the records go to that server instead. The same seed makes the same tasks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made import CHUNK, Chunk
from noop import running
from pymongo import MongoClient
from pymongo.collection import Collection

from gql_api.cli.embedded_servers import MongodbServer, free_port
from gql_api.record import fields

DATABASE = "gql_api_benchmark"
SEED = 6


@dataclass(frozen=True)
class Dataset:
    """Which tasks to make, and where they go."""

    url: str
    database: str
    tasks: int
    seed: int = SEED


@contextmanager
def mongodb_on(folder: Path) -> Iterator[str]:
    """Run a MongoDB on a folder until the block ends, and give its address."""
    folder = folder.resolve()
    server = MongodbServer(folder / "mongodb", free_port())
    with running(server.command(folder / "mongod.log"), dict(os.environ), folder / "log"):
        server.initiate()
        yield server.url


def fill(wanted: Dataset, processes: int) -> None:
    """Make the tasks and their indexes, and say how long that took.

    The indexes come last: to build them from what is there takes less time than to keep them at every insert.
    """
    began = time.monotonic()
    firsts = range(0, wanted.tasks, CHUNK)
    done = 0
    with multiprocessing.get_context("spawn").Pool(processes, _connect, (wanted,)) as pool:
        for count in pool.imap_unordered(_insert, firsts):
            done += count
            if done % (100 * CHUNK) == 0:
                print(f"{done:,} documents, {done / (time.monotonic() - began):,.0f}/s", flush=True)
    inserted = time.monotonic()
    with MongoClient[dict[str, Any]](wanted.url) as client:
        tasks = client[wanted.database][fields.TASKS]
        tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        indexed = time.monotonic()
        size = client[wanted.database].command("collStats", fields.TASKS)
    print(
        f"{wanted.tasks:,} documents of {size['avgObjSize']} bytes in {inserted - began:.0f} s, "
        f"{wanted.tasks / (inserted - began):,.0f}/s; "
        f"{size['nindexes']} indexes of {size['totalIndexSize'] / 2**20:,.0f} MiB in {indexed - inserted:.0f} s; "
        f"together {indexed - began:.0f} s"
    )


def refuse_what_is_filled(wanted: Dataset) -> None:
    """Leave alone what is somebody's.

    Raises:
        SystemExit: there are tasks already.
    """
    with MongoClient[dict[str, Any]](wanted.url) as client:
        if client[wanted.database][fields.TASKS].find_one():
            raise SystemExit(f"there are tasks in {wanted.database} already; drop it, or name another by --database")


_target: list[tuple[Dataset, Collection[dict[str, Any]]]] = []


def _connect(wanted: Dataset) -> None:
    client = MongoClient[dict[str, Any]](wanted.url)
    _target.append((wanted, client[wanted.database][fields.TASKS]))


def _insert(first: int) -> int:
    wanted, collection = _target[0]
    count = min(CHUNK, wanted.tasks - first)
    documents = list(Chunk(first, count, wanted.tasks, wanted.seed).documents())
    return len(collection.insert_many(documents, ordered=False).inserted_ids)


def main() -> None:
    """Fill a database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--database", default=DATABASE)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--mongodb-url")
    where.add_argument("--data-dir", type=Path, help="run a MongoDB on this folder, and keep it")
    options = parser.parse_args()
    if options.mongodb_url is not None:
        _run(options, options.mongodb_url)
    else:
        with mongodb_on(options.data_dir) as url:
            _run(options, url)


def _run(options: argparse.Namespace, url: str) -> None:
    wanted = Dataset(url, options.database, options.tasks, options.seed)
    refuse_what_is_filled(wanted)
    fill(wanted, options.processes)


if __name__ == "__main__":
    main()
