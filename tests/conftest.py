"""Real servers for all rings: each test process starts a MongoDB and a Redis of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from databases import Databases, data_folder
from pymongo import MongoClient
from support import process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening
from gql_api.settings import Settings

# In milliseconds. Dropping a database waits for the journal, which is otherwise written ten times a second.
_COMMIT_INTERVAL = "--journalCommitInterval=10"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the length of a soak, and the faults of a chaos run, be chosen."""
    parser.addoption("--soak-seconds", type=int, default=600, help="how long `-m soak` goes on (default: 600)")
    parser.addoption("--chaos-faults", type=int, default=100, help="how many faults `-m chaos` injects (default: 100)")
    parser.addoption("--chaos-seed", type=int, default=None, help="decides the faults (default: random)")
    parser.addoption("--chaos-members", type=int, default=1, choices=(1, 3), help="MongoDB servers (default: 1)")
    parser.addoption("--chaos-defaults", action="store_true", help="use the default settings, not short leases")
    parser.addoption("--chaos-kinds", default="", help="the families or kinds of faults, by commas (default: all)")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Start both servers, once a test process."""
    folder = tmp_path_factory.mktemp("databases")
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(data_folder(folder))
        mongodb = MongodbServer(data / "mongodb", free_port())
        redis = RedisServer(data / "redis", free_port())
        command = [*mongodb.command(folder / "mongod.log"), _COMMIT_INTERVAL]
        stack.enter_context(process(command, folder / "mongodb.log"))
        stack.enter_context(process(redis.command(), folder / "redis.log"))
        wait_until(lambda: is_listening(mongodb.port) and is_listening(redis.port))
        mongodb.initiate()
        yield Databases(mongodb, redis)


@pytest.fixture
def settings(databases: Databases) -> Iterator[Settings]:
    """Settings with a database of the test's own, dropped after it."""
    name = f"test_{uuid.uuid4().hex}"
    yield Settings(
        mongodb_url=databases.mongodb.url,
        mongodb_database=name,
        celery_broker_url=databases.redis.url,
        progress_interval_seconds=0.05,
    )
    with MongoClient[dict[str, object]](databases.mongodb.url) as client:
        client.drop_database(name)
