from __future__ import annotations

import json
import re
import subprocess
import sys

from support import ROOT, Api

README = (ROOT / "README.md").read_text()
CONTROL = (ROOT / "docs" / "control.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def _run(command: list[str], script: str, api: Api) -> str:
    """Run an example as printed, but for the address."""
    at = script.replace("localhost:8000", api.url.removeprefix("http://"))
    done = subprocess.run([*command, at], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_first_example_works_as_printed(api: Api) -> None:
    """The README's curl commands create a task and find it again."""
    create, find, filtered, *_ = _blocks("bash")
    (printed,) = _blocks("json")
    answer = json.loads(_run(["bash", "-c"], create, api))
    task_id = answer["data"]["createTask"]["task"]["id"]
    assert answer == json.loads(printed.replace("…", task_id))
    nodes = json.loads(_run(["bash", "-c"], find, api))["data"]["tasks"]["nodes"]
    assert task_id in [node["id"] for node in nodes]
    of_customer = json.loads(_run(["bash", "-c"], filtered, api))["data"]["tasks"]
    assert task_id in [node["id"] for node in of_customer["nodes"]]
    assert api.finished(task_id)["result"] == "Worked 5 seconds on a big file"


def test_the_first_watch_works_as_printed(api: Api) -> None:
    """The README's Python client sees the task to its end."""
    (client,) = [block for block in _blocks("python") if "asyncio.run" in block]
    lines = _run([sys.executable, "-c"], client, api).splitlines()
    assert "'status': 'SUCCESS'" in lines[-1]
    assert "'metadata': {'customer': 'c-42'}" in lines[-1]
    assert len(lines) > 3


def test_the_examples_of_control_work_as_printed(api: Api) -> None:
    """The README's other curl commands cancel a task, and make one for later that a second call finds again."""
    *_, cancel, later = _blocks("bash")
    task_id = api.create("long_running_task", kwargs={"task_input": "x", "seconds": 60})
    answer = json.loads(_run(["env", f"TASK_ID={task_id}", "bash", "-c"], cancel, api))
    assert answer["data"]["cancelTask"]["userErrors"] == []
    assert api.finished(task_id)["status"] == "REVOKED"
    first, second = (json.loads(_run(["bash", "-c"], later, api))["data"]["createTask"] for _ in range(2))
    assert (first["created"], second["created"]) == (True, False)
    assert first["task"] == second["task"]
    assert first["task"]["status"] == "SCHEDULED"


def test_the_operations_of_the_control_docs_work_as_printed(api: Api) -> None:
    """Each mutation of docs/control.md is answered without an error."""
    documents = re.findall(r"^```graphql\n(.*?)^```$", CONTROL, re.DOTALL | re.MULTILINE)
    task_id = api.create("long_running_task", kwargs={"task_input": "x", "seconds": 1}, metadata={"draft": 1})
    api.finished(task_id)
    waiting = api.create("long_running_task", kwargs={"task_input": "x"}, delaySeconds=3600)
    assert len(documents) == 5
    for document in documents:
        about = waiting if "cancelTask(" in document else task_id
        (payload,) = api.data(document.replace("…", about)).values()
        assert payload["userErrors"] == []
    assert api.task(task_id)["metadata"] == {"customer": {"tier": "gold"}, "visits": 1, "tags": ["vip"]}
