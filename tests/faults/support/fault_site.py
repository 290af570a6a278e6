"""A site that a test may break: its own MongoDB, its own Redis, workers, and a list of the runs that happened."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from fault_servers import ReplicaSet, Server
from ports import free_port
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError
from support import ROOT, Api, process, wait_until

from gql_api.cli.embedded_servers import RedisServer, is_listening
from gql_api.dispatch import Dispatcher, OperationalError
from gql_api.record import fields, writes
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

LEASE_SECONDS = 2.0
_QUEUE = "celery"


@dataclass
class Worker:
    """A running `celery worker`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its main process, as an operator does."""
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, main process first."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End all of its processes at once."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until it has stopped."""
        return self.process.wait(timeout)

    @property
    def children(self) -> list[int]:
        """The processes of its pool."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]


@dataclass
class Site:
    """The databases, the workers and the API of one test, on 127.0.0.1."""

    folder: Path
    mongodb: ReplicaSet
    redis: Server
    redis_url: str
    settings: Settings
    store: Store
    dispatcher: Dispatcher
    workers: ExitStack
    environment: dict[str, str] = field(default_factory=dict)

    def worker(
        self, name: str, *options: str, under: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker and wait until it takes tasks."""
        log = self.folder / f"{name}.log"
        celery = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-n", f"{name}@%h", "-l", "INFO"]
        started = self.workers.enter_context(
            process(
                [*under, *celery, "-c", "2", "--without-mingle", *options],
                log,
                {**self.environment, **(environment or {})},
            )
        )
        wait_until(lambda: b" ready." in log.read_bytes(), 60, f"worker {name}")
        return Worker(name, started, log)

    def api(self) -> Api:
        """Start an API and wait until it takes requests."""
        port, log = free_port(), self.folder / "api.log"
        api = Api(f"http://127.0.0.1:{port}", log, log)
        command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}", "--no-access-log"]
        self.workers.enter_context(process(command, log, self.environment))
        wait_until(lambda: is_listening(port), 60, "the API")
        return api

    def celery(self, *arguments: str) -> str:
        """Run a `celery` command, as an operator does, and return its output."""
        return self._output("-m", "celery", "-A", "jobs", *arguments)

    def ask(self, kind: str, worker: str, *command: str) -> str:
        """Run `celery control` or `celery inspect` for one worker, and return what it replies."""
        with self.broker() as redis:
            # Redis keeps no command for a worker that is ready, and listens a moment later.
            wait_until(redis.pubsub_numpat, why="a worker that listens")
        # By default Celery waits for one second. With a destination it does not wait on after the reply.
        output = self.celery(kind, "-t", "30", "-d", f"{worker}@{self.host}", *command)
        assert "No nodes replied" not in output, output
        return output

    def python(self, code: str) -> str:
        """Run code in a program that has the application as `app`, and return its output."""
        return self._output("-c", f"from jobs.celery import app\n{code}")

    def _output(self, *arguments: str) -> str:
        environment = {**os.environ, **self.environment}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    @property
    def host(self) -> str:
        """The name of this machine in the names of its workers."""
        return socket.gethostname()

    def record(self, name: str, *args: Any, **rest: Any) -> str:
        """Make the record of a task, as the API does first."""
        task = NewTask(id=str(uuid.uuid4()), name=f"fault_tasks.{name}", args=list(args), **{"queue": _QUEUE, **rest})
        assert self.store.change(writes.create(task), upsert=True)
        return task.id

    def send(self, name: str, *args: Any, **rest: Any) -> str:
        """Create a task: make its record, then try to publish its message."""
        task_id = self.record(name, *args, **rest)
        self.publish(task_id)
        return task_id

    def publish(self, task_id: str) -> None:
        """Publish the message of a task, once more perhaps; a broker that is away is no error."""
        self.publish_message(self.task(task_id))

    def publish_message(self, task: TaskRecord) -> None:
        """Publish the message of a task that was read before."""
        with contextlib.suppress(OperationalError):
            self.dispatcher.publish([task.as_sent()])

    def task(self, task_id: str) -> TaskRecord:
        """Read a task."""
        record = self.store.find(task_id)
        assert record is not None, f"{task_id} has no record"
        return record

    def finished(self, task_id: str, timeout: float = 30.0) -> TaskRecord:
        """Wait until a task is final, through outages."""

        def final() -> TaskRecord | None:
            try:
                record = self.store.find(task_id)
            except PyMongoError:
                return None
            return record if record is not None and record.is_final else None

        found = wait_until(final, timeout, f"the end of {task_id}")
        assert found is not None
        return found

    def began(self, task_id: str, times: int = 1, timeout: float = 20.0) -> None:
        """Wait until a task's function has begun as many times."""
        wait_until(lambda: self.runs("begin")[task_id] >= times, timeout, f"run {times} of {task_id}")

    def runs(self, event: str) -> Counter[str]:
        """Count how often each task's function really began or returned."""
        file = self.folder / "executions"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(f"{event} "))

    def runs_of(self, name: str) -> int:
        """Count how often a task function really began, for any task."""
        file = self.folder / "executions"
        return sum(line.split()[0::2][:2] == ["begin", name] for line in file.read_text().splitlines())

    def wait_for_recovery(self, rounds: int) -> None:
        """Wait until recovery has scanned all waiting tasks as many times."""
        locks = self.store._connections.database()[fields.LEADER_LOCKS]  # noqa: SLF001 - the only trace of a scan
        for _ in range(rounds):
            before = locks.find_one({"_id": "messages"})
            wait_until(lambda before=before: locks.find_one({"_id": "messages"}) != before, 30, "recovery to scan")  # type: ignore[misc] # a loop variable

    def broker(self) -> Redis:
        """A client of Redis."""
        return Redis.from_url(self.redis_url, decode_responses=True)

    def takers(self) -> int:
        """Count the connections that wait for a message: one is left for a moment when a worker is killed."""
        with self.broker() as redis:
            return int(redis.info("clients")["blocked_clients"])

    def restart_redis(self, *, empty: bool = False) -> None:
        """Kill Redis and start it again, perhaps without its data."""
        self.redis.kill()
        if empty:
            for file in sorted((self.folder / "redis").rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
        self.redis.start()
        wait_until(self._redis_answers)

    def _redis_answers(self) -> bool:
        with self.broker() as redis:
            try:
                return bool(redis.ping())
            except RedisError:
                return False


@contextlib.contextmanager
def open_site(folder: Path, members: int) -> Iterator[Site]:
    """Start the databases, MongoDB with as many members; workers are the test's own."""
    mongodb = ReplicaSet(folder, members)
    redis_server = RedisServer(folder / "redis", free_port())
    redis = Server(redis_server.command(), folder / "redis.log", redis_server.port)
    try:
        mongodb.start()
        redis.start()
        mongodb.initiate()
        settings = Settings(mongodb_url=mongodb.url, mongodb_database="faults", celery_broker_url=redis_server.url)
        connections = Connections(settings)
        environment = {
            "MONGODB_URL": mongodb.url,
            "MONGODB_DATABASE": "faults",
            "CELERY_BROKER_URL": redis_server.url,
            "TASK_MODULES": "fault_tasks",
            "PYTHONPATH": str(Path(__file__).parent),
            "EXECUTIONS": str(folder / "executions"),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "RECOVERY_INTERVAL_SECONDS": "0.3",
        }
        with ExitStack() as workers:
            dispatcher = Dispatcher(settings)
            workers.callback(dispatcher.close)
            workers.callback(connections.close)
            store = Store(connections)
            yield Site(folder, mongodb, redis, redis_server.url, settings, store, dispatcher, workers, environment)
    finally:
        mongodb.kill()
        redis.kill()
