"""Live lists with different filters: what an event costs when ten clients watch lists, and when a thousand do.

    python benchmarks/live_filters.py --filters 10,1000 --condition equal --rounds 3

Every client has a filter of its own, and every event is a change of a task that exactly one of them finds. The changes
are made and published by a worker's own code, at a rate that the API can keep. If `taskset` is installed, the API has
the first core for itself. The table compares the counts with the first of them, paired within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from live_sockets import Socket, sequence_text
from pinned import Databases, databases
from tables import INTO, Figures, report, table

from gql_api.cli.embedded_servers import free_port
from gql_api.record import writes
from gql_api.record.model import NewTask, Progress
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_PROBE_SECONDS, _POLL_SECONDS = 1.0, 0.1
_LATEST_SECONDS = 30.0
_WATCH_LIST = """subscription ($filter: TaskFilter) {
  taskChanges(filter: $filter) { kind taskId task { status progress { message } } }
}"""

CONDITIONS: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "equal": lambda id_: [{"path": "customer.id", "eq": id_}],
    "and": lambda id_: [
        {"path": "customer.tier", "eq": "gold"},
        {"path": "amount", "gte": 3},
        {"path": "customer.id", "eq": id_},
    ],
    "in": lambda id_: [{"path": "customer.id", "in": [id_, *(f"other-{number}" for number in range(20))]}],
}
"""The metadata conditions of a filter that finds the task of one customer, by the name of their kind."""


class Clients:
    """The sockets, each with a filter of its own, and the worker that changes their tasks."""

    def __init__(self, store: Store, port: int, condition: str) -> None:
        self._store = store
        self._port = port
        self._condition = condition
        self._number = 0
        # By task, with their numbers: when those changes were made that its client has not received yet.
        self._sent: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        self._took: list[float] = []
        self._sockets: list[Socket] = []

    async def connect(self, count: int) -> None:
        """Connect the sockets, and publish changes until each has received one."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            id_ = str(uuid.uuid4())
            metadata = {"customer": {"id": id_, "tier": "gold"}, "amount": 5, "tags": ["a", "b"]}
            self._store.change(writes.create(NewTask(id=id_, name="noop", metadata=metadata)), upsert=True, quick=True)
            self._store.change(writes.start(id_, worker="w"), quick=True)
            filter_ = {"metadata": CONDITIONS[self._condition](id_)}
            operation = {"query": _WATCH_LIST, "variables": {"filter": filter_}}
            make = _socket_maker(id_, self._receive, operation)
            self._sockets.append((await loop.create_connection(make, "127.0.0.1", self._port))[1])
        waiting = self._sockets
        await asyncio.sleep(_PROBE_SECONDS)
        while waiting := [socket for socket in waiting if not socket.begun.done()]:
            for socket in waiting:
                await self._change(socket.task_id)
            await asyncio.wait([socket.begun for socket in waiting], timeout=_PROBE_SECONDS)
        await asyncio.gather(*(socket.begun for socket in self._sockets))
        await asyncio.sleep(_PROBE_SECONDS)

    async def paced(self, rate: int, seconds: int) -> list[float]:
        """Change the tasks in turn, at a rate per second, and return the seconds until the client had each change.

        The API merges the changes of a task that wait together: the last one brings the others.
        """
        self._took = []
        self._sent.clear()
        began, count = time.perf_counter(), rate * seconds
        for place in range(count):
            await asyncio.sleep(max(0.0, began + place / rate - time.perf_counter()))
            await self._change(self._sockets[place % len(self._sockets)].task_id)
        until = time.perf_counter() + _LATEST_SECONDS
        while len(self._took) < count:
            if time.perf_counter() > until:
                raise SystemExit(f"{count - len(self._took)} of {count} changes did not arrive")
            await asyncio.sleep(_POLL_SECONDS)
        return self._took

    def close(self) -> None:
        """Close all sockets."""
        for socket in self._sockets:
            socket.transport.abort()

    async def _change(self, task_id: str) -> None:
        self._number += 1
        self._sent[task_id].append((self._number, time.perf_counter()))
        write = writes.progress(task_id, Progress(1.0, 2.0, sequence_text(self._number)))
        await asyncio.to_thread(self._store.change, write, quick=True)

    def _receive(self, socket: Socket, _data: bytes) -> None:
        now, sent = time.perf_counter(), self._sent[socket.task_id]
        self._took += [now - at for number, at in sent if number <= socket.last]
        self._sent[socket.task_id] = [each for each in sent if each[0] > socket.last]


def _socket_maker(
    id_: str, receive: Callable[[Socket, bytes], None], operation: dict[str, Any]
) -> Callable[[], Socket]:
    return lambda: Socket(id_, receive, operation)


@dataclass(frozen=True)
class Site:
    """The databases, and what is measured on them."""

    databases: Databases
    condition: str
    rate: int
    seconds: int

    async def measure(self, filters: int) -> Figures:
        """Measure a number of different filters with a new API."""
        database, port = f"filters_{uuid.uuid4().hex}", free_port()
        mongodb_url, redis_url = self.databases.mongodb_url, self.databases.redis_url
        settings = Settings(mongodb_url=mongodb_url, mongodb_database=database, celery_broker_url=redis_url)
        servers = {"MONGODB_URL": mongodb_url, "CELERY_BROKER_URL": redis_url, "MONGODB_DATABASE": database}
        command = [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]
        with self.databases.serve("api", command, {**os.environ, **servers}, port) as api:
            connections = Connections(settings)
            clients = Clients(Store(connections), port, self.condition)
            await clients.connect(filters)
            cpu = sum(api.cpu_times()[:2])
            took = sorted(await clients.paced(self.rate, self.seconds))
            cpu = sum(api.cpu_times()[:2]) - cpu
            clients.close()
            connections.close()
        return {
            "CPU of the API per event, µs": 1e6 * cpu / len(took),
            f"{self.rate} events/s, median, ms": 1000 * statistics.median(took),
            f"{self.rate} events/s, 99th percentile, ms": 1000 * took[len(took) * 99 // 100],
        }


async def run(site: Site, counts: list[int], rounds: int) -> str:
    """Run the rounds, print their figures, and return the table of all."""
    found = list[dict[str, Figures]]()
    base = f"{counts[0]:,} filters"
    for number in range(rounds):
        first = number % len(counts)
        figures = {count: await site.measure(count) for count in counts[first:] + counts[:first]}
        found.append({f"{count:,} filters": figures[count] for count in counts})
        print(f"round {number + 1}\n{table(found[-1:], base)}\n", flush=True)
    return table(found, base)


def main() -> None:
    """Start the databases and measure all counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", default="10,1000", help="numbers of filters")
    parser.add_argument("--condition", choices=CONDITIONS, default="equal")
    parser.add_argument("--rate", type=int, default=200, help="events a second")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, help=INTO)
    options = parser.parse_args()
    with databases() as found:
        site = Site(found, options.condition, options.rate, options.seconds)
        counts = [int(count) for count in options.filters.split(",")]
        report(uvloop.run(run(site, counts, options.rounds)), options.into)


if __name__ == "__main__":
    main()
