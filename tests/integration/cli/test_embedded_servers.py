from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from support import process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, ServerError, free_port, is_listening


def test_mongodb_keeps_its_data_under_another_port(tmp_path: Path) -> None:
    """A replica set stores its port; a later start on another port works and keeps the data."""
    for start in (1, 2):
        server = MongodbServer(tmp_path / "mongodb", free_port())
        with process(server.command(tmp_path / "mongod.log"), tmp_path / "out.log"):
            wait_until(lambda server=server: is_listening(server.port))  # type: ignore[misc] # mypy infers no lambda default
            server.initiate()
            with MongoClient[dict[str, Any]](server.url) as client:
                client.test.starts.insert_one({"start": start})
                assert client.test.starts.count_documents({}) == start
                assert client.admin.command("getCmdLineOpts")["parsed"]["net"]["bindIp"] == "127.0.0.1"


def test_a_server_that_is_nowhere_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server on PATH and without the extra the error names the extra."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ServerError, match=r"gql-api\[embedded\]"):
        RedisServer(tmp_path, 1).command()


def test_a_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis on PATH is used before that of a package."""
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert RedisServer(tmp_path / "data", 1).command()[0] == str(own)
