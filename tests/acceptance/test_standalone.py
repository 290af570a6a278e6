"""A MongoDB that is not a replica set: a standalone server works with a warning, and a new member is waited for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from databases import Databases
from ports import free_port
from pymongo import MongoClient
from support import Api, process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, is_listening

pytestmark = pytest.mark.slow

_WORKER = ["-m", "celery", "-A", "gql_api", "worker", "--concurrency=2", "--loglevel=INFO", "--without-mingle"]
_API = ["-m", "uvicorn", "gql_api.app:app", "--no-access-log"]
_WARNING = "MONGODB_URL names a standalone MongoDB server"
_LONG = "long_running_task"
_DELETE = "mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId } }"
_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id) { task { status } userErrors { code } } }"
_LIST = (
    'query ($key: JSON!) { tasks(first: 9, filter: {metadata: [{path: "key", eq: $key}]}) { totalCount nodes { id } } }'
)


@dataclass
class _Mongod:
    """A MongoDB server without a replica set, which can be killed."""

    command: list[str]
    server: MongodbServer
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.server.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.running = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.server.port))

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        assert self.running is not None
        self.running.kill()
        self.running.wait()


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Mongod]:
    """A running server."""
    folder = tmp_path_factory.mktemp("standalone")
    server = MongodbServer(folder / "mongodb", free_port())
    command = server.command(folder / "mongod.log")
    mongod = _Mongod([part for part in command if not part.startswith("--replSet")], server)
    mongod.start()
    try:
        with MongoClient[dict[str, object]](mongod.url) as client:
            assert "setName" not in client.admin.command("hello")
        yield mongod
    finally:
        mongod.kill()


@pytest.fixture(scope="module")
def api(mongod: _Mongod, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API of a site whose MongoDB is the standalone server."""
    with _site(tmp_path_factory.mktemp("site"), mongod.url, databases.redis.url.replace("/0", "/8")) as api:
        wait_until(lambda: _has_workers(api), 60)
        yield api


@contextlib.contextmanager
def _site(folder: Path, mongodb_url: str, broker_url: str) -> Iterator[Api]:
    """Run a worker and the API."""
    port = free_port()
    environment = {
        "MONGODB_URL": mongodb_url,
        "CELERY_BROKER_URL": broker_url,
        "WORKER_HEARTBEAT_SECONDS": "1",
        "LEASE_SECONDS": "2",
        "RECOVERY_INTERVAL_SECONDS": "0.2",
    }
    api = Api(f"http://127.0.0.1:{port}", folder / "api.log", folder / "worker.log")
    with (
        process([sys.executable, *_WORKER], api.worker_log, environment),
        process([sys.executable, *_API, f"--port={port}"], api.log, environment),
    ):
        yield api


def _has_workers(api: Api) -> bool:
    if not api.is_ready():
        return False
    definitions = api.data("{ taskDefinitions { workers } }")["taskDefinitions"]
    return any(definition["workers"] for definition in definitions)


def _create(api: Api, seconds: float, **rest: object) -> str:
    return api.create(_LONG, kwargs={"task_input": "x", "seconds": seconds}, **rest)


def test_each_process_warns_once(api: Api) -> None:
    """The line names the variable, the weakness and the remedy."""
    for log in (api.log, api.worker_log):
        wait_until(lambda log=log: _WARNING in log.read_text())  # type: ignore[misc]
        (line,) = [line for line in log.read_text().splitlines() if _WARNING in line]
        assert "rs.initiate()" in line


def test_tasks_live_from_creation_to_deletion(api: Api) -> None:
    """Create with an idempotency key, watch, list, count, cancel, delete, and resume a live list."""
    task_id = _create(api, 1, metadata={"key": "life"}, idempotencyKey="once")
    again = {"name": _LONG, "kwargs": {"task_input": "x", "seconds": 1}, "metadata": {"key": "life"}}
    payload = api.data(
        "mutation ($input: CreateTaskInput!) { createTask(input: $input) { created task { id } } }",
        input={**again, "idempotencyKey": "once"},
    )["createTask"]
    assert payload == {"created": False, "task": {"id": task_id}}
    updates = [
        each["taskUpdated"] for each in api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ status }} }}')
    ]
    assert updates[-1] == {"status": "SUCCESS"}
    since = api.task(task_id)["updatedAt"]
    assert api.data(_LIST, key="life")["tasks"] == {"totalCount": 1, "nodes": [{"id": task_id}]}

    waiting = _create(api, 1, delaySeconds=600)
    assert api.data(_CANCEL, id=waiting)["cancelTask"] == {"task": {"status": "REVOKED"}, "userErrors": []}
    assert api.data(_DELETE, id=task_id)["deleteTask"] == {"deletedTaskId": task_id}
    assert api.task(waiting)["status"] == "REVOKED"
    assert api.data(_LIST, key="life")["tasks"] == {"totalCount": 0, "nodes": []}
    changes = api.watch(f'subscription {{ taskChanges(since: "{since}") {{ kind taskId }} }}')
    resumed = [next(changes)["taskChanges"] for _ in range(2)]
    assert {change["taskId"]: change["kind"] for change in resumed} == {waiting: "UPDATED", task_id: "DELETED"}


@pytest.mark.fault
def test_what_was_acknowledged_outlives_a_kill(api: Api, mongod: _Mongod) -> None:
    """The server is killed right after the last answer: all tasks are there, and each of them ends."""
    created = [_create(api, 1, metadata={"key": "kill"}) for _ in range(10)]
    mongod.kill()
    mongod.start()
    wait_until(api.is_ready, 30)
    assert {api.finished(task_id, 60)["status"] for task_id in created} == {"SUCCESS"}
    assert api.data(_LIST, key="kill")["tasks"]["totalCount"] == len(created)


def test_a_member_that_is_not_initiated_is_named(tmp_path: Path, databases: Databases) -> None:
    """Both processes log what to do, and begin to work when it is done."""
    server = MongodbServer(tmp_path / "mongodb", free_port())
    with (
        process(server.command(tmp_path / "mongod.log"), tmp_path / "mongodb.log"),
        _site(tmp_path, f"mongodb://127.0.0.1:{server.port}", databases.redis.url.replace("/0", "/9")) as api,
    ):
        for log in (api.log, api.worker_log):
            wait_until(lambda log=log: "run rs.initiate() on it once" in log.read_text(), 30)  # type: ignore[misc]
        server.initiate()
        wait_until(lambda: _has_workers(api), 30)
        assert api.finished(_create(api, 0))["status"] == "SUCCESS"
        assert _WARNING not in api.log.read_text() + api.worker_log.read_text()
