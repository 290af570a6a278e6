from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import plain_http
import pytest
from ports import free_port
from redis import Redis
from support import HELPERS, ROOT, Api, process, wait_until

_WATCHERS = [
    "graphql-ws",
    "graphql-sse",
    "eventsource",
    "apollo-ws",
    "apollo-multipart",
    "urql-ws",
    "urql-sse",
    "urql-fetch",
]
_CLIENTS = (ROOT / "docs" / "clients.md").read_text()


@dataclass(frozen=True)
class TokenApi(Api):
    """An API that needs a token, and a token for it."""

    token: str = ""


@pytest.fixture(scope="module")
def token_api(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenApi]:
    """Serve the same tasks to clients with a token only."""
    port = free_port()
    log = tmp_path_factory.mktemp("tokens") / "api.log"
    url = f"http://127.0.0.1:{port}"
    with process([sys.executable, "-m", "token_app", str(port)], log, environment):
        served = Api(url, log, api.worker_log)
        wait_until(served.is_ready, 60)
        yield TokenApi(url, log, api.worker_log, plain_http.get(f"{url}/token?seconds=3600").text)


def _run(node: Path, script: str, *options: str, token: str = "") -> str:
    """Run a script where the packages can be found."""
    folder = node / ".examples"
    folder.mkdir(exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.mjs"
    path.write_text(script)
    try:
        done = subprocess.run(
            ["node", *options, str(path)],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "TOKEN": token},
        )
    finally:
        path.unlink()
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_http_audit_passes_whole(api: Api, node: Path) -> None:
    """graphql-http's server audit: all 61 checks of the GraphQL over HTTP specification are ok."""
    command = ["node", str(node / "audit.mjs"), api.graphql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    results = json.loads(done.stdout)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) >= 61


