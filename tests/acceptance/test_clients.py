from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support import ROOT, Api

_CLIENTS = (ROOT / "docs" / "clients.md").read_text()


def _run(node: Path, script: str, *options: str) -> str:
    """Run a script where the packages can be found."""
    folder = node / ".examples"
    folder.mkdir(exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.mjs"
    path.write_text(script)
    try:
        done = subprocess.run(["node", *options, str(path)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S607
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
    api: Api, node: Path, heading: str, task_input: str
) -> None:
    """Each JavaScript example creates a task and sees it through to its result."""
    found = re.search(rf"^## JavaScript: {heading}\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    output = _run(node, found[1].replace("localhost:8000", api.url.removeprefix("http://")))
    assert f"Worked 1 seconds on {task_input}" in output
    assert "status: 'SUCCESS'" in output


def test_the_event_source_of_the_docs_works_as_printed(api: Api, node: Path) -> None:
    """What a browser has built in sees a task to its end; Node.js has the same behind an option."""
    found = re.search(r"^## A browser's EventSource\n.*?^```javascript\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    task_id = api.create("task_modules.add", args=[1])
    script = f"const taskId = '{task_id}';\n{found[1]}".replace("localhost:8000", api.url.removeprefix("http://"))
    assert "status: 'SUCCESS'" in _run(node, script, "--experimental-eventsource")


def test_the_curl_commands_of_the_docs_work_as_printed(api: Api) -> None:
    """The examples for curl create a task and watch one to its end."""
    create, watch = (
        command.replace("localhost:8000", api.url.removeprefix("http://"))
        for command in re.findall(r"^```bash\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    )
    task_id = json.loads(_shell(create))["data"]["createTask"]["task"]["id"]
    told = _shell(watch, TASK_ID=task_id)
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


def test_the_python_client_of_the_docs_works_as_printed(api: Api, tmp_path: Path) -> None:
    """The example for gql watches a task to its end; test_reconnecting.py has the losses."""
    found = re.search(r"^## Python: gql\n.*?^```python\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    assert found is not None
    program = tmp_path / "watch.py"
    program.write_text(found[1].replace("localhost:8000", api.url.removeprefix("http://")))
    task_id = api.create("task_modules.add", args=[1])
    command = [sys.executable, str(program), task_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "'status': 'SUCCESS'" in done.stdout.splitlines()[-1]
