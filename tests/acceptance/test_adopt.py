from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from support import ROOT, Api, process, wait_until

from gql_api.adopt import adopt

_DOCS = (ROOT / "docs" / "adopt.md").read_text()
_QUEUE = "shop"
_STOCK = """
import os
os.environ.pop("CELERY_RESULT_BACKEND", None)
from celery import Celery
app = Celery("elsewhere", broker={broker!r}, backend=None)
print(app.send_task("shop.price", ("milk",), queue="shop", headers={{"metadata": {{"from": "elsewhere"}}}}).id)
"""

# Not in the document: a schedule for beat, and handlers of signals that write down what they receive.
_MORE = """
from celery import signals

app.conf.task_default_queue = "shop"
app.conf.beat_schedule = {"coffee": {"task": "shop.price", "schedule": 0.5, "args": ("coffee",)}}


@app.task(bind=True)
def flaky(self) -> int:
    if not self.request.retries:
        raise self.retry(countdown=0)
    return self.request.retries


def _note(event):
    def note(sender=None, request=None, task_id=None, **_):
        with open("signals", "a") as file:
            print(task_id or (request or sender.request).id, event, file=file)
    return note


notes = {name: _note(name) for name in ("prerun", "postrun", "success", "failure", "retry")}
for name, note in notes.items():
    getattr(signals, f"task_{name}").connect(note)
"""

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the application."""
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def shop(api: Api, environment: dict[str, str], folder: Path) -> Iterator[Run]:
    """The application of docs/adopt.md with a worker of its own; runs a program beside it."""
    module, *_ = _blocks()
    printed = 'Celery("shop", broker="redis://localhost:6379/0")'
    own = f'Celery("shop", broker={environment["CELERY_BROKER_URL"]!r}, set_as_current=True)'
    assert printed in module
    # A queue of its own, for the broker is shared with the other tests.
    (folder / "shop.py").write_text(module.replace(printed, own) + _MORE)
    env = {**environment, "PYTHONPATH": f"{folder}:{ROOT}"}
    worker = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "2", "-n", "shop@%h", "--without-mingle"]

    def run(program: str) -> str:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with process(worker, folder / "worker.log", env, cwd=folder):
        wait_until(lambda: "shop.price" in str(api.data("{ taskDefinitions { name } }")), 60)
        yield run


def _blocks() -> list[str]:
    found = re.findall(r"^( *)```python\n(.*?)^ *```$", _DOCS, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def test_the_example_of_the_docs_works_as_printed(api: Api, shop: Run) -> None:
    """A task sent by plain Celery code is in the API with its metadata, and AsyncResult.get gives its result."""
    _, send, *_ = _blocks()
    task_id, result = shop(send).split()
    task = api.finished(task_id)
    assert result == "19.0"
    assert (task["name"], task["result"], task["metadata"]) == ("shop.price", 19.0, {"customer": "c-42"})
    assert (task["args"], task["kwargs"], task["queue"]) == (["tea"], {"count": 2}, _QUEUE)
    assert [entry["status"] for entry in task["history"]] == ["QUEUED", "STARTED", "SUCCESS"]


def test_the_api_creates_tasks_of_the_application(api: Api, shop: Run) -> None:
    """Its tasks are announced with their signatures, and go to their own queue."""
    assert shop("print('ready')") == "ready"
    task = api.finished(api.create("shop.price", args=["tea"], metadata={"a": 1}))
    assert (task["result"], task["metadata"], task["queue"]) == (9.5, {"a": 1}, _QUEUE)


def test_what_a_task_sends_knows_its_parent(api: Api, shop: Run) -> None:
    """The members and the body of a chord made inside a task are its children; Celery's own tasks are not shown."""
    assert shop("print('ready')") == "ready"
    parent = api.create("shop.order", args=[["tea", "milk"]])
    query = """query ($id: ID!) { task(id: $id) { isFinal
      children { nodes { id name result isFinal parent { id } } } } }"""

    def children() -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = api.data(query, id=parent)["task"]["children"]["nodes"]
        return nodes

    wait_until(lambda: [node for node in children() if node["name"] == "shop.bill" and node["isFinal"]], 30)
    names = [node["name"] for node in children()]
    assert sorted(names) == ["shop.bill", "shop.price", "shop.price"]
    assert next(node["result"] for node in children() if node["name"] == "shop.bill") == "19.00 to pay"
    assert {node["parent"]["id"] for node in children()} == {parent}
    listed = api.data("{ tasks(first: 500) { nodes { name } } }")["tasks"]["nodes"]
    assert not [node for node in listed if node["name"].startswith("celery.")]


