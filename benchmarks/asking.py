"""The API process of a benchmark: requests over HTTP, and samples of its memory."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from noop import running

from gql_api.cli.embedded_servers import RedisServer, free_port, is_listening

_SAMPLE_SECONDS = 0.1


@dataclass
class Api:
    """A running API."""

    client: httpx.Client
    process: psutil.Process

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation and return the whole answer."""
        body: dict[str, Any] = self.client.post("/graphql", json={"query": query, "variables": variables}).json()
        return body

    def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that must succeed and return its data."""
        return self.timed_data(query, **variables)[1]

    def timed(self, query: str, **variables: Any) -> tuple[float, dict[str, Any]]:
        """Run an operation and return its time in milliseconds, and the whole answer."""
        began = time.monotonic()
        body = self.ask(query, **variables)
        return 1000 * (time.monotonic() - began), body

    def timed_data(self, query: str, **variables: Any) -> tuple[float, dict[str, Any]]:
        """Run an operation that must succeed and return its time in milliseconds, and its data.

        Raises:
            SystemExit: the answer has errors.
        """
        milliseconds, body = self.timed(query, **variables)
        if "errors" in body:
            raise SystemExit(f"{variables}: {body['errors']}")
        return milliseconds, body["data"]


@dataclass
class Memory:
    """Samples of the resident memory of the API, in MiB."""

    process: psutil.Process
    samples: list[float] = field(default_factory=list)

    def sample(self) -> float:
        """Take one sample."""
        self.samples.append(self.process.memory_info().rss / 2**20)
        return self.samples[-1]

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Take samples until the block ends."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(_SAMPLE_SECONDS):
                self.sample()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def served(mongodb_url: str, database: str, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Api]:
    """Run a Redis and `gql-api serve`, and wait until the API is ready."""
    folder = folder.resolve()
    redis, port = RedisServer(folder / "redis", free_port()), free_port()
    environment = {
        **os.environ,
        "MONGODB_URL": mongodb_url,
        "MONGODB_DATABASE": database,
        "CELERY_BROKER_URL": redis.url,
        **(settings or {}),
    }
    command = [sys.executable, "-m", "gql_api", "serve", f"--port={port}"]
    with (
        running(redis.command(), environment, folder / "log"),
        running(command, environment, folder / "api.log") as started,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        while not is_listening(port) or not client.get("/readyz").is_success:
            time.sleep(0.1)
        yield Api(client, psutil.Process(started.pid))
