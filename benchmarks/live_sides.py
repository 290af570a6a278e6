"""The sides of a benchmark of live updates: the API, peers with the same answers, and the API with library parts."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javascript import PEERS, install, is_installable
from live_sockets import sequence_text
from pymongo import MongoClient

from gql_api import events
from gql_api.record import fields, writes
from gql_api.record.model import NewTask, Progress
from gql_api.record.reads import CODEC
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_DATABASE = "gql_api_benchmark"
_TIME = "2026-01-01T00:00:00+00:00"

Fill = Callable[[str, str, list[str]], dict[str, Any]]
EventOf = Callable[[Any, int], bytes]


@dataclass(frozen=True)
class Side:
    """One of the servers.

    ``fill`` stores the tasks in MongoDB and returns their documents, from which ``event_of`` makes a numbered event.
    """

    name: str
    command: Callable[[int], list[str]]
    fill: Fill
    event_of: EventOf

    def environment(self, mongodb_url: str, redis_url: str, port: int) -> dict[str, str]:
        """Return the environment of the server."""
        return {
            **os.environ,
            "MONGODB_URL": mongodb_url,
            "MONGODB_DATABASE": _DATABASE,
            "CELERY_BROKER_URL": redis_url,
            "REDIS_URL": redis_url,
            "PORT": str(port),
            "NODE_ENV": "production",
        }


def channel_of(task_id: str) -> str:
    """Return the channel of a task, the same for all sides."""
    return events.Channels(_DATABASE).task(task_id)


def _fill_ours(mongodb_url: str, redis_url: str, ids: list[str]) -> dict[str, Any]:
    """Store running tasks as a worker does."""
    settings = Settings(mongodb_url=mongodb_url, mongodb_database=_DATABASE, celery_broker_url=redis_url)
    connections = Connections(settings)
    store = Store(connections)
    for id_ in ids:
        store.change(writes.create(NewTask(id=id_, name="shop.orders.ship")), upsert=True, quick=True)
        store.change(writes.start(id_, worker="w"), quick=True)
        store.change(writes.progress(id_, Progress(0, 100, sequence_text(0))), quick=True)
    collection = connections.database().get_collection(fields.TASKS, codec_options=CODEC)
    documents = {document[fields.ID]: document for document in collection.find({fields.ID: {"$in": ids}})}
    connections.close()
    return documents


def _event_of_ours(document: Any, number: int) -> bytes:
    """Return the event that a worker publishes for a later revision of the record."""
    progress = {**document[fields.PROGRESS], fields.MESSAGE: sequence_text(number)}
    revision = document[fields.REVISION] + number
    return events.encode({**document, fields.REVISION: revision, fields.PROGRESS: progress})


def _fill_peer(mongodb_url: str, _redis_url: str, ids: list[str]) -> dict[str, Any]:
    """Store the same tasks in the form of their GraphQL fields."""
    progress = {"current": 0.0, "total": 100.0, "message": sequence_text(0)}
    task = {"name": "shop.orders.ship", "status": "STARTED", "revision": 3, "isFinal": False}
    times = {"createdAt": _TIME, "updatedAt": _TIME}
    documents = {id_: {"_id": id_, **task, **times, "progress": progress} for id_ in ids}
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client["peers"]["tasks"].insert_many(list(documents.values()))
    return documents


def _event_of_peer(document: Any, number: int) -> bytes:
    progress = {**document["progress"], "message": sequence_text(number)}
    return json.dumps({**document, "revision": document["revision"] + number, "progress": progress}).encode()


def _serve_ours(port: int) -> list[str]:
    return [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]


def _serve_library(part: str, port: int) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("library_serve.py")), part, f"--port={port}"]


def _serve_strawberry(port: int) -> list[str]:
    folder = f"--app-dir={PEERS}"
    return [sys.executable, "-m", "uvicorn", "strawberry_queues:app", folder, f"--port={port}", "--no-access-log"]


def _serve_node(_port: int) -> list[str]:
    return ["node", str(PEERS / "graphql_ws.mjs")]


OURS = Side("gql-api", _serve_ours, _fill_ours, _event_of_ours)
STRAWBERRY = Side("Strawberry", _serve_strawberry, _fill_peer, _event_of_peer)
NODE = Side("graphql-ws", _serve_node, _fill_peer, _event_of_peer)


LIBRARY = [
    Side(f"library-{part}", functools.partial(_serve_library, part), _fill_ours, _event_of_ours)
    for part in ("handshake", "framing", "websocket", "pubsub")
]
SIDES = {side.name: side for side in (OURS, STRAWBERRY, NODE, *LIBRARY)}


def default_names() -> list[str]:
    """Return the names of the peers that can be measured here: the one in JavaScript needs npm."""
    return [side.name for side in (OURS, STRAWBERRY, NODE) if side is not NODE or is_installable()]


def sides(names: list[str]) -> list[Side]:
    """Return sides by their names."""
    if NODE.name in names:
        install()
    return [SIDES[name] for name in names]
