"""The processes of a benchmark: the databases, a server that has the first core for itself, and clients on the second.

Without `taskset`, or with a single core, nothing is pinned to a core.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from noop import running

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, free_port, is_listening

_CORES = sorted(os.sched_getaffinity(0))[:2] if shutil.which("taskset") else []
"""The core of the server and the core of the clients, if this process may run on two."""

_CAN_PIN = len(_CORES) > 1
_START_SECONDS = 60
_LOG_END = 2000


@dataclass(frozen=True)
class Databases:
    """Running databases with their processes, and a folder for logs."""

    mongodb_url: str
    redis_url: str
    redis_port: int
    folder: Path
    servers: list[psutil.Process]

    @contextmanager
    def serve(
        self, name: str, command: list[str], environment: Mapping[str, str], port: int
    ) -> Iterator[psutil.Process]:
        """Run a server until the block ends, which begins when the server listens.

        Raises:
            SystemExit: the server has ended, or does not listen within a minute.
        """
        pinned = ["taskset", "-c", str(_CORES[0])] if _CAN_PIN else []
        log = self.folder / f"{name}.log"
        with running([*pinned, *command], dict(environment), log) as started:
            until = time.monotonic() + _START_SECONDS
            while not is_listening(port):
                if started.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{name} does not listen:\n{log.read_text()[-_LOG_END:]}")
                time.sleep(0.1)
            yield psutil.Process(started.pid)


def server_cores() -> set[int]:
    """Return the core of the server; none if nothing is pinned."""
    return {_CORES[0]} if _CAN_PIN else set()


@contextmanager
def databases() -> Iterator[Databases]:
    """Run a MongoDB and a Redis until the block ends, and let this process have the core of the clients.

    SIGTERM ends the block like an error, so that all servers are stopped.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        mongodb, redis = MongodbServer(folder / "mongodb", free_port()), RedisServer(folder / "redis", free_port())
        servers = [
            psutil.Process(stack.enter_context(running(command, dict(os.environ), folder / "log")).pid)
            for command in (mongodb.command(folder / "mongod.log"), redis.command())
        ]
        mongodb.initiate()
        if _CAN_PIN:
            os.sched_setaffinity(0, {_CORES[1]})
        yield Databases(mongodb.url, redis.url, redis.port, folder, servers)
