"""The servers behind the pages: a worker, and servers that tests stop and start on the same port."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ports import free_port
from support import Api, process, wait_until

_SERVE = [sys.executable, "-m", "gql_api", "serve", "--drain-seconds=1"]
_WORKER = ["-m", "celery", "-A", "jobs", "worker", "--concurrency=4", "--loglevel=INFO", "--without-mingle"]


class Server:
    """A server of `gql-api serve`, which keeps its port.

    Args:
        environment: its settings.
        log: its log.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._port = free_port()
        self._running = contextlib.ExitStack()
        self.api = Api(f"http://127.0.0.1:{self._port}", log, log)

    @property
    def url(self) -> str:
        """The origin of its pages."""
        return self.api.url

    @property
    def insecure_url(self) -> str:
        """The same origin by a name for which browsers demand https: only loopback is secure without."""
        return f"http://board.test:{self._port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._running.enter_context(process([*_SERVE, f"--port={self._port}"], self.api.log, self._environment))
        wait_until(self.api.is_ready, 30, f"{self.api.log} to say that the server is ready")

    def stop(self) -> None:
        """Stop, and wait for the end."""
        self._running.close()


@dataclass(frozen=True)
class Site:
    """The board with its worker, and their settings."""

    server: Server
    environment: Mapping[str, str]
    folder: Path

    @property
    def api(self) -> Api:
        """A client of the API."""
        return self.server.api

    @property
    def url(self) -> str:
        """The origin of the pages."""
        return self.server.url

    @contextlib.contextmanager
    def another(self, name: str, **settings: str) -> Iterator[Server]:
        """Run a second server with other settings on the same data."""
        server = Server({**self.environment, **settings}, self.folder / f"{name}.log")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_site(environment: Mapping[str, str], folder: Path) -> Iterator[Site]:
    """Run a server and a worker until the block ends."""
    site = Site(Server(environment, folder / "server.log"), environment, folder)
    with process([sys.executable, *_WORKER], folder / "worker.log", environment):
        site.server.start()
        try:
            wait_until(lambda: _announced(site.api), 60, "the worker to announce its tasks")
            yield site
        finally:
            site.server.stop()


def _announced(api: Api) -> bool:
    definitions = api.data("{ taskDefinitions { name workers } }")["taskDefinitions"]
    return bool(definitions) and all(definition["workers"] for definition in definitions)
