"""No-op tasks per second of one worker with two processes, compared with stock Celery and its MongoDB backend.

    python benchmarks/noop.py --rounds 5 --slices 10 --tasks 300

A round starts one worker of each side on the same servers, with the same settings and write concern. They take turns:
each has its slices of tasks in queues of their own, and gets one slice at a time while the other idles, so that the two
slices of a pair meet the same speed of a machine whose speed changes. A round's figure is the median over its pairs of
slices. Only the ratios can be compared between machines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from pymongo import MongoClient

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port
from gql_api.record import fields

_HERE = Path(__file__).parent
_SIDES = ("stock", "ours")
_COLLECTION = {"stock": "celery_taskmeta", "ours": fields.TASKS}
_ENDED = {"stock": "date_done", "ours": fields.FINISHED_AT}
_FILL = "import sys; from noop_tasks import fill; fill(int(sys.argv[1]), int(sys.argv[2]))"
_POLL_SECONDS = 0.2
_STOP_SECONDS = 20


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; one that does not end by itself then is killed."""
    with log.open("ab") as output:
        started = subprocess.Popen(command, env=environment, cwd=_HERE, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@dataclass(frozen=True)
class Figures:
    """The results of a slice: tasks per second, and the CPU time of a task in all processes but the measuring one."""

    rate: float
    cpu_milliseconds: float


@dataclass
class Side:
    """One of the two workers."""

    name: str
    client: MongoClient[dict[str, Any]]
    broker: Celery
    worker: psutil.Process
    servers: list[psutil.Process]
    log: Path

    def run_slice(self, number: int, tasks: int) -> Figures:
        """Run one slice and measure all but its first tenth, by the times in MongoDB."""
        queue, destination = f"{self.name}{number}", [f"{self.name}@benchmark"]
        self.broker.control.add_consumer(queue, destination=destination)
        cpu, before = self._cpu_seconds(), number * tasks
        while len(times := self._ended_at()) < before + tasks:
            if not self.worker.is_running():
                raise SystemExit(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        cpu = self._cpu_seconds() - cpu
        self.broker.control.cancel_consumer(queue, destination=destination)
        counted = times[before + tasks // 10 :]
        return Figures(len(counted) / (counted[-1] - counted[0]).total_seconds(), 1000 * cpu / tasks)

    def _ended_at(self) -> list[datetime]:
        ended = _ENDED[self.name]
        collection = self.client[self.name][_COLLECTION[self.name]]
        return sorted(document[ended] for document in collection.find({ended: {"$type": "date"}}, {ended: 1}))

    def _cpu_seconds(self) -> float:
        processes = [self.worker, *self.worker.children(), *self.servers]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


def run_round(options: argparse.Namespace, environment: dict[str, str], servers: list[psutil.Process]) -> Figures:
    """Return the ratios of our figures to those of stock Celery."""
    pairs = []
    with ExitStack() as stack:
        client = stack.enter_context(MongoClient[dict[str, Any]](environment["MONGODB_URL"]))
        broker = stack.enter_context(Celery(broker=environment["CELERY_BROKER_URL"], set_as_current=False))
        sides = {}
        for name in _SIDES:
            log = Path(environment["LOGS"]) / f"{name}.log"
            client.drop_database(name)
            own = {**environment, "SIDE": name, "MONGODB_DATABASE": name}
            fill = [sys.executable, "-c", _FILL, str(options.slices), str(options.tasks)]
            subprocess.run(fill, env=own, cwd=_HERE, check=True)
            worker = ["worker", "-c", "2", "-n", f"{name}@benchmark", "-Q", name, "-l", "WARNING", "--without-mingle"]
            command = [sys.executable, "-m", "celery", "-A", "noop_tasks", *worker]
            process = psutil.Process(stack.enter_context(running(command, own, log)).pid)
            sides[name] = Side(name, client, broker, process, servers, log)
            while not broker.control.ping(destination=[f"{name}@benchmark"], timeout=0.5):
                pass
        for number in range(options.slices):
            order = _SIDES if number % 2 else _SIDES[::-1]
            pairs.append({name: sides[name].run_slice(number, options.tasks) for name in order})
    rates = {name: statistics.median(pair[name].rate for pair in pairs) for name in _SIDES}
    figures = Figures(
        statistics.median(pair["ours"].rate / pair["stock"].rate for pair in pairs),
        statistics.median(pair["ours"].cpu_milliseconds / pair["stock"].cpu_milliseconds for pair in pairs),
    )
    print(
        f"stock {rates['stock']:.0f}/s, ours {rates['ours']:.0f}/s, ratio {figures.rate:.2f}; "
        f"CPU time of a task, ratio {figures.cpu_milliseconds:.2f}",
        flush=True,
    )
    return figures


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=300, help="tasks in a slice")
    parser.add_argument("--slices", type=int, default=10, help="slices of each side in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        commands = [mongodb.command(folder / "mongod.log"), redis.command()]
        servers = [
            psutil.Process(stack.enter_context(running(command, dict(os.environ), folder / "log")).pid)
            for command in commands
        ]
        mongodb.initiate()
        environment = {
            **os.environ,
            "LOGS": str(folder),
            "MONGODB_URL": mongodb.url,
            "CELERY_BROKER_URL": redis.url,
            "STOCK_BACKEND": mongodb.url.replace("/?", "/stock?") + "&w=majority&journal=true",
        }
        ratios = []
        for number in range(1, options.rounds + 1):
            print(f"round {number}: ", end="", flush=True)
            ratios.append(run_round(options, environment, servers).rate)
        print(f"ratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
