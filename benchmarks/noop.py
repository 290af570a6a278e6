"""No-op tasks per second of one worker with two processes: ours against stock Celery with its MongoDB backend.

    python benchmarks/noop.py --tasks 3000 --rounds 5

Each round fills a queue and then starts a worker on it, first the one side, then the other, on the same servers and
with the same settings and write concern. Timed is from the tenth part of the tasks to the last, by the times in
MongoDB. Only the ratio means anything on another machine.
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
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from gql_api.servers import MongodbServer, RedisServer, free_port
from jobs.record import fields

_HERE = Path(__file__).parent
_DATABASE = {"stock": "stock", "ours": "gql_api"}
_COLLECTION = {"stock": "celery_taskmeta", "ours": fields.TASKS}
_ENDED = {"stock": "date_done", "ours": fields.FINISHED_AT}
_FILL = "import sys; from noop_tasks import app, noop; [noop.delay() for _ in range(int(sys.argv[1]))]"


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a program until the block ends."""
    with log.open("ab") as output:
        started = subprocess.Popen(command, env=environment, cwd=_HERE, stdout=output, stderr=output)
    try:
        yield
    finally:
        started.terminate()
        started.wait()


def measure(
    side: str, tasks: int, environment: dict[str, str], client: MongoClient[dict[str, Any]], log: Path
) -> float:
    """Tasks per second of one worker."""
    environment = {**environment, "SIDE": side}
    client.drop_database(_DATABASE[side])
    if side == "ours":
        subprocess.run([sys.executable, "-c", _INDEXES], env=environment, check=True)
    subprocess.run([sys.executable, "-c", _FILL, str(tasks)], env=environment, cwd=_HERE, check=True)
    collection = client[_DATABASE[side]][_COLLECTION[side]]
    ended = {_ENDED[side]: {"$type": "date"}}
    worker = ["-m", "celery", "-A", "noop_tasks", "worker", "-c", "2", "-Q", side, "-l", "WARNING", "--without-mingle"]
    with running([sys.executable, *worker], environment, log):
        deadline = time.monotonic() + 300
        while collection.count_documents(ended) < tasks:
            if time.monotonic() > deadline:
                raise SystemExit(f"{side} did not finish, see {log}")
            time.sleep(0.25)
    times = sorted(document[_ENDED[side]] for document in collection.find(ended))
    start = tasks // 10
    seconds: float = (times[-1] - times[start]).total_seconds()
    return (tasks - start) / seconds


# What the API does at its start.
_INDEXES = """
from jobs.connections import connections_for
from jobs.record import chords, fields
from jobs.settings import Settings
database = connections_for(Settings.load()).database()
database[fields.TASKS].create_indexes(fields.INDEXES)
database[fields.CHORDS].create_indexes(chords.INDEXES)
"""


def main() -> None:
    """Run the rounds and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        stack.enter_context(running(mongodb.command(folder / "mongod.log"), dict(os.environ), folder / "log"))
        stack.enter_context(running(redis.command(), dict(os.environ), folder / "log"))
        mongodb.initiate()
        environment = {
            **os.environ,
            "MONGODB_URL": mongodb.url,
            "CELERY_BROKER_URL": redis.url,
            "STOCK_BACKEND": mongodb.url.replace("/?", "/stock?") + "&w=majority&journal=true",
        }
        client = stack.enter_context(MongoClient[dict[str, Any]](mongodb.url))
        ratios = []
        for number in range(1, options.rounds + 1):
            order = ["stock", "ours"] if number % 2 else ["ours", "stock"]
            rates = {side: measure(side, options.tasks, environment, client, folder / "workers") for side in order}
            ratios.append(rates["ours"] / rates["stock"])
            print(
                f"round {number}: stock {rates['stock']:.0f}/s, ours {rates['ours']:.0f}/s, ratio {ratios[-1]:.2f}",
                flush=True,
            )
        print(f"ratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
