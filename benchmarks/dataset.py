"""Insert many task records into MongoDB, like those of tasks that were created and run over ninety days.

    python benchmarks/dataset.py --tasks 1000000 --data-dir .data/million

With ``--data-dir`` a MongoDB runs on that folder, which stays for benchmarks/reading.py. With ``--mongodb-url`` the
records go to that server. The same seed makes the same tasks.
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
    """The number and seed of the tasks, and the database they go to."""

    url: str
    database: str
    tasks: int
    seed: int = SEED


@contextmanager
def mongodb_on(folder: Path) -> Iterator[str]:
    """Run a MongoDB on a folder until the block ends, and yield its address."""
    folder = folder.resolve()
    server = MongodbServer(folder / "mongodb", free_port())
    with running(server.command(folder / "mongod.log"), dict(os.environ), folder / "log"):
        server.initiate()
        yield server.url


def fill(dataset: Dataset, processes: int) -> None:
    """Insert the tasks, create the indexes, and print the times."""
    # The indexes come last: building them from the finished collection takes less time than every insert would.
    began = time.monotonic()
    firsts = range(0, dataset.tasks, CHUNK)
    done = 0
    with multiprocessing.get_context("spawn").Pool(processes, _connect, (dataset,)) as pool:
        for count in pool.imap_unordered(_insert, firsts):
            done += count
            if done % (100 * CHUNK) == 0:
                print(f"{done:,} documents, {done / (time.monotonic() - began):,.0f}/s", flush=True)
    inserted = time.monotonic()
    with MongoClient[dict[str, Any]](dataset.url) as client:
        tasks = client[dataset.database][fields.TASKS]
        tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        indexed = time.monotonic()
        size = client[dataset.database].command("collStats", fields.TASKS)
    print(
        f"{dataset.tasks:,} documents of {size['avgObjSize']} bytes in {inserted - began:.0f} s, "
        f"{dataset.tasks / (inserted - began):,.0f}/s; "
        f"{size['nindexes']} indexes of {size['totalIndexSize'] / 2**20:,.0f} MiB in {indexed - inserted:.0f} s; "
        f"together {indexed - began:.0f} s"
    )


def refuse_existing_tasks(dataset: Dataset) -> None:
    """Refuse a database that has tasks.

    Raises:
        SystemExit: the database has tasks.
    """
    with MongoClient[dict[str, Any]](dataset.url) as client:
        if client[dataset.database][fields.TASKS].find_one():
            raise SystemExit(f"{dataset.database} has tasks already; drop it, or name another by --database")


_target: list[tuple[Dataset, Collection[dict[str, Any]]]] = []


def _connect(dataset: Dataset) -> None:
    client = MongoClient[dict[str, Any]](dataset.url)
    _target.append((dataset, client[dataset.database][fields.TASKS]))


def _insert(first: int) -> int:
    dataset, collection = _target[0]
    count = min(CHUNK, dataset.tasks - first)
    documents = list(Chunk(first, count, dataset.tasks, dataset.seed).documents())
    return len(collection.insert_many(documents, ordered=False).inserted_ids)


def main() -> None:
    """Insert the tasks into the database of the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--database", default=DATABASE)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--mongodb-url")
    where.add_argument("--data-dir", type=Path, help="run a MongoDB on this folder, which stays")
    options = parser.parse_args()
    if options.mongodb_url is not None:
        _run(options, options.mongodb_url)
    else:
        with mongodb_on(options.data_dir) as url:
            _run(options, url)


def _run(options: argparse.Namespace, url: str) -> None:
    dataset = Dataset(url, options.database, options.tasks, options.seed)
    refuse_existing_tasks(dataset)
    fill(dataset, options.processes)


if __name__ == "__main__":
    main()
