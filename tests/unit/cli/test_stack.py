from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT

from gql_api.cli.main import dev
from gql_api.cli.stack import Options, Stack
from gql_api.settings import Settings

_VARIABLES = ("MONGODB_URL", "MONGODB_HOST", "CELERY_BROKER_URL", "REDIS_URL")


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({}, {"mongodb", "redis"}),
        ({"MONGODB_URL": "", "CELERY_BROKER_URL": ""}, {"mongodb", "redis"}),
        ({"MONGODB_URL": "mongodb://db/"}, {"redis"}),
        ({"MONGODB_HOST": "db"}, {"redis"}),
        ({"CELERY_BROKER_URL": "redis://broker/1"}, {"mongodb"}),
        ({"REDIS_URL": "redis://events/1"}, {"mongodb", "redis"}),
        ({"MONGODB_URL": "mongodb://db/", "CELERY_BROKER_URL": "redis://broker/1"}, set()),
    ],
)
def test_a_server_is_started_unless_its_address_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], started: set[str]
) -> None:
    """Each variable counts by itself, an alias like the variable, and an empty value like none."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    commands = Stack.of(Options("127.0.0.1", 8000, 1, tmp_path, 27117, 6479), Settings.load()).commands()
    assert set(commands) - {"worker", "api"} == started
    named = {part.partition("=")[0] for part in commands["worker"] if "://" in part}
    assert named == {{"mongodb": "MONGODB_URL", "redis": "CELERY_BROKER_URL"}[name] for name in started}


def test_the_ready_line_has_the_ports_and_no_given_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that the environment names may contain a password."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    monkeypatch.setenv("MONGODB_URL", "mongodb://user:secret@db/")
    stack = Stack.of(Options("::", 8000, 1, tmp_path, 27117, 6479), Settings.load())
    assert stack.describe_ready() == (
        "Ready: board on http://localhost:8000/, playground and API on http://localhost:8000/graphql · "
        "MongoDB of MONGODB_URL · Redis redis://127.0.0.1:6479/0 · Ctrl-C stops everything"
    )
    assert not [part for command in stack.commands().values() for part in command if "secret" in part]


def test_the_readme_has_the_default_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ports of the README are those that the command uses without options."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    defaults = dev.make_context("dev", []).params
    options = Options("127.0.0.1", defaults["port"], 1, tmp_path, defaults["mongodb_port"], defaults["redis_port"])
    stack = Stack.of(options, Settings.load())
    assert stack.mongodb
    assert stack.redis
    readme = (ROOT / "README.md").read_text()
    assert f"| MongoDB | `{stack.mongodb.url}` |" in readme
    assert f"| Redis | `{stack.redis.url}` |" in readme
