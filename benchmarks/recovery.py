"""Tasks per second that the recovery of one worker moves on, of many that are found at once.

    python benchmarks/recovery.py --tasks 50000 --rounds 3
    python benchmarks/recovery.py --kinds lost

They were queued and Redis has lost their messages; they were scheduled, or wait for a retry, and are due; or they have
expired. A worker that consumes another queue finds them. The rate counts from the first task that it has moved on.
Every task must get one message. An expired one must be revoked, and gets one at most. Afterwards the worker only scans.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from noop import running
from pinned import Databases, databases
from pymongo import MongoClient
from pymongo.collection import Collection
from redis import Redis
from tables import INTO, Figures, report, table

from gql_api.record import fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import CODEC

_QUEUE = "backlog"
_BULK = 1_000
_POLL_SECONDS, _SCAN_SECONDS, _LONGEST_SECONDS = 0.05, 10, 900
_EXPIRED = "expired"
KINDS: dict[str, dict[str, Any]] = {
    "lost": {},
    "scheduled": {fields.STATUS: Status.SCHEDULED},
    "retry": {fields.STATUS: Status.RETRY, fields.ATTEMPTS: 1},
    _EXPIRED: {fields.EXPIRES_AT: datetime.now(UTC)},
}
"""What the records of tasks of each kind have of their own."""

Tasks = Collection[dict[str, Any]]


def fill(tasks: Tasks, number: int, kind: str) -> set[str]:
    """Store tasks that were created an hour ago, one after the other, and return their ids."""
    tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
    metadata = {"customer": {"id": "c-17", "tier": "gold"}, "order": 4711}
    task = NewTask("first", "noop", args=[1, "two"], kwargs={"three": 3}, metadata=metadata, queue=_QUEUE)
    tasks.update_one(*writes.create(task), upsert=True)
    first = tasks.find_one_and_delete({fields.ID: "first"}) or {}
    began, ids = datetime.now(UTC) - timedelta(hours=1), [str(uuid.uuid4()) for _ in range(number)]
    for start in range(0, number, _BULK):
        documents = []
        for place, id_ in enumerate(ids[start : start + _BULK], start):
            at = began + timedelta(milliseconds=place)
            times = {fields.CREATED_AT: at, fields.UPDATED_AT: at, fields.DUE_AT: at}
            documents.append({**first, fields.ID: id_, fields.ROOT_ID: id_, **times, **KINDS[kind]})
        tasks.insert_many(documents, ordered=False)
    return set(ids)


def timed(number: int, moved_on: Callable[[], int], worker: psutil.Process, servers: list[psutil.Process]) -> Figures:
    """Wait until all tasks are moved on, then for some scans, and return the figures."""
    first = _wait(1, moved_on, worker)
    began, cpu, servers_cpu = time.monotonic(), _cpu([worker]), _cpu(servers)
    _wait(number, moved_on, worker)
    # A worker that has moved on all tasks at once gives no rate.
    seconds, counted = time.monotonic() - began, max(1, number - first)
    cpu, servers_cpu, idle = _cpu([worker]) - cpu, _cpu(servers) - servers_cpu, _cpu([worker, *servers])
    time.sleep(_SCAN_SECONDS)
    return {
        "tasks/s": counted / seconds,
        "CPU of the worker per task, µs": 1e6 * cpu / counted,
        "CPU of MongoDB and Redis per task, µs": 1e6 * servers_cpu / counted,
        "afterwards, CPU of all per second, ms": 1e3 * (_cpu([worker, *servers]) - idle) / _SCAN_SECONDS,
    }


def _wait(number: int, moved_on: Callable[[], int], worker: psutil.Process) -> int:
    until = time.monotonic() + _LONGEST_SECONDS
    while (found := moved_on()) < number:
        if time.monotonic() > until or worker.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit(f"the worker has ended, or took too long: {found} of {number} tasks were moved on")
        time.sleep(_POLL_SECONDS)
    return found


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def recovered(site: Databases, number: int, kind: str) -> Figures:
    """Let a new worker recover tasks of a kind, and return the figures.

    Raises:
        SystemExit: a task has no message, or more than one.
    """
    database = f"recovery_{uuid.uuid4().hex}"
    urls = {"MONGODB_URL": site.mongodb_url, "CELERY_BROKER_URL": site.redis_url, "MONGODB_DATABASE": database}
    command = [sys.executable, "-m", "celery", "-A", "noop_tasks", "worker", "-c", "1", "-Q", "other", "-l", "WARNING"]
    with MongoClient[dict[str, Any]](site.mongodb_url) as client, Redis.from_url(site.redis_url) as redis:
        redis.flushall()
        tasks = client[database].get_collection(fields.TASKS, codec_options=CODEC)
        ids = fill(tasks, number, kind)
        revoked = {fields.STATUS: Status.REVOKED}
        moved_on = (lambda: tasks.count_documents(revoked)) if kind == _EXPIRED else (lambda: redis.llen(_QUEUE))
        with running(command, {**os.environ, **urls, "SIDE": "ours"}, site.folder / "worker.log") as started:
            figures = timed(number, moved_on, psutil.Process(started.pid), site.servers)
        sent = [json.loads(message)["headers"]["id"] for message in redis.lrange(_QUEUE, 0, -1)]
        client.drop_database(database)
    if len(set(sent)) != len(sent) or not set(sent) <= ids or (set(sent) != ids and kind != _EXPIRED):
        raise SystemExit(f"{number} {kind} tasks got {len(sent)} messages, {len(set(sent))} of them different")
    return figures


def main() -> None:
    """Run the rounds and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--into", type=Path, help=INTO)
    options = parser.parse_args()
    kinds, found = options.kinds.split(","), list[dict[str, Figures]]()
    if not set(kinds) <= KINDS.keys():
        parser.error(f"--kinds: some of {', '.join(KINDS)}, got {options.kinds}")
    with databases() as site:
        for number in range(options.rounds):
            found.append({kind: recovered(site, options.tasks, kind) for kind in kinds})
            print(f"round {number + 1}\n{table(found[-1:], kinds[0])}\n", flush=True)
    report(table(found, kinds[0]), options.into)


if __name__ == "__main__":
    main()
