"""Messages of plain Celery code: what their senders add stays with the task, and each task has an id of its own."""

from __future__ import annotations

import json
import re
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


@app.task
def noted(path, text):
    with open(path, "a") as notes:
        notes.write(text + "\\n")
    return text


@app.task(bind=True)
def batch(self, path, child_id, twice):
    noted.apply_async((path, "child"), task_id=child_id)
    if twice:
        noted.apply_async((path, "again"), task_id=child_id)
    if not self.request.retries:
        raise self.retry(countdown=0)
    return "sent"
"""

_ADVICE = "give each task an id of its own, or none"
_STATES = ["SCHEDULED", "SCHEDULED", "SUCCESS", "SUCCESS"]

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


def test_an_id_is_given_to_one_task(run: Run, tmp_path: Path) -> None:
    """A second task with an id that is taken is an error at its sender, waiting or over; the first one is unharmed."""
    notes = tmp_path / "notes"
    program = f"""
import json
from datetime import UTC, datetime
from gql_api.adopt import DuplicateTaskIdError
from gql_api.record import fields
from post import app, noted

def second(task_id, **options):
    try:
        noted.apply_async(({str(notes)!r}, "second"), task_id=task_id, **options)
    except DuplicateTaskIdError as error:
        return str(error)
    return "sent"

first = noted.apply_async(({str(notes)!r}, "first"), countdown=3600)
errors = [second(first.id), second(first.id, countdown=1)]
# Due now: however long the calls above have taken, the task was still waiting.
app.backend.collection.update_one({{"_id": first.id}}, {{"$set": {{fields.DUE_AT: datetime.now(UTC)}}}})
result = first.get(timeout=30)
errors += [second(first.id), second(first.id, countdown=1)]
app.backend.store.delete([first.id])
errors += [second(first.id)]
print(json.dumps([result, errors]))
"""
    result, errors = run(program)
    assert (result, notes.read_text().split()) == ("first", ["first"])
    assert [re.sub("'.*'", "ID", error).partition(":")[2] for error in errors] == [
        *[f" ID is the id of another task (post.noted, {state}): {_ADVICE}" for state in _STATES],
        f" ID is the id of a task that was deleted: {_ADVICE}",
    ]


def test_an_id_inside_a_task_function(run: Run, tmp_path: Path) -> None:
    """A function that runs again may send its child again, which then runs once; a second child of an id fails it."""
    notes = tmp_path / "notes"
    program = f"""
import json, uuid
from post import app, batch
ids = [str(uuid.uuid4()), str(uuid.uuid4())]
batches = [batch.delay({str(notes)!r}, child_id, twice) for child_id, twice in zip(ids, [False, True])]
outcomes = [repr(each.get(timeout=30, propagate=False)) for each in batches]
print(json.dumps([outcomes, [app.AsyncResult(child_id).get(timeout=30) for child_id in ids]]))
"""
    outcomes, children = run(program)
    assert outcomes[0] == "'sent'"
    assert "DuplicateTaskIdError" in outcomes[1]
    assert children == ["child", "child"]
    assert notes.read_text().split() == ["child", "child"]
