"""`gql-api serve --workers`: several processes serve one port as one server."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import plain_http
import psutil
import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from support import process, wait_until
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gql_api.cli.embedded_servers import is_listening

_COMMAND = [sys.executable, "-m", "gql_api", "serve"]
_WORKERS = 3
_POSTS: dict[str, Any] = {"method": "POST", "path": "/graphql", "status": "200"}
_BODY = b'{"query": "{ __typename }"}'
_HEAD = (
    b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(_BODY)
)
_DEATH = re.compile(r"Process (\d+) was killed by SIGKILL; another one starts in (\d+\.\d) s")
_REQUEST = re.compile(r"gql_api\.server\.request_log\[(\d+)\]: .* POST /graphql 200 ")


@dataclass(frozen=True)
class _Server:
    started: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path
    temporary: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """Return the processes that serve."""
        return psutil.Process(self.started.pid).children()

    def ask(self) -> None:
        """Send a query over a connection of its own."""
        answer = plain_http.post(f"{self.url}/graphql", content=_BODY, headers={"Content-Type": "application/json"})
        assert answer.json() == {"data": {"__typename": "Query"}}

    def answering(self) -> set[int]:
        """Return the ids of the processes that have answered requests, by the log."""
        return {int(found) for found in _REQUEST.findall(self.log.read_text())}

    def logged(self) -> int:
        """Return how many requests are in the log."""
        return len(_REQUEST.findall(self.log.read_text()))

    def ask_all(self) -> None:
        """Send queries until each living process has answered one."""

        def all_have_answered() -> bool:
            self.ask()
            return {each.pid for each in self.processes()} <= self.answering()

        wait_until(lambda: len(self.processes()) == _WORKERS)
        wait_until(all_have_answered, why="each process to answer")

    def figure(self, name: str, port: int = 0, **labels: Any) -> float:
        """Return the value of a metric."""
        text = plain_http.get(f"http://127.0.0.1:{port or self.metrics_port}/metrics").raise_for_status().text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


@contextlib.contextmanager
def _served(environment: dict[str, str], folder: Path) -> Iterator[_Server]:
    port, metrics_port = free_port(), free_port()
    temporary = folder / "tmp"
    temporary.mkdir()
    log = folder / "log"
    command = [*_COMMAND, f"--port={port}", f"--workers={_WORKERS}", "--log-level=debug"]
    with process(command, log, {**environment, "METRICS_PORT": str(metrics_port), "TMPDIR": str(temporary)}) as started:
        server = _Server(started, port, metrics_port, log, temporary)
        wait_until(lambda: is_listening(port) and is_listening(metrics_port), why="the port")
        yield server


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Server]:
    """Three processes that serve."""
    with _served(environment, tmp_path_factory.mktemp("workers")) as server:
        yield server


def test_all_processes_answer_and_are_counted_as_one(server: _Server) -> None:
    """Each process answers requests and logs its own, and both ports for metrics have the sums over all of them."""
    server.ask_all()
    # A request is counted when its answer begins, and logged after its end.
    wait_until(lambda: server.figure("gql_api_http_requests_total", **_POSTS) == server.logged())
    logged = server.logged()
    for port in (server.port, server.metrics_port):
        assert server.figure("gql_api_http_requests_total", port, **_POSTS) == logged
    protocol = [Subprotocol("graphql-transport-ws")]
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/graphql", subprotocols=protocol))
            client.send('{"type": "connection_init"}')
            assert json.loads(client.recv()) == {"type": "connection_ack"}
        wait_until(lambda: server.figure("gql_api_sockets") == 6)
    wait_until(lambda: server.figure("gql_api_sockets") == 0)
    assert server.figure("gql_api_tasks_unfinished", status="QUEUED") >= 0
    assert server.figure("gql_api_http_requests_total", **_POSTS) == logged


def test_a_dead_process_is_replaced_while_the_others_answer(server: _Server) -> None:
    """New connections are answered all the time, the death is logged, and what the dead one counted still counts."""
    server.ask_all()
    counted = server.figure("gql_api_http_requests_total", **_POSTS)
    (dead, *_others) = server.processes()
    stop, failures = threading.Event(), list[Exception]()

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                server.ask()
            except httpx.RemoteProtocolError:  # a request that the dead process had begun
                failures.append(httpx.RemoteProtocolError(""))
            except httpx.ReadError as error:
                failures.append(error)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        dead.kill()
        wait_until(lambda: dead.pid not in {each.pid for each in server.processes()} and len(server.processes()) == 3)
        server.ask_all()
    finally:
        stop.set()
        asking.join()
    assert len(failures) <= 1
    assert _DEATH.findall(server.log.read_text()) == [(str(dead.pid), "0.0")]
    assert server.figure("gql_api_http_requests_total", **_POSTS) > counted


def test_replacements_that_die_soon_come_after_growing_delays(server: _Server) -> None:
    """A process that cannot live is not started again and again without a pause, and the others answer meanwhile."""
    wait_until(lambda: len(server.processes()) == _WORKERS)
    (lasting, *_others) = living = server.processes()
    known, deaths = set(living), len(_DEATH.findall(server.log.read_text()))
    victim = living[-1]
    for _ in range(4):
        victim.kill()
        wait_until(lambda: set(server.processes()) - known, why="the replacement")
        (victim,) = set(server.processes()) - known
        known.add(victim)
    delays = [float(delay) for _pid, delay in _DEATH.findall(server.log.read_text())[deaths:]]
    assert delays[-1] > delays[0]
    assert delays[-1] >= 0.2  # three deaths before it: 0.4 s, of which up to half are taken off
    assert lasting.is_running()
    server.ask_all()


def test_sigterm_ends_all_processes_behind_their_open_requests(environment: dict[str, str], tmp_path: Path) -> None:
    """Requests in flight are answered by each process, and nothing is left: no process, no port, no temporary file."""
    with _served(environment, tmp_path) as server, contextlib.ExitStack() as stack:
        server.ask_all()
        processes = server.processes()
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(24)
        ]
        for client in opened:
            client.sendall(_HEAD)
        for client in opened:
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # the process waits for the body
        server.started.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_listening(server.port), why="the port to close")
        for client in opened:
            client.sendall(_BODY)
        for client in opened:
            answer = client.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'{"data":{"__typename":"Query"}}')
        assert server.started.wait(20) == -signal.SIGTERM
        assert not any(each.is_running() for each in processes)
        assert not is_listening(server.metrics_port)
        assert list(server.temporary.iterdir()) == []
        assert "Traceback" not in server.log.read_text()


def test_the_processes_end_without_their_supervisor(environment: dict[str, str], tmp_path: Path) -> None:
    """When nothing could stop them any more, they end in order, and the port is free."""
    with _served(environment, tmp_path) as server:
        server.ask_all()
        processes = server.processes()
        server.started.kill()
        server.started.wait()
        wait_until(lambda: not any(each.is_running() for each in processes))
        assert not is_listening(server.port)


def test_what_prevents_the_start_is_reported_once(environment: dict[str, str], tmp_path: Path) -> None:
    """A setting that cannot work, or a port that is taken, is one line, and the exit code is that of one process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = (str(free_port()), str(taken.getsockname()[1]))
        (wrong, wrong_log), (late, late_log) = (
            _end(port, tmp_path / port, {**environment, **extra})
            for port, extra in zip(ports, ({"TRUSTED_DOCUMENTS": "nowhere.json"}, {}), strict=True)
        )
    assert (wrong, late) == (1, 3)
    assert re.fullmatch(r"Error: TRUSTED_DOCUMENTS: .*\n", wrong_log)
    assert re.fullmatch(rf".* CRITICAL .*\[\d+\]: Cannot listen on 127.0.0.1, port {ports[1]}: .*\n", late_log)


def _end(port: str, log: Path, environment: dict[str, str]) -> tuple[int, str]:
    with process([*_COMMAND, f"--port={port}", f"--workers={_WORKERS}"], log, environment) as started:
        code = started.wait(timeout=30)
    return code, log.read_text()