def test_a_javascript_client_reads_large_integers_as_text(api: Api, node: Path) -> None:
    """The example of the docs prints the integer that JSON.parse rounds, and the exact one."""
    task_id = api.create("value_tasks.same", args=[2**53 + 1])
    api.finished(task_id)
    found = re.search(
        r"^## JavaScript: large integers\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    script = found[1].replace("localhost:8000", api.url.removeprefix("http://"))
    assert _run(node, f"const taskId = '{task_id}';\n{script}") == "9007199254740992 9007199254740993n\n"


@pytest.mark.parametrize(
    ("heading", "task_input"),
    [
        ("graphql-ws", "graphql-ws"),
        ("graphql-sse", "graphql-sse"),
        ("Apollo Client", "Apollo"),
        ("Apollo Client over HTTP", "Apollo over HTTP"),
        ("urql", "urql"),
        ("urql over HTTP", "urql over HTTP"),
    ],
)
def test_the_javascript_clients_of_the_docs_work_as_printed(
    token_api: TokenApi, node: Path, heading: str, task_input: str
) -> None:
    """Each JavaScript example authenticates, creates a task and sees it through to its result."""
    found = re.search(rf"^## JavaScript: {heading}\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    script = found[1].replace("localhost:8000", token_api.url.removeprefix("http://"))
    output = _run(node, script, token=token_api.token)
    assert f"Worked 1 seconds on {task_input}" in output
    assert "status: 'SUCCESS'" in output


def test_the_event_source_of_the_docs_works_as_printed(api: Api, node: Path) -> None:
    """What a browser has built in sees a task to its end; Node.js has the same behind an option."""
    found = re.search(r"^## A browser's EventSource\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    task_id = api.create("task_modules.add", args=[1])
    script = f"const taskId = '{task_id}';\n{found[1]}".replace("localhost:8000", api.url.removeprefix("http://"))
    assert "status: 'SUCCESS'" in _run(node, script, "--experimental-eventsource")


def test_the_event_source_with_a_token_of_the_docs_works_as_printed(api: Api, token_api: TokenApi, node: Path) -> None:
    """The package sends the token, and sees a task to its end."""
    found = re.search(r"^## JavaScript: EventSource\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    task_id = api.create("task_modules.add", args=[1])
    script = found[1].replace("localhost:8000", token_api.url.removeprefix("http://"))
    assert "status: 'SUCCESS'" in _run(node, f"const taskId = '{task_id}';\n{script}", token=token_api.token)


def test_the_curl_commands_of_the_docs_work_as_printed(token_api: TokenApi) -> None:
    """The examples for curl create a task and watch one to its end."""
    create, watch = (
        command.replace("localhost:8000", token_api.url.removeprefix("http://"))
        for command in re.findall(r"^```bash\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    )
    task_id = json.loads(_shell(create, TOKEN=token_api.token))["data"]["createTask"]["task"]["id"]
    told = _shell(watch, TASK_ID=task_id, TOKEN=token_api.token)
    assert '"status":"SUCCESS","result":"Worked 1 seconds on curl"' in told
    assert told.endswith("event: complete\ndata:\n\n")


def _shell(command: str, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **variables},
    )
    return done.stdout


def test_the_python_client_of_the_docs_works_as_printed(api: Api, token_api: TokenApi, tmp_path: Path) -> None:
    """The example for gql watches a task to its end; test_reconnecting.py has the losses."""
    found = re.search(r"^## Python: gql\n.*?^```python\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    program = tmp_path / "watch.py"
    program.write_text(found[1].replace("localhost:8000", token_api.url.removeprefix("http://")))
    task_id = api.create("task_modules.add", args=[1])
    command = [sys.executable, str(program), task_id]
    environment = {**os.environ, "TOKEN": token_api.token}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert "'status': 'SUCCESS'" in done.stdout.splitlines()[-1]


def test_every_example_needs_its_token(token_api: TokenApi, node: Path) -> None:
    """The API of these tests lets no client in that has another token."""
    assert plain_http.post(token_api.graphql, json={"query": "{ __typename }"}).status_code == 401
    found = re.search(r"^## JavaScript: graphql-ws\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    script = found[1].replace("localhost:8000", token_api.url.removeprefix("http://"))
    with pytest.raises(AssertionError, match="Forbidden"):
        _run(node, script.replace("connectionParams", "retryAttempts: 0, connectionParams"), token="bad")  # noqa: S106 - it is none


@pytest.mark.usefixtures("node")
def test_every_client_renews_its_token(api: Api, token_api: TokenApi, redis: Redis, tmp_path: Path) -> None:
    """Each connects again with a new token when the last one expires, and sees the task to its end."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])
    arguments = [token_api.graphql, task_id, f"{token_api.url}/token?seconds=3"]
    watch = ["node", str(ROOT / "tests" / "js" / "watch.mjs")]
    commands = {name: [*watch, name] for name in _WATCHERS}
    commands["gql"] = [sys.executable, str(HELPERS / "watch_with_gql.py")]

    def states(client: str) -> list[dict[str, Any]]:
        lines = (tmp_path / client).read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    with contextlib.ExitStack() as stack:
        watching = {
            client: stack.enter_context(process([*command, *arguments], tmp_path / client))
            for client, command in commands.items()
        }
        for client in commands:
            # Each connection begins with the current state, and the task does not change meanwhile.
            wait_until(partial(_is_repeated, states, client), 40, f"{client} to connect with a second token")
        redis.lpush(key, 1, 0)
        for client, process_ in watching.items():
            assert process_.wait(40) == 0, (client, (tmp_path / client).read_text())
            assert (states(client)[-1]["status"], states(client)[-1]["result"]) == ("SUCCESS", "done"), client
    assert "Traceback" not in token_api.log.read_text()


def _is_repeated(states: Callable[[str], list[dict[str, Any]]], client: str) -> bool:
    started = [state["revision"] for state in states(client) if state["status"] == "STARTED"]
    return len(started) > len(set(started))
