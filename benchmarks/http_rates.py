"""Creating, reading and listing tasks over HTTP, compared with a peer in Python and, with Node.js, one in JavaScript.

    python benchmarks/http_rates.py --rounds 3 --seconds 4
    python benchmarks/http_rates.py --only create --sides gql-api,Mercurius

A round runs each side in a new process on an empty database, in another order each time. All sides answer the same
operations, with the same write concern, and send the same messages; no worker runs. If `taskset` is installed, the
server has the first core for itself and the load has the second. Ratios are paired within a round, and only they can
be compared between machines. Every answer is checked, and every created task must be in MongoDB and in its queue.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop
from create import input_of
from http_load import CONNECTIONS, Check, Load, post
from http_sides import CREATE, GET, LIST, OURS, SIDES, TASKS, Side, Stored, default_names, sides
from javascript import is_installable
from pinned import Databases, databases
from tables import INTO, Figures, report, table

from gql_api.cli.embedded_servers import free_port

_WARM_SECONDS = 1.0
_INPUTS = 1_000
_ID = re.compile(rb'"id": ?"([^"]+)"')
_NO_USER_ERRORS = re.compile(rb'"userErrors": ?\[\]')


@dataclass
class Served:
    """A running server, and the tasks that were created with it."""

    process: psutil.Process
    port: int
    ids: list[str] = field(default_factory=list)
    created: set[str] = field(default_factory=set)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server so far."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def create_first(self) -> None:
        """Create the tasks that are read, and compare the answers with what was asked for."""
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:

            def data(query: str, **variables: Any) -> dict[str, Any]:
                body: dict[str, Any] = client.post("/graphql", json={"query": query, "variables": variables}).json()
                if "errors" in body:
                    raise SystemExit(str(body["errors"]))
                found: dict[str, Any] = body["data"]
                return found

            for number in range(TASKS):
                created = data(CREATE, input=input_of(number))["createTask"]
                if created["userErrors"] or created["task"]["status"] != "QUEUED":
                    raise SystemExit(str(created))
                self.ids.append(created["task"]["id"])
            listed = data(LIST, first=TASKS)["tasks"]["nodes"]
            times = [task["createdAt"] for task in listed]
            if {task["id"] for task in listed} != set(self.ids) or times != sorted(times, reverse=True):
                raise SystemExit(f"the list has {len(listed)} tasks, or is in another order")
            newest = data(GET, id=self.ids[-1])["task"]
            if newest not in listed or newest["metadata"] != input_of(TASKS - 1)["metadata"]:
                raise SystemExit(f"a task is not as it was created: {newest}")
        self.created.update(self.ids)


def _body(query: str, **variables: Any) -> bytes:
    return post(json.dumps({"query": query, "variables": variables}).encode())


def creating(server: Served) -> tuple[Iterator[bytes], Check]:
    """Return the requests that create tasks, and the check of their answers."""

    def check(_request: bytes, body: bytes) -> bool:
        found = _ID.search(body)
        if found is None or not _NO_USER_ERRORS.search(body):
            return False
        server.created.add(found[1].decode())
        return True

    return itertools.cycle([_body(CREATE, input=input_of(number)) for number in range(_INPUTS)]), check


def getting(server: Served) -> tuple[Iterator[bytes], Check]:
    """Return the requests that read one task each, and the check of their answers."""
    asked = {_body(GET, id=id_): id_.encode() for id_ in server.ids}
    return itertools.cycle(asked), lambda request, body: asked[request] in body


def listing(lengths: range) -> Callable[[Served], tuple[Iterator[bytes], Check]]:
    """Return what returns the requests that list tasks, and the check of their answers."""
    asked = {_body(LIST, first=length): length for length in lengths}
    return lambda _: (itertools.cycle(asked), lambda request, body: body.count(b'"QUEUED"') == asked[request])


SCENARIOS: dict[str, Callable[[Served], tuple[Iterator[bytes], Check]]] = {
    "get": getting,
    "list": listing(range(TASKS, TASKS + 1)),
    "different lists": listing(range(TASKS - CONNECTIONS, TASKS)),
    "create": creating,
}
"""The scenarios in the order of a run: the tasks that are created would lengthen what is read."""


async def measure(name: str, server: Served, seconds: float) -> Figures:
    """Run one scenario, and return its figures."""
    requests, check = SCENARIOS[name](server)
    async with Load(server.port, requests, check) as load:
        await load.run(_WARM_SECONDS)
        times = list[float]()
        load.times = times
        began, server_cpu, own_cpu = time.perf_counter(), server.cpu_seconds(), time.process_time()
        await load.run(seconds)
        load.times = []
        took, own_cpu = time.perf_counter() - began, time.process_time() - own_cpu
        server_cpu = server.cpu_seconds() - server_cpu
        await load.stop()
    times.sort()
    return {
        f"{name}: requests/s": len(times) / took,
        f"{name}: 99th percentile, ms": 1000 * times[len(times) * 99 // 100],
        f"{name}: CPU of the server per request, µs": 1e6 * server_cpu / len(times),
        f"{name}: load generator, share of its core": own_cpu / took,
    }


@dataclass(frozen=True)
class Site:
    """The databases that all sides share."""

    databases: Databases
    seconds: float

    def measure(self, side: Side, scenarios: list[str]) -> Figures:
        """Measure the scenarios with a new server on an empty database, and check what it has stored and sent."""
        urls, port = (self.databases.mongodb_url, self.databases.redis_url), free_port()
        stored, figures = Stored(*urls), Figures()
        stored.clear()
        with self.databases.serve(side.name, side.command(port), side.environment(*urls, port), port) as process:
            server = Served(process, port)
            server.create_first()
            for name in scenarios:
                figures |= uvloop.run(measure(name, server, self.seconds))
            stored.check(server.created)
        return figures


def run(site: Site, compared: list[Side], scenarios: list[str], rounds: int) -> str:
    """Run the rounds, print their figures, and return the table of all."""
    # The pauses of a garbage collector in the load generator would look like the server's.
    gc.disable()
    found = list[dict[str, Figures]]()
    for number in range(rounds):
        first = number % len(compared)
        figures = {side.name: site.measure(side, scenarios) for side in compared[first:] + compared[:first]}
        found.append({side.name: figures[side.name] for side in compared})
        print(f"round {number + 1}\n{table(found[-1:], OURS.name)}\n", flush=True)
    return table(found, OURS.name)


def main() -> None:
    """Start the shared servers and measure all sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each scenario")
    parser.add_argument("--into", type=Path, help=INTO)
    parser.add_argument("--only", default=",".join(SCENARIOS), help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--sides", default=",".join(default_names()), help=f"of {', '.join(SIDES)}")
    options = parser.parse_args()
    names, scenarios = options.sides.split(","), [name for name in SCENARIOS if name in options.only.split(",")]
    if OURS.name not in names or not set(names) <= SIDES.keys():
        parser.error(f"--sides: {OURS.name} and others of {', '.join(SIDES)}, got {options.sides}")
    if not set(options.only.split(",")) <= SCENARIOS.keys():
        parser.error(f"--only: some of {', '.join(SCENARIOS)}, got {options.only}")
    if not is_installable():
        print("Node.js and npm are not installed: the peer in JavaScript is left out")
    with databases() as found:
        report(run(Site(found, options.seconds), sides(names), scenarios, options.rounds), options.into)


if __name__ == "__main__":
    main()
