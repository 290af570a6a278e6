"""A real API and a real worker, started once a test process and driven only from outside."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from databases import Databases
from ports import free_port
from programs import Run
from programs import programs as run_programs
from redis import Redis
from support import HELPERS, ROOT, Api, process, wait_until

_JS = ROOT / "tests" / "js"
_WORKER = ["-m", "celery", "-A", "jobs", "worker", "--concurrency=4", "--loglevel=INFO", "--without-mingle"]
_API = ["-m", "uvicorn", "gql_api.app:app", "--no-access-log"]


@pytest.fixture(scope="session")
def environment(databases: Databases) -> dict[str, str]:
    """What a deployment would set."""
    return {
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": "acceptance",
        "CELERY_BROKER_URL": databases.redis.url,
        "TASK_MODULES": "jobs.tasks,task_modules,value_tasks",
        "WORKER_HEARTBEAT_SECONDS": "1",
        "LEASE_SECONDS": "2",
        "RECOVERY_INTERVAL_SECONDS": "0.5",
        "PYTHONPATH": str(HELPERS),
        # Left over from another deployment: our settings go before Celery's own variables.
        "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
    }


@pytest.fixture(scope="session")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API at its address, once a worker has announced its tasks."""
    folder: Path = tmp_path_factory.mktemp("acceptance")
    port = free_port()
    api = Api(f"http://127.0.0.1:{port}", folder / "api.log", folder / "worker.log")
    with (
        process([sys.executable, *_WORKER], api.worker_log, environment),
        process([sys.executable, *_API, f"--port={port}"], api.log, environment),
    ):
        wait_until(lambda: _announced(api), 60, "the worker to announce its tasks")
        yield api


def _announced(api: Api) -> bool:
    try:
        data = api.post("{ taskDefinitions { workers } }").get("data")
    except httpx.TransportError:
        return False
    # An API that starts beside a busy MongoDB may answer with an error and no data.
    definitions = data["taskDefinitions"] if data else []
    return bool(definitions) and all(definition["workers"] for definition in definitions)


@pytest.fixture(scope="session")
def programs(environment: dict[str, str]) -> Iterator[Run]:
    """A process that has imported what plain Celery programs import."""
    with run_programs({**environment, "PYTHONPATH": f"{HELPERS}:{ROOT}"}) as run:
        yield run


@pytest.fixture
def run(api: Api, programs: Run) -> Run:
    """Return a function that runs a program beside the worker and returns its report."""
    assert api
    return programs


@pytest.fixture
def redis(databases: Databases) -> Iterator[Redis]:
    """The broker, to hold and release tasks by."""
    with Redis.from_url(databases.redis.url, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def node() -> Path:
    """Where the npm packages of the tests are; without Node.js these tests are left out, but not in CI."""
    if not (_JS / "node_modules").exists():
        if os.environ.get("CI") or shutil.which("npm"):
            pytest.fail("run `make test`, which installs the npm packages of tests/js")
        pytest.skip("Node.js and npm are not installed")
    return _JS
