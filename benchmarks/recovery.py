"""The recovery of waiting tasks whose messages Redis has lost: when the first one is sent again, and how many a second.

    python benchmarks/recovery.py --tasks 20000 --rounds 3

The tasks are in MongoDB, and no message is in Redis, as after a Redis that restarted empty. One worker recovers them.
It consumes another queue, so that it runs none of them. Every task must get one message.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import uuid
from typing import Any

import psutil
from noop import running
from pinned import Databases, databases
from pymongo import MongoClient, UpdateOne
from redis import Redis

from gql_api.record import fields, writes
from gql_api.record.model import NewTask

_QUEUE = "lost"
_BULK = 1_000
_POLL_SECONDS = 0.05
_LONGEST_SECONDS = 600


def fill(mongodb_url: str, database: str, tasks: int) -> set[str]:
    """Store waiting tasks, and return their ids."""
    ids = [str(uuid.uuid4()) for _ in range(tasks)]
    creations = [writes.create(NewTask(id=id_, name="noop", metadata={"a": 1}, queue=_QUEUE)) for id_ in ids]
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        collection = client[database][fields.TASKS]
        collection.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        for start in range(0, tasks, _BULK):
            chunk = creations[start : start + _BULK]
            collection.bulk_write([UpdateOne(*write, upsert=True) for write in chunk], ordered=False)
    return set(ids)


def recovered(site: Databases, tasks: int) -> tuple[float, float, float]:
    """Return the seconds to the first message, the messages per second from there, and the worker's µs per message.

    Raises:
        SystemExit: a task has no message, or more than one.
    """
    database = f"recovery_{uuid.uuid4().hex}"
    ids = fill(site.mongodb_url, database, tasks)
    servers = {"MONGODB_URL": site.mongodb_url, "CELERY_BROKER_URL": site.redis_url, "MONGODB_DATABASE": database}
    command = [sys.executable, "-m", "celery", "-A", "noop_tasks", "worker", "-c", "1", "-Q", "other", "-l", "WARNING"]
    with Redis.from_url(site.redis_url) as redis:
        redis.flushall()
        with running(command, {**os.environ, **servers, "SIDE": "ours"}, site.folder / "worker.log") as started:
            worker = psutil.Process(started.pid)
            began = first_at = time.monotonic()
            first_cpu, found = 0.0, 0
            while found < tasks:
                if found == 0:
                    first_at, first_cpu = time.monotonic(), sum(worker.cpu_times()[:2])
                if time.monotonic() - began > _LONGEST_SECONDS:
                    raise SystemExit(f"{found} of {tasks} messages were sent within {_LONGEST_SECONDS} s")
                time.sleep(_POLL_SECONDS)
                found = redis.llen(_QUEUE)
            took, cpu = time.monotonic() - first_at, sum(worker.cpu_times()[:2]) - first_cpu
        sent = [json.loads(message)["headers"]["id"] for message in redis.lrange(_QUEUE, 0, -1)]
    if len(sent) != tasks or set(sent) != ids:
        raise SystemExit(f"{tasks} tasks got {len(sent)} messages, {len(set(sent))} of them different")
    return first_at - began, tasks / took, 1e6 * cpu / tasks


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates = []
    with databases() as site:
        for number in range(1, options.rounds + 1):
            first, rate, cpu = recovered(site, options.tasks)
            rates.append(rate)
            print(
                f"round {number}: first after {first:.1f} s, then {rate:,.0f}/s, CPU of a message {cpu:.0f} µs",
                flush=True,
            )
    print(f"median {statistics.median(rates):,.0f} messages/s, from {min(rates):,.0f} to {max(rates):,.0f}")


if __name__ == "__main__":
    main()