def test_a_message_from_elsewhere_is_recorded_when_it_arrives(api: Api, shop: Run, environment: dict[str, str]) -> None:
    """A program that knows nothing of us sends a task: its record begins with its start, metadata included."""
    task_id = shop(_STOCK.format(broker=environment["CELERY_BROKER_URL"]))
    wait_until(lambda: api.task(task_id))
    task = api.finished(task_id)
    assert (task["name"], task["result"], task["metadata"]) == ("shop.price", 9.5, {"from": "elsewhere"})


@pytest.mark.parametrize("metadata", ["[1]", "{'a': '\\ud800'}", "{'a': 2**64}"])
def test_bad_metadata_is_an_error_at_the_sender(shop: Run, metadata: str) -> None:
    """What could not be given back unchanged is refused before the message leaves."""
    program = f"""
from shop import price
try:
    price.apply_async(("tea",), headers={{"metadata": {metadata}}})
except ValueError as error:
    print("refused", error)
"""
    assert shop(program).startswith("refused metadata")


def test_signals_are_sent_as_in_celery(api: Api, shop: Run, folder: Path) -> None:
    """Each attempt of a task has its prerun and postrun, and one signal of how it ended."""
    task_id = shop("from shop import flaky; print(flaky.delay().id)")
    assert api.finished(task_id)["result"] == 1

    def received() -> list[str]:
        lines = (folder / "signals").read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith(task_id)]

    # In this order for each attempt; the second may begin before the first has sent all of its own.
    attempts = ["prerun", "retry", "postrun", "prerun", "success", "postrun"]
    wait_until(lambda: sorted(received()) == sorted(attempts), 20)


def test_tasks_of_beat_are_recorded(api: Api, shop: Run, folder: Path, environment: dict[str, str]) -> None:
    """What Celery's own scheduler sends is in the API from the moment it is sent."""
    assert shop("print('ready')") == "ready"
    query = '{ tasks(first: 500, filter: {names: ["shop.price"]}) { nodes { args history { status } } } }'

    def histories() -> list[list[str]]:
        nodes = api.data(query)["tasks"]["nodes"]
        return [[entry["status"] for entry in node["history"]] for node in nodes if node["args"] == ["coffee"]]

    beat = [sys.executable, "-m", "celery", "-A", "shop", "beat"]
    with process(beat, folder / "beat.log", {**environment, "PYTHONPATH": f"{folder}:{ROOT}"}, cwd=folder):
        wait_until(lambda: ["QUEUED", "STARTED", "SUCCESS"] in histories(), 60, "a task of beat")


def test_eager_tasks_need_no_servers() -> None:
    """The test suite of an adopted application may run its tasks eagerly, as before."""
    app = adopt(Celery("eager", broker="redis://127.0.0.1:1/0", set_as_current=False))
    app.conf.task_always_eager = True

    def add(x: int, y: int) -> int:
        return x + y

    assert app.task(add).delay(1, y=2).get() == 3


def test_adopting_too_late_is_refused() -> None:
    """An app whose tasks were made before adopt would run them without records."""
    app = Celery("late", set_as_current=False)
    app.finalize()
    with pytest.raises(RuntimeError, match="right after making it"):
        adopt(app)
