"""What ``gql-api serve`` logs, and its options for a place behind a proxy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import plain_http
import pytest
from ports import free_port
from support import Api, process, wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

_COMMAND = [sys.executable, "-m", "gql_api", "serve"]
_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.+)$")
_REQUEST = re.compile(r"^(\S+) (\S+) (\S+) (\d+|-) \d+\.\d ms ?(.*)$")


@pytest.fixture
def served(api: Api, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Api]:
    """Yield an API run by `gql-api serve` with options of the test."""
    port = free_port()
    served = Api(f"http://127.0.0.1:{port}", tmp_path / "serve.log", api.worker_log)
    # A busy machine holds the event loop up, which would be a warning of its own.
    env = {**environment, "EVENT_LOOP_BLOCK_SECONDS": "60"}
    with process([*_COMMAND, f"--port={port}", *request.param], served.log, env):
        wait_until(served.is_ready)
        yield served


def _lines(api: Api) -> list[tuple[str, str, str]]:
    """Return the level, the logger and the text of each line, all of which have the time."""
    matches = [_LINE.match(line) for line in api.log.read_text().splitlines()]
    assert None not in matches, api.log.read_text()
    return [(match[1], match[2], match[3]) for match in matches if match is not None]


def _requests(api: Api) -> list[tuple[str, ...]]:
    """Return the client, the method, the path, the status and the operation of each request."""
    texts = [text for level, name, text in _lines(api) if name.endswith("request_log") and level == "INFO"]
    return [match.groups() for match in map(_REQUEST.match, texts) if match is not None]


@pytest.mark.parametrize("served", [["--forwarded-allow-ips=127.0.0.1"]], indirect=True, ids=["trusts the proxy"])
def test_each_request_has_a_line(served: Api) -> None:
    """The line has what an operator needs, and nothing by which a client could forge another line."""
    two = "query A { __typename } query B { __typename }"
    plain_http.post(served.graphql, json={"query": two, "operationName": "B"})
    plain_http.post(served.graphql, json={"query": two, "operationName": "C\n2026-01-01T00:00:00.000Z INFO x: forged"})
    plain_http.post(served.graphql, json={"query": "{ __typename }"}, headers={"X-Forwarded-For": "10.0.0.7"})
    plain_http.get(served.graphql, params={"query": "query Secret { __typename }"})
    plain_http.post(served.graphql, content="{")
    plain_http.get(f"{served.url}/x%0A2026-01-01T00:00:00.000Z%20INFO%20x:%20forged")
    plain_http.get(f"{served.url}/task/nope")
    stream = {"query": 'subscription Watch { taskUpdated(id: "nope") { id } }'}
    plain_http.post(served.graphql, json=stream, headers={"Accept": "text/event-stream"})
    with connect(served.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv())["type"] == "connection_ack"
    with pytest.raises(InvalidStatus):
        connect(f"{served.websocket}?token=secret", origin=Origin("https://foreign.example.com"))
    home = "127.0.0.1"
    expected = [
        (home, "POST", "/graphql", "200", "B"),
        (home, "POST", "/graphql", "400", ""),
        ("10.0.0.7", "POST", "/graphql", "200", ""),
        (home, "GET", "/graphql", "200", "Secret"),
        (home, "POST", "/graphql", "415", ""),
        (home, "GET", "/x%0A2026-01-01T00:00:00.000Z%20INFO%20x:%20forged", "404", ""),
        (home, "GET", "/task/nope", "404", ""),
        (home, "POST", "/graphql", "200", "Watch"),
        (home, "WEBSOCKET", "/graphql", "101", ""),
        (home, "WEBSOCKET", "/graphql", "403", ""),
    ]
    wait_until(lambda: len(_requests(served)) >= len(expected))
    assert _requests(served) == expected
    assert {"uvicorn.error"} <= {name for _, name, _ in _lines(served)}
    assert "secret" not in served.log.read_text()


@pytest.mark.parametrize("served", [["--log-level=warning"]], indirect=True, ids=["warnings only"])
def test_the_level_decides_what_is_logged(served: Api) -> None:
    """With warnings only, requests and starts leave no line."""
    plain_http.post(served.graphql, json={"query": "{ __typename }"})
    assert served.log.read_text() == ""


@pytest.mark.parametrize("served", [["--log-level=DEBUG"]], indirect=True, ids=["everything"])
def test_health_checks_are_logged_for_debugging(served: Api) -> None:
    """The lines of health checks have the level DEBUG."""
    wait_until(lambda: any(level == "DEBUG" and " /readyz 200 " in text for level, _, text in _lines(served)))


@pytest.mark.slow  # the test needs the built pages
@pytest.mark.parametrize("served", [["--root-path=/tasks-api/"]], indirect=True, ids=["below a path"])
def test_links_lead_below_the_root_path(served: Api) -> None:
    """The pages begin at the path that the proxy removes, links are relative, all else works as without it."""
    assert '<base href="/tasks-api/"' in plain_http.get(served.url).text
    served.create("task_modules.add", args=[1])
    served.create("task_modules.add", args=[1])
    assert plain_http.get(f"{served.url}/tasks?first=1").headers["link"].startswith("<?first=1&after=")
    with connect(served.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv())["type"] == "connection_ack"
    assert plain_http.get(f"{served.url}/metrics").status_code == 200
    assert plain_http.get(f"{served.url}/task/nope").status_code == 404


@pytest.mark.parametrize(
    ("option", "problem"),
    [("--log-level=loud", "'loud' is not one of"), ("--root-path=api", "must begin with a slash, got api")],
)
def test_a_bad_option_is_refused(option: str, problem: str) -> None:
    """The message names the option and what is wrong."""
    done = subprocess.run([*_COMMAND, option], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert option.partition("=")[0] in done.stderr
    assert problem in done.stderr
