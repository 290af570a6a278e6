"""The databases of a site: servers that a test kills, freezes and starts again, and the replica set that they form."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ports import free_port
from pymongo import MongoClient
from pymongo.errors import NotPrimaryError, PyMongoError
from support import wait_until

from gql_api.cli.embedded_servers import HOST, MongodbServer, is_listening
from gql_api.cli.replica_set import REPLICA_SET

# MongoDB's defaults are ten seconds each: a test does not wait that long for a new primary.
_ELECTION = {"electionTimeoutMillis": 2000, "heartbeatTimeoutSecs": 2}
_CONNECT_MS = 1000
# A planned step-down waits until another member has copied everything, for ten seconds at most.
_COMMAND_MS = 15_000
_STOPS_COPYING = "stopReplProducer"
# A primary that has stepped down cannot be elected again for this long.
_STEPPED_DOWN_SECONDS = 10


@dataclass
class Server:
    """A database server that can be killed and started again on its data."""

    command: list[str]
    log: Path
    port: int
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: is_listening(self.port))

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def freeze(self) -> None:
        """Stop it from answering, with its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.running is not None
        self.running.send_signal(number)


class ReplicaSet:
    """The members of a MongoDB replica set: one, or three of which any two are a majority."""

    def __init__(self, folder: Path, members: int) -> None:
        servers = [MongodbServer(folder / f"mongodb{number}", free_port()) for number in range(members)]
        self.members = [
            # The parameter allows fail points.
            Server(
                [*server.command(folder / f"mongod{number}.log"), "--setParameter=enableTestCommands=1"],
                folder / f"mongodb{number}.log",
                server.port,
            )
            for number, server in enumerate(servers)
        ]

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"mongodb://{','.join(map(_host, self.members))}/?replicaSet={REPLICA_SET}"

    def initiate(self) -> None:
        """Make the servers a replica set, and wait until it accepts writes."""
        config = {
            "_id": REPLICA_SET,
            "members": [{"_id": number, "host": _host(member)} for number, member in enumerate(self.members)],
            "settings": _ELECTION,
        }
        _run(self.members[0], "replSetInitiate", config)
        self.wait_for_primary()

    def start(self) -> None:
        """Start the members that do not run, all on their data."""
        for member in self.members:
            if member.running is None or member.running.poll() is not None:
                member.start()

    def kill(self) -> None:
        """End all members at once."""
        for member in self.members:
            member.kill()

    def keep_in_memory(self) -> None:
        """Flush no journal from now on, until the servers are killed: what is written then is lost."""
        _switch(self.members, "pauseJournalFlusherBeforeFlush", on=True)

    def primary(self) -> Server | None:
        """Return the member that accepts writes; None during an election."""
        for member in self.members:
            with contextlib.suppress(PyMongoError):
                if _run(member, "hello")["isWritablePrimary"]:
                    return member
        return None

    def wait_for_primary(self, other_than: Server | None = None) -> Server:
        """Wait for a member that accepts writes, perhaps for another one than before."""

        def found() -> Server | None:
            primary = self.primary()
            return None if primary is other_than else primary

        primary = wait_until(found, 60, "a primary")
        assert primary is not None
        return primary

    def others(self, primary: Server) -> list[Server]:
        """Return the other members than the primary."""
        return [member for member in self.members if member is not primary]

    def step_down(self) -> Server:
        """Let the primary hand over to another member, as an upgrade does, and return the new primary."""
        primary = self.wait_for_primary()
        _run(primary, "replSetStepDown", _STEPPED_DOWN_SECONDS)
        return self.wait_for_primary(other_than=primary)

    @contextlib.contextmanager
    def cut_off(self, primary: Server) -> Iterator[None]:
        """Keep the other members from copying from the primary, whose writes reach no majority within the block."""
        others = self.others(primary)
        _switch(others, _STOPS_COPYING, on=True)
        try:
            yield
        finally:
            _switch(others, _STOPS_COPYING, on=False)

    @contextlib.contextmanager
    def behind(self, members: Sequence[Server]) -> Iterator[None]:
        """Keep members from showing what becomes safe within the block, as a new primary does for a moment."""
        _switch(members, "disableSnapshotting", on=True)
        try:
            yield
        finally:
            _switch(members, "disableSnapshotting", on=False)

    def depose(self, primary: Server) -> None:
        """Make a primary that is cut off step down, which fails its operations that wait for a majority."""
        # It may have stepped down by itself.
        with contextlib.suppress(NotPrimaryError):
            _run(primary, "replSetStepDown", _STEPPED_DOWN_SECONDS, force=True)


def _switch(members: Sequence[Server], fail_point: str, *, on: bool) -> None:
    for member in members:
        _run(member, "configureFailPoint", fail_point, mode="alwaysOn" if on else "off")


def _run(member: Server, *command: Any, **options: Any) -> dict[str, Any]:
    with MongoClient[dict[str, Any]](
        f"mongodb://{_host(member)}",
        directConnection=True,
        connectTimeoutMS=_CONNECT_MS,
        serverSelectionTimeoutMS=_CONNECT_MS,
        socketTimeoutMS=_COMMAND_MS,
    ) as client:
        return client.admin.command(*command, **options)


def _host(member: Server) -> str:
    return f"{HOST}:{member.port}"
