"""What hostile inputs cost the API, and what an ordinary client notices of them.

    python benchmarks/abuse.py
    python benchmarks/abuse.py --only aliases,sockets

Each input of benchmarks/abuse_inputs.py meets a new `gql-api serve`, while an ordinary client in a process of its own
reads a task and a list in turn. "blocked" is the longest time that the client waited for an answer. A server that takes
more than 3 GB is ended. The output is a table.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil
from abuse_inputs import (
    CHILDREN,
    HOSTILE_DEFINITION,
    HOSTILE_TASK,
    INPUTS,
    PARENT,
    Document,
    Input,
    Target,
    large_documents,
)
from asking import served
from dataset import mongodb_on
from made import Chunk
from pymongo import MongoClient
from pymongo.database import Database

from gql_api.record import fields, writes
from gql_api.record.model import Progress
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_DATABASE = "gql_api_abuse"
_TASKS = 100_000
_PAUSE_SECONDS = 0.01
_SAMPLE_SECONDS = 0.02
_MAX_MEMORY = 3_000 * 2**20
_QUIET_SECONDS = 1.0
_TASK = f'{{ task(id: "{PARENT}") {{ id status }} }}'
_LIST = "{ tasks(first: 10) { nodes { id status } } }"


@dataclass(frozen=True)
class Sample:
    """One request of the ordinary client: how many seconds it took, and whether it succeeded."""

    seconds: float
    succeeded: bool


def _ordinary_client(port: int, control: Connection) -> None:
    """Read a task and a list in turn until a message arrives, then send the samples. Send None before the first."""
    samples = list[Sample]()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        control.send(None)
        while not control.poll(_PAUSE_SECONDS):
            began, succeeded = time.monotonic(), False
            try:
                answer = client.post("/graphql", json={"query": (_TASK, _LIST)[len(samples) % 2]})
                succeeded = answer.is_success and "errors" not in answer.json()
            except (httpx.TransportError, ValueError):
                pass
            samples.append(Sample(time.monotonic() - began, succeeded))
    control.send(samples)


@contextmanager
def _ordinary(port: int) -> Iterator[list[Sample]]:
    """Run the ordinary client until the block ends; its samples are there afterwards."""
    found = list[Sample]()
    ours, theirs = multiprocessing.Pipe()
    client = multiprocessing.get_context("spawn").Process(target=_ordinary_client, args=(port, theirs))
    client.start()
    ours.recv()
    try:
        yield found
    finally:
        ours.send(None)
        found.extend(ours.recv())
        client.join()


class _Watch:
    """Samples of the memory of the server, which it ends at :data:`_MAX_MEMORY`."""

    def __init__(self, server: psutil.Process) -> None:
        self._server = server
        self.least = self.most = server.memory_info().rss
        self.ended = False

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Take samples until the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _run(self, over: threading.Event) -> None:
        while not over.wait(_SAMPLE_SECONDS):
            try:
                self.most = max(self.most, self._server.memory_info().rss)
            except psutil.NoSuchProcess:
                self.ended = True
                return
            if self.most > _MAX_MEMORY:
                self._server.kill()


@dataclass(frozen=True)
class Result:
    """The cost of an input."""

    outcome: str
    blocked: float
    median: float
    failures: int
    cpu_seconds: float
    megabytes: float

    def row(self, name: str) -> str:
        """Return a line of the table."""
        return (
            f"| {name} | {1000 * self.blocked:,.0f} | {1000 * self.median:,.1f} | {self.failures} "
            f"| {self.cpu_seconds:,.1f} | {self.megabytes:,.0f} | {self.outcome} |"
        )


def _cpu(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


def measure(each: Input, mongodb_url: str, database: Database[Document], folder: Path) -> Result:
    """Send one input to a new server."""
    with served(mongodb_url, _DATABASE, folder) as api:
        port = int(str(api.client.base_url).rpartition(":")[2].strip("/"))
        for query in (_TASK, _LIST) * 20:
            api.data(query)
        redis_url = api.process.environ()["CELERY_BROKER_URL"]
        connections = Connections(
            Settings(mongodb_url=mongodb_url, mongodb_database=_DATABASE, celery_broker_url=redis_url)
        )
        store = Store(connections)

        def change(task_id: str) -> None:
            store.change(writes.progress(task_id, Progress(1, 2, "moved")), quick=True)

        watch, cpu = _Watch(api.process), _cpu(api.process)
        with watch.sampling(), _ordinary(port) as samples:
            time.sleep(_QUIET_SECONDS)
            try:
                outcome = asyncio.run(each.send(Target(port, database, change)))
            except Exception as error:  # noqa: BLE001 - whatever a server that has ended causes
                outcome = type(error).__name__
            time.sleep(_QUIET_SECONDS)
            cpu = 0.0 if watch.ended else _cpu(api.process) - cpu
        connections.close()
    reads = sorted(sample.seconds for sample in samples)
    return Result(
        outcome=f"the server was ended; {outcome}" if watch.ended else outcome,
        blocked=reads[-1],
        median=reads[len(reads) // 2],
        failures=sum(not sample.succeeded for sample in samples),
        cpu_seconds=cpu,
        megabytes=(watch.most - watch.least) / 2**20,
    )


def _fill(database: Database[Document]) -> None:
    """Store ordinary tasks, the parent of 500 of them, and a few with large results."""
    tasks = database[fields.TASKS]
    documents = list(Chunk(0, _TASKS, _TASKS, 1).documents())
    for number, document in enumerate(documents[:CHILDREN]):
        document[fields.ID] = f"{PARENT}-{number}" if number else PARENT
        document[fields.PARENT_ID] = PARENT
    tasks.insert_many(documents)
    tasks.insert_many(large_documents(documents[-1]))
    database[fields.DEFINITIONS].update_one(
        *workers.announce(TaskDefinition(HOSTILE_TASK, HOSTILE_DEFINITION)), upsert=True
    )


def main() -> None:
    """Start a MongoDB and send the inputs, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="parts of the names of inputs, separated by commas")
    only = parser.parse_args().only.split(",")
    with tempfile.TemporaryDirectory() as name, mongodb_on(Path(name)) as url, MongoClient[Document](url) as client:
        _fill(client[_DATABASE])
        print("| input | blocked, ms | median, ms | failed requests of the client | CPU, s | memory, MB | outcome |")
        print("|---|---:|---:|---:|---:|---:|---|")
        for each in INPUTS:
            if any(part in each.name for part in only):
                print(measure(each, url, client[_DATABASE], Path(name)).row(each.name), flush=True)


if __name__ == "__main__":
    main()
