"""The sides of the benchmark over HTTP: the API and two peers, the operations that all answer, and what they leave."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from create import announce
from javascript import PEERS, install, is_installable
from pymongo import MongoClient
from redis import Redis

from gql_api.record import fields

DATABASE = "gql_api_benchmark"
_QUEUE = "celery"
_PUBLISH_SECONDS = 10.0

TASKS = 100
_TASK = "id name status metadata progress { current total message } result createdAt updatedAt"
CREATE = """mutation ($input: CreateTaskInput!) {
  createTask(input: $input) { task { id status createdAt } userErrors { code message } }
}"""
GET = f"query ($id: ID!) {{ task(id: $id) {{ {_TASK} }} }}"
LIST = f"query ($first: Int!) {{ tasks(first: $first) {{ nodes {{ {_TASK} }} }} }}"


@dataclass(frozen=True)
class Side:
    """One of the servers. All keep the tasks in a collection of the same name, and send to the same queue."""

    name: str
    command: Callable[[int], list[str]]

    def environment(self, mongodb_url: str, redis_url: str, port: int) -> dict[str, str]:
        """Return the environment of the server. The peers get the write concern that the API has by itself."""
        concern = "" if self is OURS else "&w=majority&journal=true"
        return {
            **os.environ,
            "MONGODB_URL": mongodb_url + concern,
            "MONGODB_DATABASE": DATABASE,
            "CELERY_BROKER_URL": redis_url,
            "REDIS_URL": redis_url,
            "PORT": str(port),
            "NODE_ENV": "production",
        }


def _serve_ours(port: int) -> list[str]:
    return [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]


def _serve_strawberry(port: int) -> list[str]:
    folder = f"--app-dir={PEERS}"
    return [sys.executable, "-m", "uvicorn", "strawberry_tasks:app", folder, f"--port={port}", "--no-access-log"]


def _serve_mercurius(_port: int) -> list[str]:
    return ["node", str(PEERS / "mercurius_tasks.mjs")]


OURS = Side("gql-api", _serve_ours)
STRAWBERRY = Side("Strawberry", _serve_strawberry)
MERCURIUS = Side("Mercurius", _serve_mercurius)
SIDES = {side.name: side for side in (OURS, STRAWBERRY, MERCURIUS)}


def default_names() -> list[str]:
    """Return the names of the sides that can be measured here: the peer in JavaScript needs npm."""
    return [side.name for side in SIDES.values() if side is not MERCURIUS or is_installable()]


def sides(names: list[str]) -> list[Side]:
    """Return sides by their names."""
    if MERCURIUS.name in names:
        install()
    return [SIDES[name] for name in names]


@dataclass(frozen=True)
class Stored:
    """MongoDB and Redis, as a side finds and leaves them."""

    mongodb_url: str
    redis_url: str

    def clear(self) -> None:
        """Remove what the last side has left, and announce the task function, which only the API asks for."""
        with MongoClient[dict[str, Any]](self.mongodb_url) as client, Redis.from_url(self.redis_url) as redis:
            client.drop_database(DATABASE)
            redis.flushdb()
        announce(self.mongodb_url, DATABASE)

    def check(self, created: set[str]) -> None:
        """Compare the ids of the created tasks with those in MongoDB, and with those of the messages in the queue.

        Raises:
            SystemExit: they differ.
        """
        with MongoClient[dict[str, Any]](self.mongodb_url) as client:
            stored = {document[fields.ID] for document in client[DATABASE][fields.TASKS].find({}, {fields.ID: 1})}
        sent = self._sent(len(created))
        if created != stored or sorted(created) != sorted(sent):
            raise SystemExit(
                f"{len(created)} tasks were created, {len(stored)} are stored, {len(sent)} are in the queue"
            )

    def _sent(self, expected: int) -> list[str]:
        """Return the task ids of the messages; a server may send the last ones after its answers."""
        with Redis.from_url(self.redis_url) as redis:
            until = time.monotonic() + _PUBLISH_SECONDS
            while redis.llen(_QUEUE) < expected and time.monotonic() < until:
                time.sleep(0.1)
            return [json.loads(message)["headers"]["id"] for message in redis.lrange(_QUEUE, 0, -1)]
