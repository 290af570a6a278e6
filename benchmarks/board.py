"""How the board bears many tasks and many changes a second, as its browser sees it.

    python benchmarks/board.py --tasks 10000 --rate 200 --seconds 10

The changes are stored and published by a worker's own code. Meanwhile keys are pressed. A long task is one that blocks
the page for more than 50 ms; a frame has 17 ms on a screen with 60 Hz. A page can be used once its first data are drawn
and a click is answered. It needs Chromium and the built pages (`make web`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_tab import Place, Tab, opened_browser
from board_traffic import Traffic
from made import CHUNK, Chunk
from pinned import Databases, databases, server_cores
from playwright.async_api import Browser
from pymongo import MongoClient
from tables import INTO, Figures, report, table

from gql_api.cli.embedded_servers import free_port
from gql_api.record import fields
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_DATABASE = "board"
_SEED = 24
_SETTLE_SECONDS = 2
_MOST_PAUSE_SECONDS = 3
_PANEL, _HEADING = "main section[aria-busy=false]", "main h1"
_OVERVIEW, _TASKS = Place("/", _PANEL), Place("/#/tasks", "[role=row][data-id]")

Sides = dict[str, Figures]


@dataclass(frozen=True)
class Board:
    """A running API with its tasks, and a browser.

    Args:
        browser: has no tab yet.
        url: the origin of the board.
        task: the id of a task.
        traffic: what changes in the tasks.
        options: of the command line.
    """

    browser: Browser
    url: str
    task: str
    traffic: Traffic
    options: argparse.Namespace

    async def pages(self) -> Sides:
        """Open each page with an empty cache."""
        found: Sides = {}
        places = {
            "Overview": _OVERVIEW,
            "Tasks": _TASKS,
            "a task": Place(f"/#/tasks/{self.task}", _HEADING),
            "Create": Place("/#/create", _HEADING),
            "Queues": Place("/#/queues", _PANEL),
            "Workers": Place("/#/workers", _PANEL),
            "Definitions": Place("/#/definitions", _PANEL),
            "Playground": Place("/graphql", ".graphiql-execute-button", "button.graphiql-execute-button", "body"),
        }
        for name, place in places.items():
            async with Tab.opened(self.browser, self.url) as tab:
                found[name] = await tab.open(place)
        return found

    async def load(self) -> Sides:
        """Measure the list of tasks, with all of them in memory, and the overview while tasks change."""
        options, traffic = self.options, self.traffic
        found: Sides = {}
        async with Tab.opened(self.browser, self.url) as tab:
            await tab.open(_TASKS)
            await tab.load_rows(options.tasks)
            traffic.fill_screen()
            await asyncio.sleep(_SETTLE_SECONDS)
            found["idle"] = await self._rated(lambda: tab.watch(options.seconds))
            with traffic.running(traffic.update_screen):
                found["rows change"] = await self._rated(lambda: tab.watch(options.seconds))
            with traffic.running(traffic.live):
                found["rows arrive"] = await self._rated(lambda: tab.watch(options.seconds))
            with traffic.running(traffic.add):
                found["only new rows"] = await self._rated(lambda: tab.watch(options.seconds))
        async with Tab.opened(self.browser, self.url) as tab:
            await tab.open(_TASKS)
            with traffic.running(traffic.live):
                found["scrolling down"] = await self._rated(lambda: tab.scroll_down(options.tasks))
        async with Tab.opened(self.browser, self.url) as tab:
            await tab.open(_OVERVIEW)
            with traffic.running(traffic.live):
                found["Overview"] = await self._rated(lambda: tab.watch(options.seconds))
        return found

    async def failures(self) -> Sides:
        """Measure how long failures take from their record to the screen."""
        async with Tab.opened(self.browser, self.url) as tab:
            await tab.open(_OVERVIEW)
            quiet = await self._failures(tab)
            with self.traffic.running(self.traffic.live):
                loaded = await self._failures(tab)
        return {"quiet": quiet, f"{self.options.rate} changes/s": loaded}

    async def _failures(self, tab: Tab) -> Figures:
        chance = random.Random(_SEED)  # noqa: S311 # nothing is kept secret by it
        waits = []
        for number in range(self.options.failures):
            task = await asyncio.to_thread(self.traffic.create, f"board.fails_{number % 5}")
            seen = asyncio.create_task(tab.drawn_at(task))
            await asyncio.sleep(chance.uniform(0, _MOST_PAUSE_SECONDS))
            failed = time.time() * 1_000
            await asyncio.to_thread(self.traffic.fail, task)
            waits.append(await seen - failed)
        return {
            "failure until it is drawn, median, ms": statistics.median(waits),
            "failure until it is drawn, longest, ms": max(waits),
        }

    async def _rated(self, measure: Callable[[], Any]) -> Figures:
        made, began = self.traffic.made, time.perf_counter()
        figures = await measure()
        return {"changes/s": (self.traffic.made - made) / (time.perf_counter() - began), **figures}


async def measure(found: Databases, options: argparse.Namespace) -> dict[str, Sides]:
    """Measure everything once with a new API and a new browser."""
    settings = Settings(mongodb_url=found.mongodb_url, mongodb_database=_DATABASE, celery_broker_url=found.redis_url)
    servers = {
        "MONGODB_URL": found.mongodb_url,
        "CELERY_BROKER_URL": found.redis_url,
        "MONGODB_DATABASE": _DATABASE,
    }
    task = _fill(found.mongodb_url, options.tasks)
    port, connections = free_port(), Connections(settings)
    command = [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]
    cores = server_cores() or os.sched_getaffinity(0)
    try:
        with found.serve("api", command, {**os.environ, **servers}, port):
            traffic = Traffic(Store(connections), options.rate, cores)
            async with opened_browser() as browser:
                board = Board(browser, f"http://127.0.0.1:{port}", task, traffic, options)
                sides = {}
                for part in options.parts.split(","):
                    sides[part] = await getattr(board, part)()
                    print(f"{table([sides[part]], _BASES[part])}\n", flush=True)
                return sides
    finally:
        connections.close()


def _fill(url: str, tasks: int) -> str:
    with MongoClient[dict[str, Any]](url) as client:
        client.drop_database(_DATABASE)
        collection = client[_DATABASE][fields.TASKS]
        for first in range(0, tasks, CHUNK):
            collection.insert_many(Chunk(first, min(CHUNK, tasks - first), tasks, _SEED).documents(), ordered=False)
        return str((collection.find_one() or {})[fields.ID])


_BASES = {"pages": "Overview", "load": "idle", "failures": "quiet"}


def main() -> None:
    """Start the databases, measure, and print a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--failures", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parts", default=",".join(_BASES), help=f"of {', '.join(_BASES)}")
    parser.add_argument("--into", type=Path, help=INTO)
    options = parser.parse_args()
    rounds = list[dict[str, Sides]]()
    with databases() as found:
        for database in found.servers:
            database.cpu_affinity(sorted(server_cores() or os.sched_getaffinity(0)))
        for number in range(options.rounds):
            print(f"round {number + 1}\n", flush=True)
            rounds.append(asyncio.run(measure(found, options)))
    for part in rounds[0]:
        report(table([each[part] for each in rounds], _BASES[part]), options.into)


if __name__ == "__main__":
    main()
