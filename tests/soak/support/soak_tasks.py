"""Tasks that start, change and end during a soak. Threads write them as workers do."""

from __future__ import annotations

import random
import threading
import time
import uuid
from dataclasses import dataclass, field

from gql_api.record import claims, writes
from gql_api.record.logs import Entry, Limits
from gql_api.record.model import Claim, NewTask, Progress
from gql_api.record.writes import Write
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.logs import LogStore
from gql_api.worker.store.tasks import Store

GROUPS = 8
_THREADS = 4
_ALIVE_PER_THREAD = 15
# All threads together then change about 150 records a second, and write 50 lines of log.
_PACE_SECONDS = 0.02
_MIN_STEPS, _MAX_STEPS = 20, 200
_LINES_SHARE = 0.25
_LIMITS = Limits(1000, 1_000_000)
_LONGER_THAN_ANY_SOAK = 86_400.0


@dataclass
class Life:
    """One task: its remaining steps, its log lines, and its last revision when it has ended."""

    id: str
    group: str
    steps: int
    lines: int = 0
    last_revision: int | None = None


@dataclass
class Population:
    """All tasks, some of them unfinished at any time. Threads write it, and the event loop reads it."""

    settings: Settings
    seed: int
    lives: dict[str, Life] = field(default_factory=dict)
    alive: list[Life] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start the threads that create, change and end tasks."""
        self._threads = [threading.Thread(target=self._run, args=(self.seed + number,)) for number in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop creating tasks, and end the unfinished ones."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    async def is_alive(self) -> bool:
        """Return whether any task is unfinished."""
        return bool(self.alive)

    def group(self, number: int) -> str:
        """Return the name of one of the :data:`GROUPS` groups."""
        return f"{self.settings.mongodb_database}-{number}"

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        connections = Connections(self.settings)
        try:
            writer = _Writer(connections)
            mine: list[Life] = []
            while not self._over.wait(_PACE_SECONDS):
                if len(mine) < _ALIVE_PER_THREAD:
                    mine.append(self._create(writer, chance))
                life = chance.choice(mine)
                life.steps -= 1
                if life.steps < 0:
                    mine.remove(life)
                    self._end(writer, life)
                elif chance.random() < _LINES_SHARE:
                    writer.log(life)
                else:
                    writer.progress(life)
            for life in mine:
                self._end(writer, life)
        except Exception as error:  # noqa: BLE001 - the test fails with it
            self.failures.append(error)
        finally:
            connections.close()

    def _create(self, writer: _Writer, chance: random.Random) -> Life:
        life = Life(str(uuid.uuid4()), self.group(chance.randrange(GROUPS)), chance.randint(_MIN_STEPS, _MAX_STEPS))
        writer.begin(life)
        self.lives[life.id] = life
        self.alive.append(life)
        return life

    def _end(self, writer: _Writer, life: Life) -> None:
        self.alive.remove(life)
        life.last_revision = writer.end(life)


class QuietTask:
    """A task that changes on request and publishes no events, except the one of its end."""

    def __init__(self, settings: Settings, group: str) -> None:
        self.life = Life(str(uuid.uuid4()), group, steps=0)
        self._connections = Connections(settings)
        self._mute_connections = Connections(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
        self._mute_writer = _Writer(self._mute_connections)
        self.revision = _Writer(self._connections).begin(self.life)

    def change(self) -> None:
        """Log a line and report progress, without events."""
        self._mute_writer.log(self.life)
        self.revision = self._mute_writer.progress(self.life)

    def end(self) -> None:
        """End the task, with an event."""
        self.revision = self.life.last_revision = _Writer(self._connections).end(self.life)
        self._mute_connections.close()
        self._connections.close()


class _Writer:
    """The writes of a worker."""

    def __init__(self, connections: Connections) -> None:
        self._store = Store(connections)
        self._logs = LogStore(connections, _LIMITS)

    def begin(self, life: Life) -> int:
        """Create the record, claim the task, and return its revision."""
        self._store.change(writes.create(NewTask(id=life.id, name="soak", metadata={"group": life.group})), upsert=True)
        claim = Claim(token=str(uuid.uuid4()), worker="w", run="r", pid=1, lease_seconds=_LONGER_THAN_ANY_SOAK)
        return self._change(claims.claim(life.id, claim))

    def log(self, life: Life) -> None:
        """Log a line."""
        life.lines += 1
        assert self._logs.write(life.id, 1, [Entry.of(20, f"line {life.lines}", time.monotonic())]) is False

    def progress(self, life: Life) -> int:
        """Report progress, and return the task's revision."""
        return self._change(writes.progress(life.id, Progress(message=str(life.steps))), quick=True)

    def end(self, life: Life) -> int:
        """End the task successfully, and return its last revision."""
        return self._change(writes.succeed(life.id, life.lines))

    def _change(self, write: Write, *, quick: bool = False) -> int:
        record = self._store.change(write, quick=quick)
        assert record is not None
        return record.revision
