"""The MongoDB of a site: one server, or a replica set of three."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chaos_plan import MONGODB
from chaos_process import Process
from ports import free_port
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from support import wait_until

from gql_api.cli.embedded_servers import HOST, MongodbServer, is_listening
from gql_api.cli.replica_set import REPLICA_SET

_ELECTION_MS = 2000
_STEP_DOWN_SECONDS = 5
_ANSWER_MS = 3000
_PRIMARY_SECONDS = 60.0
_STOP_REPLICATION = "stopReplProducer"

Client = MongoClient[dict[str, Any]]


class Mongodb:
    """The members of a replica set.

    Args:
        folder: for data and logs.
        members: their number.

    ``losses`` are the times, from and to, within which writes that are not acknowledged by a majority may be lost.
    """

    def __init__(self, folder: Path, members: int) -> None:
        names = [MONGODB] if members == 1 else [f"{MONGODB}-{number}" for number in range(members)]
        self._servers = {name: MongodbServer(folder / name, free_port()) for name in names}
        self.processes = [self._process(name, folder) for name in names]
        self.losses: list[tuple[float, float]] = []

    @property
    def names(self) -> Sequence[str]:
        """The names of the members."""
        return list(self._servers)

    @property
    def url(self) -> str:
        """The URL for clients of the whole set."""
        hosts = ",".join(f"{HOST}:{server.port}" for server in self._servers.values())
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    @property
    def port(self) -> int:
        """The port of the first member."""
        return next(iter(self._servers.values())).port

    def start(self) -> None:
        """Start all members and make them a replica set."""
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_until_ready()
        if len(self._servers) == 1:
            next(iter(self._servers.values())).initiate()
            return
        members = [
            {"_id": number, "host": f"{HOST}:{server.port}"} for number, server in enumerate(self._servers.values())
        ]
        config = {"_id": REPLICA_SET, "members": members, "settings": {"electionTimeoutMillis": _ELECTION_MS}}
        with self._member(self.names[0]) as client:
            client.admin.command("replSetInitiate", config)
        self.primary()

    def client(self) -> Client:
        """Return a client of the whole set, with short timeouts."""
        return MongoClient(self.url, serverSelectionTimeoutMS=_ANSWER_MS, socketTimeoutMS=_ANSWER_MS)

    def primary(self, seconds: float = _PRIMARY_SECONDS) -> str:
        """Wait until there is a primary, and return its name."""
        return wait_until(self._find_primary, seconds, "a primary") or ""

    def step_down(self) -> None:
        """Let the primary make room for another."""
        with self.loss(), self._member(self.primary()) as client, contextlib.suppress(PyMongoError):
            # It closes connections, and so perhaps its own.
            client.admin.command("replSetStepDown", _STEP_DOWN_SECONDS, secondaryCatchUpPeriodSecs=1)

    def cut_off(self) -> Process:
        """Stop the replication from the primary, whose writes no majority gets, and return its process."""
        primary = self.primary()
        self._set_fail_point("alwaysOn", but=primary)
        return self.process(primary)

    def rejoin(self) -> None:
        """Let the members replicate again."""
        self._set_fail_point("off")

    def process(self, name: str) -> Process:
        """Return the process of a member."""
        return next(process for process in self.processes if process.name == name)

    @contextlib.contextmanager
    def loss(self) -> Iterator[None]:
        """Note that writes may be lost during the block, and until there is a primary after it."""
        since = time.monotonic()
        # It counts at once: watchers compare while the fault goes on.
        self.losses.append((since, float("inf")))
        try:
            yield
            self.primary()
        finally:
            self.losses.remove((since, float("inf")))
            self.losses.append((since, time.monotonic()))

    def loss_by_failover(self) -> contextlib.AbstractContextManager[None]:
        """Note that writes may be lost during the block if there are other members."""
        return self.loss() if len(self._servers) > 1 else contextlib.nullcontext()

    def _process(self, name: str, folder: Path) -> Process:
        server = self._servers[name]
        command = [*server.command(folder / f"{name}.mongod.log"), "--setParameter=enableTestCommands=1"]
        return Process(name, command, folder / f"{name}.log", {}, lambda _: is_listening(server.port))

    def _member(self, name: str) -> Client:
        return MongoClient(
            HOST,
            self._servers[name].port,
            directConnection=True,
            serverSelectionTimeoutMS=_ANSWER_MS,
            socketTimeoutMS=_ANSWER_MS,
        )

    def _find_primary(self) -> str | None:
        for name in self._servers:
            with self._member(name) as client, contextlib.suppress(PyMongoError):
                if is_listening(self._servers[name].port) and client.admin.command("hello").get("isWritablePrimary"):
                    return name
        return None

    def _set_fail_point(self, mode: str, but: str | None = None) -> None:
        for name in self._servers:
            if name != but:
                with self._member(name) as client, contextlib.suppress(PyMongoError):
                    client.admin.command("configureFailPoint", _STOP_REPLICATION, mode=mode)
