"""Tasks per second that the recovery of one worker moves on, of many that are found at once.

    python benchmarks/recovery.py --tasks 50000

They were queued and their messages are lost; they are scheduled, or wait for a retry, and are due; they have expired.
A real worker, which has no queue of these, finds them. The time counts from the first task that it has moved on to the
last. The search for lost messages in an honest backlog is measured beside the grouping that it replaces.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from noop import running
from pymongo import MongoClient
from pymongo.collection import Collection
from redis import Redis

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port
from gql_api.record import due, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import CODEC
from gql_api.worker.recovery.waiting_queues import waiting_queues

_HERE = Path(__file__).parent
_QUEUE = "backlog"
_POLL_SECONDS = 0.1
_INSERTED = 1_000
_CHANGES: dict[str, dict[str, Any]] = {
    "lost": {},
    "scheduled": {fields.STATUS: Status.SCHEDULED},
    "retry": {fields.STATUS: Status.RETRY, fields.ATTEMPTS: 1},
    "expired": {fields.EXPIRES_AT: datetime.now(UTC)},
}

Tasks = Collection[dict[str, Any]]


def insert(tasks: Tasks, number: int, changes: dict[str, Any]) -> None:
    """Insert tasks that were queued an hour ago, one after the other, with some changes."""
    metadata = {"customer": {"id": "c-17", "tier": "gold"}, "order": 4711}
    task = NewTask("first", "noop", args=[1, "two"], kwargs={"three": 3}, metadata=metadata, queue=_QUEUE)
    tasks.update_one(*writes.create(task), upsert=True)
    first = tasks.find_one_and_delete({"_id": "first"}) or {}
    began = datetime.now(UTC) - timedelta(hours=1)
    for start in range(0, number, _INSERTED):
        documents = []
        for each in range(start, min(number, start + _INSERTED)):
            task_id, at = str(uuid.uuid4()), began + timedelta(milliseconds=each)
            times = {fields.CREATED_AT: at, fields.UPDATED_AT: at, fields.DUE_AT: at}
            documents.append({**first, "_id": task_id, fields.ROOT_ID: task_id, **times, **changes})
        tasks.insert_many(documents, ordered=False)


def measure(number: int, moved_on: Callable[[], int], processes: list[psutil.Process]) -> str:
    """Wait until all tasks were moved on, and return the rate and the CPU time of each process per task."""
    while not (first := moved_on()):
        time.sleep(_POLL_SECONDS)
    began, before = time.monotonic(), [sum(process.cpu_times()[:2]) for process in processes]
    while moved_on() < number:
        time.sleep(_POLL_SECONDS)
    seconds, counted = time.monotonic() - began, number - first
    spent = [sum(process.cpu_times()[:2]) - cpu for process, cpu in zip(processes, before, strict=True)]
    shares = ", ".join(f"{1e6 * each / counted:.0f}" for each in spent)
    return f"{counted / seconds:,.0f} tasks/s; CPU of the worker, MongoDB and Redis per task: {shares} µs"


def measure_search(tasks: Tasks, names: list[str]) -> str:
    """Return the medians of the times of the search for the heads of queues, and of the grouping of all tasks."""
    now, times = datetime.now(UTC), dict[str, list[float]]()
    sides: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "by heads": lambda: waiting_queues(tasks, now, names, 60),
        "grouped": lambda: list(tasks.aggregate(due.queues_waiting(now, names))),
    }
    for _ in range(9):
        for side, search in sides.items():
            began = time.perf_counter()
            search()
            times.setdefault(side, []).append(1000 * (time.perf_counter() - began))
    return "search: " + ", ".join(f"{side} {statistics.median(taken):.1f} ms" for side, taken in times.items())


def run(kind: str, number: int, folder: Path) -> None:
    """Measure one kind of tasks with fresh servers and a fresh worker."""
    folder.mkdir()
    with ExitStack() as stack:
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        commands = [mongodb.command(folder / "mongod.log"), redis.command()]
        log, environment = folder / "log", {**os.environ, "SIDE": "ours"}
        servers = [psutil.Process(stack.enter_context(running(each, environment, log)).pid) for each in commands]
        mongodb.initiate()
        client = stack.enter_context(MongoClient[dict[str, Any]](mongodb.url))
        tasks = client["gql_api"].get_collection(fields.TASKS, codec_options=CODEC)
        tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        insert(tasks, number, _CHANGES[kind])
        if kind == "lost":
            print(f"{number:,} waiting, {measure_search(tasks, ['noop'])}", flush=True)
        urls = {"MONGODB_URL": mongodb.url, "MONGODB_DATABASE": "gql_api", "CELERY_BROKER_URL": redis.url}
        command = [sys.executable, "-m", "celery", "-A", "noop_tasks", "worker", "-c", "1", "-Q", "other"]
        worker = psutil.Process(stack.enter_context(running(command, {**environment, **urls}, log)).pid)
        broker = stack.enter_context(Redis.from_url(redis.url))

        def moved_on() -> int:
            if not worker.is_running():
                raise SystemExit(log.read_text()[-2000:])
            if kind == "expired":
                return tasks.count_documents({fields.STATUS: Status.REVOKED})
            length: Any = broker.llen(_QUEUE)
            return int(length)

        print(f"{kind}: {measure(number, moved_on, [worker, *servers])}", flush=True)


def main() -> None:
    """Measure each kind and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--kinds", default=",".join(_CHANGES), help="of the tasks, with commas between")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for kind in options.kinds.split(","):
            run(kind, options.tasks, Path(name) / kind)


if __name__ == "__main__":
    main()
