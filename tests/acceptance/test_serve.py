from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import plain_http
import pytest
from ports import free_port
from sockets import HANDSHAKE
from support import Api, process, wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

_COMMAND = [sys.executable, "-m", "gql_api", "serve"]
_PROTOCOL = Subprotocol("graphql-transport-ws")


@pytest.fixture
def served(api: Api, environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """Yield an API run by `gql-api serve`, with the worker of the other tests."""
    port = free_port()
    served = Api(f"http://127.0.0.1:{port}", tmp_path / "serve.log", api.worker_log)
    with process([*_COMMAND, f"--port={port}", "--drain-seconds=2"], served.log, environment) as started:
        wait_until(served.is_ready)
        yield served, started


def test_a_task_runs(served: tuple[Api, subprocess.Popen[bytes]]) -> None:
    """A task that is created through the production server runs to its end."""
    api, _ = served
    assert api.finished(api.create("task_modules.add", args=[1]))["result"] == 2
    assert "server" not in plain_http.get(f"{api.url}/healthz").headers


async def test_frames_are_limited_and_not_compressed(served: tuple[Api, subprocess.Popen[bytes]]) -> None:
    """A frame larger than any operation closes its socket with 1009, and compression is not offered."""
    api, _ = served
    async with connect(api.websocket, subprotocols=[_PROTOCOL]) as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        await socket.send(" " * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_sigterm_closes_sockets_and_ends_in_time(served: tuple[Api, subprocess.Popen[bytes]]) -> None:
    """On SIGTERM the server closes its sockets with a code to reconnect, and ends within the grace period."""
    api, started = served
    async with connect(api.websocket, subprotocols=[_PROTOCOL]) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        started.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in {1001, 1012}
    wait_until(lambda: started.poll() is not None, 10)


def test_sockets_that_come_as_the_server_stops_do_not_keep_it(
    served: tuple[Api, subprocess.Popen[bytes]],
) -> None:
    """Sockets that the server accepts while it begins to stop end with it, not after the grace period."""
    api, started = served
    handshake = HANDSHAKE.replace(b"GET /", b"GET /graphql")
    with contextlib.ExitStack() as stack:
        started.send_signal(signal.SIGSTOP)
        # Longer than the tenth of a second after which uvicorn checks for signals. When the process continues, the
        # server mostly begins to stop before it accepts the sockets; the other order has to end as well.
        time.sleep(0.3)
        for _ in range(50):
            late = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(api.url).port or 0)))
            late.sendall(handshake)
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGCONT)
        started.wait(20)
    assert "ERROR" not in api.log.read_text()


def test_a_bad_setting_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    """The log names the variable, without a traceback."""
    log = tmp_path / "log"
    with process(_COMMAND, log, {**environment, "REDIS_URL": "nonsense"}) as started:
        assert started.wait(timeout=30) == 1
    assert log.read_text().startswith("Error: REDIS_URL: ")
