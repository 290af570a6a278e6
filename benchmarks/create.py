"""One createTasks call compared with as many createTask calls, over HTTP, on one API without a worker.

    python benchmarks/create.py --tasks 1000 --rounds 5

The createTask calls run one after the other over one connection, and in eight threads over as many connections. Only
the ratios can be compared between machines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from noop import running
from pymongo import MongoClient

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening
from gql_api.record import fields
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition

_ONE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } userErrors { code } } }"
_MANY = """mutation ($inputs: [CreateTaskInput!]!) {
  createTasks(inputs: $inputs) { results { task { id } userErrors { code } } userErrors { code } }
}"""
_CONCURRENCY = 8


def input_of(number: int) -> dict[str, Any]:
    """Return the input of a task."""
    return {"name": "noop", "args": [number], "metadata": {"customer": f"c-{number % 100}", "number": number}}


def one_after_the_other(client: httpx.Client, tasks: range) -> None:
    """Create tasks by one call each, one after the other."""
    for number in tasks:
        answer = client.post("/graphql", json={"query": _ONE, "variables": {"input": input_of(number)}}).json()
        if answer["data"]["createTask"]["userErrors"]:
            raise SystemExit(answer)


def in_threads(client: httpx.Client, tasks: int) -> None:
    """Create tasks by one call each, in several threads."""
    share = tasks // _CONCURRENCY
    with ThreadPoolExecutor(_CONCURRENCY) as callers:
        list(callers.map(lambda n: one_after_the_other(client, range(n * share, (n + 1) * share)), range(_CONCURRENCY)))


def by_one_call(client: httpx.Client, tasks: int) -> None:
    """Create tasks by one call for all."""
    inputs = [input_of(number) for number in range(tasks)]
    answer = client.post("/graphql", json={"query": _MANY, "variables": {"inputs": inputs}}).json()
    results = answer["data"]["createTasks"]["results"]
    if len(results) != tasks or any(result["userErrors"] for result in results):
        raise SystemExit(answer)


def announce(mongodb_url: str, database: str) -> None:
    """Announce a task definition, as a worker does."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        filter_, update = workers.announce(TaskDefinition("noop", schema, positional=("x",)))
        client[database][fields.DEFINITIONS].update_one(filter_, update, upsert=True)


def timed(work: Any, *args: Any) -> float:
    """Return the seconds that a function takes."""
    began = time.monotonic()
    work(*args)
    return time.monotonic() - began


def main() -> None:
    """Run the rounds and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        stack.enter_context(running(mongodb.command(folder / "mongod.log"), dict(os.environ), folder / "log"))
        stack.enter_context(running(redis.command(), dict(os.environ), folder / "log"))
        mongodb.initiate()
        announce(mongodb.url, "gql_api")
        environment = {**os.environ, "MONGODB_URL": mongodb.url, "CELERY_BROKER_URL": redis.url}
        command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}", "--no-access-log"]
        stack.enter_context(running(command, environment, folder / "api.log"))
        while not is_listening(port):
            time.sleep(0.1)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))
        by_one_call(client, options.tasks)
        ratios = []
        for number in range(1, options.rounds + 1):
            many = timed(by_one_call, client, options.tasks)
            one = timed(one_after_the_other, client, range(options.tasks))
            several = timed(in_threads, client, options.tasks)
            ratios.append((one / many, several / many))
            print(
                f"round {number}: createTasks {options.tasks / many:.0f}/s; createTask {options.tasks / one:.0f}/s, "
                f"{_CONCURRENCY} at a time {options.tasks / several:.0f}/s; "
                f"ratio {one / many:.1f} and {several / many:.1f}",
                flush=True,
            )
        print(
            f"ratio: median {statistics.median(r[0] for r in ratios):.1f} to one after the other, "
            f"{statistics.median(r[1] for r in ratios):.1f} to {_CONCURRENCY} at a time"
        )


if __name__ == "__main__":
    main()
