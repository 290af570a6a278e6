"""The parts of ``gql-api dev``: which servers it starts, where they listen, and the commands that start them."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gql_api
from gql_api.cli.embedded_servers import HOST, MongodbServer, RedisServer, ServerError
from gql_api.settings import Settings

_DRAIN_SECONDS = 3
_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - compared only


@dataclass(frozen=True)
class Options:
    """The options of ``gql-api dev``: where the parts listen, and where the data is."""

    host: str
    port: int
    concurrency: int
    data: Path
    mongodb_port: int
    redis_port: int


@dataclass(frozen=True)
class Stack:
    """The servers of one ``gql-api dev``, and the commands that start them.

    Args:
        options: where the parts listen.
        mongodb: None if ``MONGODB_URL`` names a server.
        redis: None if ``CELERY_BROKER_URL`` names a server.
        allowed_hosts: the hosts by which clients reach the API.
    """

    options: Options
    mongodb: MongodbServer | None
    redis: RedisServer | None
    allowed_hosts: tuple[str, ...]

    @classmethod
    def of(cls, options: Options, settings: Settings) -> Stack:
        """Return a stack with a server of its own for each address that the environment does not name."""
        given = settings.model_fields_set
        return cls(
            options,
            None if "mongodb_url" in given else MongodbServer(options.data / "mongodb", options.mongodb_port),
            None if "celery_broker_url" in given else RedisServer(options.data / "redis", options.redis_port),
            settings.allowed_hosts,
        )

    @property
    def api_host(self) -> str:
        """The address at which this machine reaches the API."""
        return HOST if self.options.host in _ALL_ADDRESSES else self.options.host

    @property
    def _api_name(self) -> str:
        return f"[{self.api_host}]" if ":" in self.api_host else self.api_host

    @property
    def mongodb_log(self) -> Path:
        """The file of MongoDB's log, which is JSON and would make the common log hard to read."""
        return self.options.data / "mongodb.log"

    def commands(self) -> dict[str, list[str]]:
        """Return the command of each part, by name."""
        # Addresses that the environment names are inherited: they may contain passwords, which others could read here.
        addresses = [
            *([f"MONGODB_URL={self.mongodb.url}"] if self.mongodb else ()),
            *([f"CELERY_BROKER_URL={self.redis.url}"] if self.redis else ()),
        ]
        options = self.options
        # The command itself asks the API whether it is ready.
        exposure = [f"ALLOWED_HOSTS={','.join(dict.fromkeys([*self.allowed_hosts, self._api_name]))}"]
        python = ["env", "PYTHONUNBUFFERED=1", *addresses, *exposure, sys.executable, "-m"]
        worker = ["gql_api.cli.reloading_worker", f"--concurrency={options.concurrency}", "--loglevel=INFO"]
        api = ["uvicorn", "gql_api.app:app", f"--host={options.host}", f"--port={options.port}", "--reload"]
        commands = {
            "worker": [*python, *worker, "--without-mingle", "--without-gossip"],
            "api": [
                *python,
                *api,
                f"--reload-dir={Path(str(gql_api.__file__)).parent}",
                f"--timeout-graceful-shutdown={_DRAIN_SECONDS}",
            ],
        }
        servers = {}
        if self.mongodb:
            servers["mongodb"] = self.mongodb.command(self.mongodb_log)
        if self.redis:
            servers["redis"] = self.redis.command()
        return servers | commands

    @contextlib.contextmanager
    def exclusive_use(self) -> Iterator[None]:
        """Reserve the folder of the data, which is created, if a server writes to it.

        Raises:
            ServerError: another ``gql-api dev`` uses the folder.
        """
        if not (self.mongodb or self.redis):
            yield
            return
        data = self.options.data
        data.mkdir(parents=True, exist_ok=True)
        # Two Redis servers would write to the same file and corrupt it.
        with (data / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ServerError(f"{data} is in use by another gql-api dev; choose another with --data-dir") from None
            yield

    def check_ports(self) -> None:
        """Check that every part can listen on its port.

        Raises:
            ServerError: a port is in use.
        """
        options = self.options
        _check_port(options.host, options.port, "choose another with --port")
        if self.mongodb:
            remedy = "choose another with --mongodb-port, or name a server to use in MONGODB_URL"
            _check_port(HOST, self.mongodb.port, remedy)
        if self.redis:
            remedy = "choose another with --redis-port, or name a server to use in CELERY_BROKER_URL"
            _check_port(HOST, self.redis.port, remedy)

    def describe_start(self) -> str:
        """Return the first line of the log: where the data is."""
        if not (self.mongodb or self.redis):
            return "Starting; the data is in the servers of MONGODB_URL and CELERY_BROKER_URL"
        line = f"Starting; the data is in {self.options.data}"
        return f"{line}, the log of MongoDB in {self.mongodb_log}" if self.mongodb else line

    def describe_ready(self) -> str:
        """Return the line for a stack that is ready: the addresses, without those that may contain passwords."""
        local = self.options.host in {HOST, "::1", *_ALL_ADDRESSES}
        site = f"http://{'localhost' if local else self.options.host}:{self.options.port}/"
        mongodb = f"MongoDB {self.mongodb.url}" if self.mongodb else "MongoDB of MONGODB_URL"
        redis = f"Redis {self.redis.url}" if self.redis else "Redis of CELERY_BROKER_URL"
        parts = [f"board on {site}, playground and API on {site}graphql", mongodb, redis, "Ctrl-C stops everything"]
        return f"Ready: {' · '.join(parts)}"


def _check_port(host: str, port: int, remedy: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(f"Port {port} on {host} cannot be used ({error.strerror}); {remedy}") from None
