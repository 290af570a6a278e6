"""Real servers for all rings: each test process starts a MongoDB and a Redis of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from database_names import DatabaseNames, settings_for
from databases import Databases, data_folder
from hypothesis import settings as hypothesis_settings
from ports import free_port
from support import process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, is_listening
from gql_api.settings import Settings

# An example takes any time on a loaded machine. Modules of tests read this when they are imported.
hypothesis_settings.register_profile("tests", deadline=None)
hypothesis_settings.load_profile("tests")


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
        stack.enter_context(process(mongodb.command(folder / "mongod.log"), folder / "mongodb.log"))
        stack.enter_context(process(redis.command(), folder / "redis.log"))
        wait_until(lambda: is_listening(mongodb.port) and is_listening(redis.port), 60)
        mongodb.initiate()
        yield Databases(mongodb, redis)


@pytest.fixture(scope="session")
def database_names(databases: Databases) -> Iterator[DatabaseNames]:
    """The names of databases that no other test of the process uses."""
    with DatabaseNames.open(databases) as names:
        yield names


@pytest.fixture
def prepared(database_names: DatabaseNames) -> Iterator[str]:
    """The name of a database that has what the API makes when it starts; a test that asks for it gets it as its own."""
    with database_names.prepared() as name:
        yield name


@pytest.fixture
def settings(request: pytest.FixtureRequest, databases: Databases, database_names: DatabaseNames) -> Iterator[Settings]:
    """Settings with a database of the test's own: an empty one, or a prepared one if the test asks for that."""
    if "prepared" in request.fixturenames:
        yield settings_for(databases, request.getfixturevalue("prepared"))
    else:
        with database_names.new() as name:
            yield settings_for(databases, name)
