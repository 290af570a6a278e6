"""``gql-api dev``: MongoDB, Redis, a worker and the API as one command with one readable log."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

import click
from honcho.manager import SIGNALS, Manager
from honcho.printer import Message, Printer
from honcho.process import Popen, Process
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from gql_api.cli.embedded_servers import MongodbServer, ServerError, is_listening
from gql_api.cli.stack import Options, Stack
from gql_api.record.fields import DEFINITIONS
from gql_api.registry.workers import definitions_from, definitions_with_workers
from gql_api.settings import Settings

_READY_SECONDS = 120.0
_POLL_SECONDS = 0.2
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


def run(options: Options) -> int:
    """Run everything until Ctrl-C, SIGTERM or the end of any part; return the exit code.

    Raises:
        SettingsError: a variable has a value that cannot work.
        ServerError: a port or the folder is in use, or a database server is missing.
    """
    stack = Stack.of(options, Settings.load())
    with stack.exclusive_use():
        stack.check_ports()
        manager = _Manager()
        for name, command in stack.commands().items():
            manager.add_process(name, f"exec {shlex.join(command)}")
        click.echo(stack.describe_start())
        threading.Thread(target=_announce_ready, args=(stack, manager, manager.ending), daemon=True).start()
        manager.loop()
        manager.ending.set()
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
        self.ending = threading.Event()
        """Set from the first signal, or the end of the first part, on."""

    def print_line(self, line: str, colour: str) -> None:
        """Print a line as ``system``, from any thread."""
        self._system_print(click.style(line, fg=colour) if sys.stdout.isatty() else line)

    def terminate(self) -> None:
        """Stop the worker first, then the API, then the servers that both need."""
        if not self._terminating:
            self._terminating = True
            self.ending.set()
            threading.Thread(target=self._stop_in_order, daemon=True).start()

    def _stop_in_order(self) -> None:
        _wait_for(self._all_started)
        for names, signal_ in _STOPPING:
            parts = [self._processes[name] for name in names if name in self._processes]
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


def _announce_ready(stack: Stack, manager: _Manager, ended: threading.Event) -> None:
    """Make MongoDB a replica set, then print one line when createTask works."""
    try:
        if stack.mongodb is not None:
            _make_replica_set(stack.mongodb, ended)
        _wait_until(lambda: _can_create(stack), ended)
    except (ServerError, TimeoutError) as error:
        if not ended.is_set():
            manager.print_line(f"Not ready: {error}", "red")
            manager.returncode = 1
            manager.terminate()
        return
    if not ended.is_set():
        manager.print_line(stack.describe_ready(), "green")


def _make_replica_set(mongodb: MongodbServer, ended: threading.Event) -> None:
    _wait_until(lambda: is_listening(mongodb.port), ended)
    if not ended.is_set():
        mongodb.initiate()


def _wait_until(condition: Callable[[], bool], ended: threading.Event) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not ended.is_set() and not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"createTask did not work within {_READY_SECONDS:g} seconds")
        ended.wait(_POLL_SECONDS)


def _can_create(stack: Stack) -> bool:
    """Return whether createTask works: the API reaches both servers, and a live worker has announced its tasks."""
    connection = http.client.HTTPConnection(stack.api_host, stack.options.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        if "down" in connection.getresponse().read().decode():
            return False
        connection.request("POST", "/graphql", _DEFINITIONS, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status == http.HTTPStatus.UNAUTHORIZED:  # the API answers, to clients with a token
            return _has_worker(stack)
        answer = json.loads(response.read())
        return any(definition["workers"] for definition in answer["data"]["taskDefinitions"])
    except (OSError, http.client.HTTPException, PyMongoError, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def _has_worker(stack: Stack) -> bool:
    """Return whether a live worker has announced its tasks in MongoDB."""
    settings = Settings.load()
    url = settings.mongodb_url if stack.mongodb is None else stack.mongodb.url
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5000) as client:
        rows = client[settings.mongodb_database][DEFINITIONS].aggregate(definitions_with_workers())
        return any(definition.workers for definition in definitions_from(rows))
