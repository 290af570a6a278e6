"""Messages of plain Celery code: what their senders add stays with the task, and each task has an id of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, Api, process, wait_until

_APP = """
import os
import signal
from celery import Celery, signals
from gql_api.adopt import adopt

app = adopt(Celery("post", broker={broker!r}, set_as_current=True))
app.conf.task_default_queue = "post"


@signals.before_task_publish.connect
def trace(headers, **_):
    headers.setdefault("traceparent", f"from-{{os.environ.get('SENDER', 'worker')}}")


@app.task(bind=True)
def retried(self):
    if not self.request.retries:
        raise self.retry(countdown=0.2)
    return self.request.traceparent


@app.task(bind=True)
def killed(self):
    if not self.request.delivery_info["redelivered"] and self.request.get("gql_api_attempts", 0) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return self.request.traceparent


@app.task(bind=True)
def replaced(self):
    raise self.replace(retried.si())
"""

Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def run(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run a program beside a worker of its application, and return the JSON that it prints."""
    folder: Path = tmp_path_factory.mktemp("post")
    (folder / "post.py").write_text(_APP.format(broker=environment["CELERY_BROKER_URL"]))
    env = {**environment, "PYTHONPATH": f"{folder}:{ROOT}"}
    worker = [sys.executable, "-m", "celery", "-A", "post", "worker", "-c", "2", "-n", "post@%h", "--without-mingle"]

    def run(program: str) -> Any:
        command, sender = [sys.executable, "-c", program], {**env, "SENDER": "web"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=sender)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with process(worker, folder / "worker.log", env, cwd=folder):
        wait_until(lambda: "post.retried" in str(api.data("{ taskDefinitions { name } }")), 60)
        yield run


def test_the_headers_of_a_sender_reach_each_attempt(run: Run) -> None:
    """They are in the messages of a countdown, of a retry, of a replacement and of an attempt after a killed one."""
    program = """
import json
from post import killed, replaced, retried
sent = [retried.apply_async(countdown=0.2), replaced.delay(), killed.delay(), killed.apply_async(countdown=0.2)]
print(json.dumps([result.get(timeout=40) for result in sent]))
"""
    assert run(program) == ["from-web"] * 4
