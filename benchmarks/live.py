"""Live updates to a thousand WebSockets, compared with a peer in Python and, if npm is installed, one in JavaScript.

    python benchmarks/live.py --rounds 3
    python benchmarks/live.py --sides gql-api,library-handshake

The second compares the API with itself: a library does a part of the work there (see library_serve.py).

A round runs each side in two new processes, in another order each time: one with all sockets on one task, one with as
many tasks as sockets. Events are published like a worker's; MongoDB has the first state of each task only. If `taskset`
is installed, the server has the first core for itself and the sockets have the second. Ratios are paired within a
round, and only they can be compared between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from live_sides import OURS, SIDES, Side, channel_of, default_names, sides
from live_sockets import Crowd, Publisher
from pinned import Databases, databases
from tables import INTO, Figures, report, table

from gql_api.cli.embedded_servers import free_port

_BURST, _SINGLES = 100, 20
_RATE, _SECONDS = 1000, 3
_WINDOW, _WINDOW_EVENTS = 64, 10_000
_MIN_SOCKETS = 8 * _WINDOW
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Site:
    """The databases that all sides share, and the number of sockets."""

    databases: Databases
    sockets: int


@asynccontextmanager
async def crowd_of(side: Side, site: Site, task_ids: list[str]) -> AsyncIterator[tuple[Crowd, psutil.Process, int]]:
    """Run a side's server with the tasks, and yield a crowd without sockets, the server's process and its port."""
    urls, port = (site.databases.mongodb_url, site.databases.redis_url), free_port()
    documents = side.fill(*urls, sorted(set(task_ids)))
    with site.databases.serve(side.name, side.command(port), side.environment(*urls, port), port) as process:
        _, writer = await asyncio.open_connection("127.0.0.1", site.databases.redis_port)
        crowd = Crowd(Publisher(writer), channel_of, lambda id_, number: side.event_of(documents[id_], number))
        yield crowd, process, port
        crowd.close()
        writer.close()


class _Busy:
    """The largest share of its core that the load generator used: near 1 it was the bottleneck itself."""

    def __init__(self) -> None:
        self.max_share = 0.0

    def __enter__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_exc: object) -> None:
        took = time.perf_counter() - self._began
        self.max_share = max(self.max_share, (time.process_time() - self._cpu) / took)


async def one_task(side: Side, site: Site) -> Figures:
    """Measure with all sockets on the same task."""
    ids, busy = [str(uuid.uuid4())], _Busy()
    async with crowd_of(side, site, ids) as (crowd, server, port):
        await crowd.connect(port, ids)
        before = server.memory_info().rss
        storm = await crowd.connect(port, ids * site.sockets)
        await asyncio.sleep(_SETTLE_SECONDS)
        resident = server.memory_info().rss - before
        with busy:
            burst = await crowd.together(_BURST)
        single = _Busy()
        with single:
            singles = [await crowd.together(1) for _ in range(_SINGLES)]
    return {
        "one task: connect all": 1000 * storm,
        "one task: memory of a subscription, KiB": resident / site.sockets / 1024,
        "one task: one event, until all have it": 1000 * statistics.mean(singles),
        "one task: burst of 100, until all have the last": 1000 * burst,
        "load generator, one event, share of its core": single.max_share,
        "load generator, burst, share of its core": busy.max_share,
    }


async def many_tasks(side: Side, site: Site) -> Figures:
    """Measure with each socket on a task of its own."""
    ids, busy = [str(uuid.uuid4()) for _ in range(site.sockets)], _Busy()
    async with crowd_of(side, site, ids) as (crowd, _, port):
        storm = await crowd.connect(port, ids)
        await asyncio.sleep(_SETTLE_SECONDS)
        took = sorted(await crowd.paced(_RATE, _SECONDS))
        with busy:
            rate = await crowd.window(_WINDOW_EVENTS, _WINDOW)
    return {
        "many tasks: connect all": 1000 * storm,
        "many tasks: 1,000 events/s, median": 1000 * statistics.median(took),
        "many tasks: 1,000 events/s, 99th percentile": 1000 * took[len(took) * 99 // 100],
        "many tasks: 64 events under way, 1,000 events/s": rate / 1000,
        "load generator, 64 under way, share of its core": busy.max_share,
    }


async def run(site: Site, compared: list[Side], rounds: int) -> str:
    """Run the rounds, print their figures, and return the table of all."""
    found = list[dict[str, Figures]]()
    for number in range(rounds):
        figures: defaultdict[str, Figures] = defaultdict(dict)
        first = number % len(compared)
        for scenario in (one_task, many_tasks):
            for side in compared[first:] + compared[:first]:
                figures[side.name].update(await scenario(side, site))
        found.append({side.name: figures[side.name] for side in compared})
        print(f"round {number + 1}\n{table(found[-1:], OURS.name)}\n", flush=True)
    return table(found, OURS.name)


def main() -> None:
    """Start the shared servers and measure all sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1000, help=f"at least {_MIN_SOCKETS}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, help=INTO)
    parser.add_argument("--sides", default=",".join(default_names()), help=f"of {', '.join(SIDES)}")
    options = parser.parse_args()
    if options.sockets < _MIN_SOCKETS:
        # With several events of a task under way the API merges its states, and the window would wait for ever.
        parser.error(f"--sockets: at least {_MIN_SOCKETS} allowed, got {options.sockets}")
    names = options.sides.split(",")
    if OURS.name not in names or not set(names) <= SIDES.keys():
        parser.error(f"--sides: {OURS.name} and others of {', '.join(SIDES)}, got {options.sides}")
    with databases() as found:
        report(uvloop.run(run(Site(found, options.sockets), sides(names), options.rounds)), options.into)


if __name__ == "__main__":
    main()
