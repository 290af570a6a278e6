"""An application whose tasks have classes of its own, run by a worker with threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Api, process, wait_until

_LOG = "query ($id: ID!) { task(id: $id) { logs { nodes { message } } } }"


@pytest.fixture(scope="module")
def classes(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker of the application; its log."""
    log = tmp_path_factory.mktemp("classes") / "worker.log"
    worker = [sys.executable, "-m", "celery", "-A", "class_tasks", "worker", "-P", "threads", "-c", "4"]
    with process([*worker, "-n", "classes@%h", "--without-mingle"], log, environment):
        wait_until(lambda: "class_tasks.in_context" in str(api.data("{ taskDefinitions { name } }")), 60)
        yield log


def _log_of(api: Api, task_id: str) -> list[str]:
    return [line["message"] for line in api.data(_LOG, id=task_id)["task"]["logs"]["nodes"]]


@pytest.mark.usefixtures("classes")
def test_a_task_runs_in_the_class_of_its_application(api: Api) -> None:
    """The class enters its context, the function has progress, log and metadata, and the task is claimed."""
    task_id = api.create("class_tasks.in_context")
    task = api.finished(task_id)
    assert (task["result"], task["attempts"]) == ("entered {'context': 'entered'} False", 1)
    assert (task["progress"]["message"], task["metadata"]) == ("half", {"context": "entered"})
    assert _log_of(api, task_id) == ["in context"]


@pytest.mark.usefixtures("classes")
def test_a_task_of_a_plain_class_reports(api: Api) -> None:
    """`shared_task(base=...)` of Celery's own class has the same methods, and cannot bypass the claim."""
    task_id = api.create("class_tasks.of_plain_class", args=["tea"])
    task = api.finished(task_id)
    assert (task["result"], task["attempts"]) == (["tea", {"value": "tea"}, "no context"], 1)
    assert (task["progress"]["message"], _log_of(api, task_id)) == ("half", ["plain"])
