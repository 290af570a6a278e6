"""Each test gets a site of its own to break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fault_site import LEASE_SECONDS, Server, Site

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port
from gql_api.dispatch import Dispatcher
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start the databases; workers are the test's own."""
    mongodb = MongodbServer(tmp_path / "mongodb", free_port())
    redis = RedisServer(tmp_path / "redis", free_port())
    servers = (
        Server(mongodb.command(tmp_path / "mongod.log"), tmp_path / "mongodb.log", mongodb.port),
        Server(redis.command(), tmp_path / "redis.log", redis.port),
    )
    try:
        for server in servers:
            server.start()
        mongodb.initiate()
        settings = Settings(mongodb_url=mongodb.url, mongodb_database="faults", celery_broker_url=redis.url)
        connections = Connections(settings)
        environment = {
            "MONGODB_URL": mongodb.url,
            "MONGODB_DATABASE": "faults",
            "CELERY_BROKER_URL": redis.url,
            "TASK_MODULES": "fault_tasks",
            "PYTHONPATH": str(Path(__file__).parent / "support"),
            "EXECUTIONS": str(tmp_path / "executions"),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "RECOVERY_INTERVAL_SECONDS": "0.3",
        }
        with ExitStack() as workers:
            dispatcher = Dispatcher(settings)
            workers.callback(dispatcher.close)
            workers.callback(connections.close)
            yield Site(tmp_path, *servers, redis.url, settings, Store(connections), dispatcher, workers, environment)
    finally:
        for server in servers:
            server.kill()
