from __future__ import annotations

import json
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from support import ROOT, Api

_CLIENTS = (ROOT / "docs" / "clients.md").read_text()


def _run(node: Path, script: str) -> str:
    """Run a script where the packages can be found."""
    folder = node / ".examples"
    folder.mkdir(exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.mjs"
    path.write_text(script)
    try:
        done = subprocess.run(["node", str(path)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S607
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


@pytest.mark.parametrize(
    ("heading", "task_input"), [("graphql-ws", "graphql-ws"), ("Apollo Client", "Apollo"), ("urql", "urql")]
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


def test_the_curl_command_of_the_docs_works_as_printed(api: Api) -> None:
    """The example for curl creates a task."""
    (command,) = re.findall(r"^```bash\n(.*?)^```$", _CLIENTS, re.DOTALL | re.MULTILINE)
    at = command.replace("localhost:8000", api.url.removeprefix("http://"))
    done = subprocess.run(["bash", "-c", at], capture_output=True, text=True, timeout=60, check=True)  # noqa: S607
    task_id = json.loads(done.stdout)["data"]["createTask"]["task"]["id"]
    assert api.finished(task_id)["result"] == "Worked 1 seconds on curl"
