"""``gql-api dev``: MongoDB, Redis, a worker and the API as one command with one readable log."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.client
import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
from honcho.manager import SIGNALS, Manager
from honcho.printer import Message, Printer
from honcho.process import Popen, Process

import gql_api
from gql_api.cli.embedded_servers import HOST, MongodbServer, RedisServer, ServerError, free_port, is_listening
from gql_api.settings import Settings

_READY_SECONDS = 120.0
_POLL_SECONDS = 0.2
_DRAIN_SECONDS = 3
# After this time a part does not hold up the others any more.
_STOP_SECONDS = 5.0
_STOP_POLL_SECONDS = 0.05
# The worker gives its running tasks back, which run again at the next start: SIGTERM would wait for them.
_STOPPING = (
    (("worker",), signal.SIGQUIT),
    (("api",), signal.SIGTERM),
    (("mongodb", "redis"), signal.SIGTERM),
)
_DEFINITIONS = json.dumps({"query": "{ taskDefinitions { workers } }"})
_STOPPED_BY_USER = {signal_["rc"] for signal_ in SIGNALS.values()}


@dataclass(frozen=True)
class Stack:
    """The servers of one ``gql-api dev``, and the commands that start them."""

    host: str
    port: int
    concurrency: int
    data: Path
    mongodb: MongodbServer
    redis: RedisServer

    @property
    def mongodb_log(self) -> Path:
        """The file of MongoDB's log, which is JSON and would make the common log hard to read."""
        return self.data / "mongodb.log"

    def commands(self) -> dict[str, list[str]]:
        """Return the command of each part, by name."""
        addresses = [
            f"MONGODB_URL={self.mongodb.url}",
            f"CELERY_BROKER_URL={self.redis.url}",
            f"REDIS_URL={self.redis.url}",
        ]
        python = ["env", "PYTHONUNBUFFERED=1", *addresses, sys.executable, "-m"]
        worker = ["celery", "-A", "gql_api", "worker", f"--concurrency={self.concurrency}", "--loglevel=INFO"]
        api = ["uvicorn", "gql_api.app:app", f"--host={self.host}", f"--port={self.port}", "--reload"]
        return {
            "mongodb": self.mongodb.command(self.mongodb_log),
            "redis": self.redis.command(),
            "worker": [*python, *worker, "--without-mingle", "--without-gossip"],
            "api": [
                *python,
                *api,
                f"--reload-dir={Path(str(gql_api.__file__)).parent}",
                f"--timeout-graceful-shutdown={_DRAIN_SECONDS}",
            ],
        }


def run(host: str, port: int, concurrency: int, data: Path) -> int:
    """Run everything until Ctrl-C, SIGTERM or the end of any part; return the exit code.

    Raises:
        SettingsError: a variable has a value that cannot work.
        ServerError: the port or the folder is in use, or a database server is missing.
    """
    Settings.load()
    _check_port(host, port)
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    with _exclusive_use(data):
        mongodb, redis = MongodbServer(data / "mongodb", free_port()), RedisServer(data / "redis", free_port())
        stack = Stack(host, port, concurrency, data, mongodb, redis)
        manager = _Manager()
        for name, command in stack.commands().items():
            manager.add_process(name, f"exec {shlex.join(command)}")
        click.echo(f"Starting; the data is in {data}, the log of MongoDB in {stack.mongodb_log}")
        ended = threading.Event()
        threading.Thread(target=_announce_ready, args=(stack, manager, ended), daemon=True).start()
        manager.loop()
        ended.set()
    return 0 if manager.returncode in _STOPPED_BY_USER else manager.returncode or 1


class _Popen(Popen):  # type: ignore[misc] # honcho has no types
    """A process that ends its group with it: honcho waits for output that remaining children would keep open."""

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, **options)
        threading.Thread(target=self._end_group, daemon=True).start()

    def _end_group(self) -> None:
        self.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)


class _Process(Process):  # type: ignore[misc] # honcho has no types
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._child_ctor = _Popen


