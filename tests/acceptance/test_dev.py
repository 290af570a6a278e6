from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import plain_http
import psutil
import pytest
from ports import free_port
from support import Api, NotWithinTimeError, process, wait_until

pytestmark = pytest.mark.slow

_COMMAND = [sys.executable, "-m", "gql_api", "dev"]
# It kills no part that takes its time to stop: on a busy machine that may be longer than a user waits for.
_PATIENT = """
from gql_api.cli import dev, main
from honcho import manager

dev._STOP_SECONDS = manager.KILL_WAIT = 60
main.main()
"""
_PATIENT_COMMAND = [sys.executable, "-c", _PATIENT, "dev"]


def _start(folder: Path, port: int, command: list[str] = _COMMAND) -> list[str]:
    ports = [f"--port={port}", f"--mongodb-port={free_port()}", f"--redis-port={free_port()}"]
    return [*command, *ports, f"--data-dir={folder / 'data'}", "--concurrency=1"]


def _ready(log: Path, count: int = 1) -> str:
    lines = re.findall(r"^[0-9:]+ system +\| (Ready: .*)$", log.read_text(), re.MULTILINE)
    return str(lines[-1]) if len(lines) >= count else ""


def _until_ready(log: Path, count: int = 1) -> str:
    """Wait for the ready line of the ``count``-th start and return it; fail with the whole log."""
    try:
        return wait_until(lambda: _ready(log, count), 60)
    except NotWithinTimeError as error:
        error.add_note(log.read_text())
        raise


def _descendants(started: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(started.pid).children(recursive=True)


def _is_gone(process_: psutil.Process) -> bool:
    try:
        return not process_.is_running() or process_.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has gone between the two
        return True


def _all_gone(processes: list[psutil.Process]) -> bool:
    return all(map(_is_gone, processes))


def _end(started: subprocess.Popen[bytes], signal_: signal.Signals) -> None:
    """End it by one signal, with every process that it has started."""
    processes = _descendants(started)
    assert len(processes) >= 6
    started.send_signal(signal_)
    assert started.wait(timeout=60) == 0
    wait_until(lambda: _all_gone(processes))


def _assert_was_stopped_quietly(printed: str) -> None:
    stopped = re.findall(r"(\w+) stopped \(rc=(-?\d+)\)", printed)
    assert [name for name, _ in stopped[:2]] == ["worker", "api"]
    assert {code for _, code in stopped} == {"0"}
    assert not re.search(r"Traceback|ERROR|WARNING|does not answer", printed), printed


def test_dev_runs_everything_and_leaves_nothing(tmp_path: Path) -> None:
    """One command prints addresses, keeps its tasks over restarts, and ends every process on Ctrl-C or SIGTERM.

    With a task that runs, the parts stop one after the other without an error, and the next start runs it again.
    While it starts, no other one starts with its data folder. With authentication, it becomes ready without a token.
    """
    log, port = tmp_path / "dev.log", free_port()
    api = Api(f"http://127.0.0.1:{port}", log, log)
    # A worker that is slow to give its task back is not to warn of its lease, which it renews four times.
    command, lease = _start(tmp_path, port, _PATIENT_COMMAND), {"LEASE_SECONDS": "60"}
    with process(command, log, lease, tmp_path) as started:
        assert f"http://localhost:{port}/graphql" in _until_ready(log)
        done = api.create("long_running_task", kwargs={"task_input": "x", "seconds": 1}, metadata={"k": 1})
        finished = api.finished(done)
        assert (finished["result"], finished["metadata"]) == ("Worked 1 seconds on x", {"k": 1})
        running = api.create("long_running_task", kwargs={"task_input": "y", "seconds": 3})
        wait_until(lambda: api.task(running)["status"] == "STARTED")
        before = len(log.read_text())
        _end(started, signal.SIGINT)
    _assert_was_stopped_quietly(log.read_text()[before:])

    with process(_start(tmp_path, port), log, cwd=tmp_path) as started:
        assert f"http://localhost:{port}/graphql" in _until_ready(log, 2)
        assert api.task(done) == finished
        assert api.finished(running)["result"] == "Worked 3 seconds on y"
        _end(started, signal.SIGTERM)

    before = log.read_text().count(" started ")
    with process(_start(tmp_path, port), log, {"JWT_SECRET": "s" * 32}, tmp_path) as started:
        wait_until(lambda: log.read_text().count(" started ") > before, 30)
        refused = subprocess.run(_start(tmp_path, free_port()), capture_output=True, text=True, timeout=30, check=False)
        assert refused.returncode == 1
        assert "in use by another gql-api dev" in refused.stderr
        _until_ready(log, 3)
        assert plain_http.get(f"{api.url}/task/{done}").status_code == 401
        _end(started, signal.SIGINT)


@pytest.mark.parametrize(
    "name",
    ["worker", *(pytest.param(name, marks=pytest.mark.fault) for name in ("mongodb", "redis", "api"))],
)
def test_a_part_that_dies_ends_the_rest(tmp_path: Path, name: str) -> None:
    """When one process is killed the log names it, the others end, and the exit code is not 0."""
    log = tmp_path / "dev.log"
    with process(_start(tmp_path, free_port()), log, cwd=tmp_path) as started:
        _until_ready(log)
        processes = _descendants(started)
        (pid,) = re.findall(rf"{name} started \(pid=(\d+)\)", log.read_text())
        os.kill(int(pid), signal.SIGKILL)
        assert started.wait(timeout=30) != 0
        wait_until(lambda: _all_gone(processes))
    assert f"{name} stopped (rc=-9)" in log.read_text()


def test_a_signal_right_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C before everything has started ends the processes that have."""
    log = tmp_path / "dev.log"
    with process(_start(tmp_path, free_port()), log, cwd=tmp_path) as started:
        wait_until(lambda: " started " in log.read_text(), 30)
        processes = _descendants(started)
        started.send_signal(signal.SIGINT)
        started.wait(timeout=30)
        wait_until(lambda: _all_gone(processes))
    assert "Ready" not in log.read_text()


def test_a_taken_port_is_told_at_once(tmp_path: Path) -> None:
    """No server starts when the port of the API is taken, and the message names the port and the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(_start(tmp_path, port), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "--port" in done.stderr
