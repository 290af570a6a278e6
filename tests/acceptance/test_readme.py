from __future__ import annotations

import json
import re
import subprocess
import sys

from support import ROOT, Api

README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def _run(command: list[str], script: str, api: Api) -> str:
    """Run an example as printed, but for the address."""
    at = script.replace("localhost:8000", api.url.removeprefix("http://"))
    done = subprocess.run([*command, at], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_first_example_works_as_printed(api: Api) -> None:
    """The README's curl commands create a task and find it again."""
    create, find = _blocks("bash")
    (printed,) = _blocks("json")
    answer = json.loads(_run(["bash", "-c"], create, api))
    task_id = answer["data"]["createTask"]["task"]["id"]
    assert answer == json.loads(printed.replace("…", task_id))
    nodes = json.loads(_run(["bash", "-c"], find, api))["data"]["tasks"]["nodes"]
    assert task_id in [node["id"] for node in nodes]
    assert api.finished(task_id)["result"] == "Worked 5 seconds on a big file"


def test_the_first_watch_works_as_printed(api: Api) -> None:
    """The README's Python client sees the task to its end."""
    (client,) = [block for block in _blocks("python") if "asyncio.run" in block]
    lines = _run([sys.executable, "-c"], client, api).splitlines()
    assert "'status': 'SUCCESS'" in lines[-1]
    assert "'metadata': {'customer': 'c-42'}" in lines[-1]
    assert len(lines) > 3
