"""The processes of a benchmark: the databases, a server that has the first core for itself, and clients on the second.

Without `taskset` nothing is pinned to a core.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from noop import running

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening

_SERVER_CORE, _CLIENTS_CORE = 0, 1
_CAN_PIN = shutil.which("taskset") is not None
_LOG_END = 2000


@dataclass(frozen=True)
class Databases:
    """Running databases, and a folder for logs."""

    mongodb_url: str
    redis_url: str
    redis_port: int
    folder: Path

    @contextmanager
    def serve(
        self, name: str, command: list[str], environment: Mapping[str, str], port: int
    ) -> Iterator[psutil.Process]:
        """Run a server until the block ends, which begins when the server listens.

        Raises:
            SystemExit: the server has ended.
        """
        pinned = ["taskset", "-c", str(_SERVER_CORE)] if _CAN_PIN else []
        log = self.folder / f"{name}.log"
        with running([*pinned, *command], dict(environment), log) as started:
            while not is_listening(port):
                if started.poll() is not None:
                    raise SystemExit(f"{name} ended:\n{log.read_text()[-_LOG_END:]}")
                time.sleep(0.1)
            yield psutil.Process(started.pid)


@contextmanager
def databases() -> Iterator[Databases]:
    """Run a MongoDB and a Redis until the block ends, and let this process have the core of the clients."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        for command in (mongodb.command(folder / "mongod.log"), redis.command()):
            stack.enter_context(running(command, dict(os.environ), folder / "log"))
        mongodb.initiate()
        if _CAN_PIN:
            os.sched_setaffinity(0, {_CLIENTS_CORE})
        yield Databases(mongodb.url, redis.url, redis.port, folder)
