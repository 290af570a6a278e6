"""No-op tasks per second of one worker with two processes, compared with stock Celery and its MongoDB backend.

    python benchmarks/noop.py --rounds 5 --slices 10 --tasks 300

A round starts one worker of each side on the same servers, with the same settings and write concern. They take turns:
each has its slices of tasks in queues of their own, and gets one slice at a time while the other idles, so that the
slices of a turn meet the same speed of a machine whose speed changes. Our worker also runs slices of no-op tasks that
log a line, and of those that change their metadata, which are compared with our no-op tasks. A round's figures are the
medians over its turns. Only the ratios can be compared between machines.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from pymongo import MongoClient
from redis import Redis

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port
from gql_api.record import fields
from gql_api.record.fields import Status

_HERE = Path(__file__).parent
_SIDES = ("stock", "ours")
_COLLECTION = {"stock": "celery_taskmeta", "ours": fields.TASKS}
_ENDED = {"stock": "date_done", "ours": fields.FINISHED_AT}
# What is measured: the side that runs it, and its task function.
_KINDS = {
    "stock": ("stock", "noop"),
    "ours": ("ours", "noop"),
    "with a log line": ("ours", "noop_log"),
    "with a change of metadata": ("ours", "noop_metadata"),
}
# Each with what it is compared with.
_RATIOS = {"ours": "stock", "with a log line": "ours", "with a change of metadata": "ours"}
_FILL = "import sys; from noop_tasks import fill; fill(sys.argv[1].split(), int(sys.argv[2]), int(sys.argv[3]))"
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


Ratios = dict[str, Figures]


@dataclass
class Side:
    """One of the two workers."""

    name: str
    client: MongoClient[dict[str, Any]]
    broker: Celery
    redis: Redis
    servers: list[psutil.Process]
    worker: psutil.Process = field(init=False)
    log: Path = field(init=False)
    last: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def run_slice(self, function: str, number: int, tasks: int) -> Figures:
        """Run one slice of a task function and measure all but its first tenth, by the times in MongoDB."""
        queue, destination = f"{self.name}-{function}{number}", [f"{self.name}@benchmark"]
        cpu = self._cpu_seconds()
        self.broker.control.add_consumer(queue, destination=destination)
        # The length of a queue costs the servers nothing, whatever the number of tasks.
        while self.redis.llen(queue) or len(times := self._ended_at()) < tasks:
            if not self.worker.is_running():
                raise SystemExit(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        cpu = self._cpu_seconds() - cpu
        self.broker.control.cancel_consumer(queue, destination=destination)
        self.last = times[-1]
        counted = times[tasks // 10 :]
        return Figures(len(counted) / (counted[-1] - counted[0]).total_seconds(), 1000 * cpu / tasks)

    def _ended_at(self) -> list[datetime]:
        """Return when the tasks ended that have ended since the last slice."""
        ended = _ENDED[self.name]
        collection = self.client[self.name][_COLLECTION[self.name]]
        query = {fields.STATUS: Status.SUCCESS, ended: {"$gt": self.last}}
        return sorted(document[ended] for document in collection.find(query, {ended: 1}))

    def _cpu_seconds(self) -> float:
        processes = [self.worker, *self.worker.children(), *self.servers]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


def run_round(options: argparse.Namespace, environment: dict[str, str], servers: list[psutil.Process]) -> Ratios:
    """Return the ratios of the figures of a round, by what was compared."""
    turns = []
    with ExitStack() as stack:
        client = stack.enter_context(MongoClient[dict[str, Any]](environment["MONGODB_URL"]))
        broker = stack.enter_context(Celery(broker=environment["CELERY_BROKER_URL"], set_as_current=False))
        queues = stack.enter_context(Redis.from_url(environment["CELERY_BROKER_URL"]))
        sides = {
            name: _start(stack, Side(name, client, broker, queues, servers), options, environment) for name in _SIDES
        }
        for number in range(options.slices):
            order = list(_KINDS.items())[:: 1 if number % 2 else -1]
            turns.append({kind: sides[side].run_slice(name, number, options.tasks) for kind, (side, name) in order})
    for kind in _KINDS:
        rate = statistics.median(turn[kind].rate for turn in turns)
        cpu = statistics.median(turn[kind].cpu_milliseconds for turn in turns)
        print(f"  {kind}: {rate:.0f}/s, {cpu:.2f} ms of CPU time a task", flush=True)
    return {
        kind: Figures(
            statistics.median(turn[kind].rate / turn[other].rate for turn in turns),
            statistics.median(turn[kind].cpu_milliseconds / turn[other].cpu_milliseconds for turn in turns),
        )
        for kind, other in _RATIOS.items()
    }


def _start(stack: ExitStack, side: Side, options: argparse.Namespace, environment: dict[str, str]) -> Side:
    """Fill the queues of a side, and start its worker."""
    name, side.log = side.name, Path(environment["LOGS"]) / f"{side.name}.log"
    side.client.drop_database(name)
    own = {**environment, "SIDE": name, "MONGODB_DATABASE": name}
    functions = " ".join(function for side_, function in _KINDS.values() if side_ == name)
    fill = [sys.executable, "-c", _FILL, functions, str(options.slices), str(options.tasks)]
    subprocess.run(fill, env=own, cwd=_HERE, check=True)
    worker = ["worker", "-c", "2", "-n", f"{name}@benchmark", "-Q", name, "-l", "WARNING", "--without-mingle"]
    command = [sys.executable, "-m", "celery", "-A", "noop_tasks", *worker]
    side.worker = psutil.Process(stack.enter_context(running(command, own, side.log)).pid)
    while not side.broker.control.ping(destination=[f"{name}@benchmark"], timeout=0.5):
        pass
    return side


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
        rounds = []
        for number in range(1, options.rounds + 1):
            print(f"round {number}:", flush=True)
            rounds.append(run_round(options, environment, servers))
        for kind, other in _RATIOS.items():
            rates = [ratios[kind].rate for ratios in rounds]
            cpu = statistics.median(ratios[kind].cpu_milliseconds for ratios in rounds)
            print(
                f"{kind}, compared with {other}: rate {statistics.median(rates):.2f}, from {min(rates):.2f} "
                f"to {max(rates):.2f}; CPU time of a task {cpu:.2f}"
            )


if __name__ == "__main__":
    main()
