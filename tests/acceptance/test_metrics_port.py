"""The port that `gql-api serve` opens for scrapers."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import plain_http
from ports import free_port
from support import process, wait_until

from gql_api.cli.embedded_servers import is_listening

_COMMAND = [sys.executable, "-m", "gql_api", "serve"]


def test_the_port_serves_metrics_and_nothing_else(environment: dict[str, str], tmp_path: Path) -> None:
    """A scraper gets the figures of the process, no other path exists, and the process still ends in order."""
    port, metrics_port = free_port(), free_port()
    log = tmp_path / "log"
    with process([*_COMMAND, f"--port={port}"], log, {**environment, "METRICS_PORT": str(metrics_port)}) as started:
        wait_until(lambda: is_listening(port) and is_listening(metrics_port))
        with plain_http.Client(base_url=f"http://127.0.0.1:{metrics_port}") as client:
            answer = client.get("/metrics")
            assert answer.status_code == 200
            assert "gql_api_sockets 0.0" in answer.text
            assert "server" not in answer.headers
            for path in ("/graphql", "/tasks", "/healthz", "/"):
                assert client.get(path).status_code == 404
            assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 400
            started.send_signal(signal.SIGTERM)
            wait_until(lambda: started.poll() is not None, 10)
    assert not is_listening(metrics_port)
    assert "Traceback" not in log.read_text()


def test_a_port_that_is_taken_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    """The process does not start without the port that its operator wants."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*_COMMAND, f"--port={free_port()}"]
        with process(command, log, {**environment, "METRICS_PORT": str(port)}) as started:
            assert started.wait(timeout=30) == 1
    assert log.read_text().startswith(f"Error: METRICS_PORT: cannot listen on 127.0.0.1, port {port}: ")