class _Printer(Printer):  # type: ignore[misc] # honcho has no types
    """A printer of whole lines: ``print`` writes a line and its end separately, and threads write in between."""

    def __init__(self, output: TextIO) -> None:
        super().__init__(output)
        # Re-entrant because honcho's signal handlers print while the main thread prints.
        self._lock = threading.RLock()

    def write(self, message: Message) -> None:
        with self._lock:
            super().write(message)


class _Manager(Manager):  # type: ignore[misc] # honcho has no types
    _processes: dict[str, dict[str, Any]]
    _terminating: bool

    def __init__(self) -> None:
        super().__init__(_Printer(sys.stdout))
        self._process_ctor = _Process

    def print_line(self, line: str, colour: str) -> None:
        """Print a line as ``system``, from any thread."""
        self._system_print(click.style(line, fg=colour) if sys.stdout.isatty() else line)

    def terminate(self) -> None:
        """Stop the worker first, then the API, then the servers that both need."""
        if not self._terminating:
            self._terminating = True
            threading.Thread(target=self._stop_in_order, daemon=True).start()

    def _stop_in_order(self) -> None:
        _wait_for(self._all_started)
        for names, signal_ in _STOPPING:
            parts = [self._processes[name] for name in names]
            for part in filter(_is_running, parts):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(part["pid"], signal_)  # not its group: a process that runs a task must not be ended
            _wait_for(functools.partial(_have_stopped, parts))
            for part in filter(_is_running, parts):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(part["pid"], signal.SIGKILL)

    def _killall(self, force: bool = False) -> None:
        """Skip processes that have not started when a signal comes early: honcho kills them later by force."""
        everything = self._processes
        self._processes = {name: process for name, process in everything.items() if "pid" in process}
        try:
            super()._killall(force)
        finally:
            self._processes = everything


def _is_running(part: dict[str, Any]) -> bool:
    return "pid" in part and "returncode" not in part


def _have_stopped(parts: list[dict[str, Any]]) -> bool:
    return not any(map(_is_running, parts))


def _wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a limited time."""
    deadline = time.monotonic() + _STOP_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(_STOP_POLL_SECONDS)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"Port {port} on {host} cannot be used ({error.strerror}); choose another with --port"
            ) from None


@contextlib.contextmanager
def _exclusive_use(data: Path) -> Iterator[None]:
    # Two Redis servers would write to the same file and corrupt it.
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError(f"{data} is in use by another gql-api dev; choose another with --data-dir") from None
        yield


def _announce_ready(stack: Stack, manager: _Manager, ended: threading.Event) -> None:
    """Make MongoDB a replica set, then print one line when createTask works."""
    try:
        _wait_until(lambda: is_listening(stack.mongodb.port), ended)
        if not ended.is_set():
            stack.mongodb.initiate()
        _wait_until(lambda: _can_create(stack), ended)
    except (ServerError, TimeoutError) as error:
        if not ended.is_set():
            manager.print_line(f"Not ready: {error}", "red")
            manager.returncode = 1
            manager.terminate()
        return
    if not ended.is_set():
        public_host = "localhost" if stack.host in {HOST, "0.0.0.0", "::1", "::"} else stack.host  # noqa: S104 - compared only
        addresses = f"http://{public_host}:{stack.port}/graphql · MongoDB {stack.mongodb.url} · Redis {stack.redis.url}"
        manager.print_line(f"Ready: GraphiQL and API on {addresses} · Ctrl-C stops everything", "green")


def _wait_until(condition: Callable[[], bool], ended: threading.Event) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not ended.is_set() and not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"createTask did not work within {_READY_SECONDS:g} seconds")
        ended.wait(_POLL_SECONDS)


def _can_create(stack: Stack) -> bool:
    """Return whether createTask works: the API reaches both servers, and a live worker has announced its tasks."""
    host = HOST if stack.host in {"0.0.0.0", "::"} else stack.host  # noqa: S104 - compared only
    connection = http.client.HTTPConnection(host, stack.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        if "down" in connection.getresponse().read().decode():
            return False
        connection.request("POST", "/graphql", _DEFINITIONS, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        return any(definition["workers"] for definition in answer["data"]["taskDefinitions"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()
