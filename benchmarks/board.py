"""How the board bears many tasks and many changes a second, as its browser sees it.

    python benchmarks/board.py --tasks 10000 --rate 200 --seconds 20

The changes are those of tasks that are created, run, report progress and end: a worker's own code makes and publishes
them. Meanwhile the page is scrolled, and keys are pressed. A long task is one that blocks the page for more than 50 ms;
a frame has 17 ms on a screen with 60 Hz. It needs Chromium and the built pages (`make web`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from board_tab import PAGES, Tab, opened_browser
from made import CHUNK, NAMES, Chunk
from pinned import Databases, databases
from pymongo import MongoClient
from tables import INTO, Figures, report, table

from gql_api.cli.embedded_servers import free_port
from gql_api.record import fields, writes
from gql_api.record.model import NewTask, Progress
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_DATABASE = "board"
_SEED = 24
# Of each task: it is created, starts, reports progress and ends.
_CHANGES = 10
_KEY_SECONDS = 0.5


@dataclass
class Traffic:
    """The changes of tasks, one after the other."""

    store: Store
    made: int = 0
    _tasks: list[str] = field(default_factory=list)

    async def go_on(self, rate: int, seconds: float) -> None:
        """Make changes at a rate, for some seconds."""
        began = time.perf_counter()
        for place in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + place / rate - time.perf_counter()))
            await asyncio.to_thread(self._change, place)

    def _change(self, place: int) -> None:
        """Make the next change of one of the running tasks, of which there are as many as a task has changes."""
        slot, step = place % _CHANGES, place // _CHANGES % _CHANGES
        if slot == len(self._tasks):
            self._tasks.append("")
        if step == 0 or not self._tasks[slot]:
            self._tasks[slot] = id_ = str(uuid.uuid4())
            metadata = {"customer": {"id": f"cus-{place % 97:06}"}, "order": f"ord-{place:08}"}
            task = NewTask(id=id_, name=NAMES[place % len(NAMES)], metadata=metadata)
            self.store.change(writes.create(task), upsert=True, quick=True)
        elif step == 1:
            self.store.change(writes.start(self._tasks[slot], worker="celery@worker-01"), quick=True)
        elif step < _CHANGES - 1:
            self.store.change(writes.progress(self._tasks[slot], Progress(step, _CHANGES, f"step {step}")), quick=True)
        else:
            self.store.change(writes.succeed(self._tasks[slot], place), quick=True)
        self.made += 1


@dataclass(frozen=True)
class Site:
    """The databases with the tasks, and what is measured on them."""

    databases: Databases
    pages: list[str]
    rate: int
    seconds: float

    async def measure(self, tasks: int) -> Figures:
        """Measure the pages one after the other with a new API and a new browser."""
        mongodb_url, redis_url = self.databases.mongodb_url, self.databases.redis_url
        settings = Settings(mongodb_url=mongodb_url, mongodb_database=_DATABASE, celery_broker_url=redis_url)
        servers = {"MONGODB_URL": mongodb_url, "CELERY_BROKER_URL": redis_url, "MONGODB_DATABASE": _DATABASE}
        _fill(mongodb_url, tasks)
        port, connections = free_port(), Connections(settings)
        command = [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]
        figures: Figures = {}
        try:
            with self.databases.serve("api", command, {**os.environ, **servers}, port):
                traffic = Traffic(Store(connections))
                async with opened_browser() as browser:
                    for name in self.pages:
                        tab = await Tab.of(browser, f"http://127.0.0.1:{port}")
                        first = await tab.open(PAGES[name])
                        seen = await self._watch(tab, traffic) if name != "Playground" else {}
                        await tab.close()
                        figures |= {f"{name}: {figure}": value for figure, value in {**first, **seen}.items()}
        finally:
            connections.close()
        return figures

    async def _watch(self, tab: Tab, traffic: Traffic) -> Figures:
        await tab.begin()
        made, moving = traffic.made, asyncio.create_task(traffic.go_on(self.rate, self.seconds))
        while not moving.done():
            await tab.use()
            await asyncio.wait([moving], timeout=_KEY_SECONDS)
        moving.result()
        return {"changes": traffic.made - made, **await tab.end()}


def _fill(url: str, tasks: int) -> None:
    with MongoClient[dict[str, Any]](url) as client:
        client.drop_database(_DATABASE)
        collection = client[_DATABASE][fields.TASKS]
        for first in range(0, tasks, CHUNK):
            collection.insert_many(Chunk(first, min(CHUNK, tasks - first), tasks, _SEED).documents(), ordered=False)


async def run(site: Site, tasks: int, rounds: int) -> str:
    """Run the rounds, print their figures, and return the table of all."""
    found = list[dict[str, Figures]]()
    for number in range(rounds):
        found.append({"board": await site.measure(tasks)})
        print(f"round {number + 1}\n{table(found[-1:], 'board')}\n", flush=True)
    return table(found, "board")


def main() -> None:
    """Start the databases and measure the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pages", default=",".join(PAGES), help=f"of {', '.join(PAGES)}")
    parser.add_argument("--into", type=Path, help=INTO)
    options = parser.parse_args()
    with databases() as found:
        site = Site(found, options.pages.split(","), options.rate, options.seconds)
        report(asyncio.run(run(site, options.tasks, options.rounds)), options.into)


if __name__ == "__main__":
    main()
