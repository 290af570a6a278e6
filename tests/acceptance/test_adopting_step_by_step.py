"""Stock and adopted processes of one application share its queues: the steps of adopting it, and the way back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from databases import Databases
from pymongo import MongoClient
from support import ROOT, Api, process, wait_until

from gql_api.record import due, fields
from gql_api.record.reads import Document

_APP = """
import os
from celery import Celery

app = Celery("move", broker={broker!r}, backend={backend!r}, set_as_current=True)
if "ADOPT" in os.environ:
    from gql_api.adopt import adopt
    adopt(app)
app.conf.task_default_queue = "move"


@app.task
def note(text):
    with open({notes!r}, "a") as notes:
        notes.write(text + "\\n")
    return text


@app.task(bind=True)
def again(self, text):
    if not self.request.retries:
        raise self.retry(countdown=0.1)
    return note(text)


@app.task(bind=True)
def at_once(self, text, queue):
    if not self.request.retries:
        raise self.retry(countdown=0, queue=queue)
    return note(text)


@app.task(bind=True)
def fails(self, text):
    note(text)
    raise ValueError(text)


@app.task
def joined(texts):
    return "+".join(texts)
"""

# Of each queue, one worker or both take the messages.
_QUEUES = ["move-stock", "move-adopted", "move"]
_SEND = """
import json, sys
from celery import chain, chord
from move import app, again, at_once, fails, joined, note
who, queues = sys.argv[1], sys.argv[2].split(",")
results = {}
for queue in queues:
    for n in range(4):
        results[f"{who}-{queue}-{n}"] = note.apply_async((f"{who}-{queue}-{n}",), queue=queue, expires=600)
    results[f"{who}-{queue}-later"] = note.apply_async((f"{who}-{queue}-later",), queue=queue, countdown=0.3)
    results[f"{who}-{queue}-again"] = again.apply_async((f"{who}-{queue}-again",), queue=queue)
    results[f"{who}-{queue}-at-once"] = at_once.apply_async((f"{who}-{queue}-at-once", queues[0]), queue=queue)
    results[f"{who}-{queue}-fails"] = fails.apply_async((f"{who}-{queue}-fails",), queue=queue)
steps = [note.si(f"{who}-step-{queue}").set(queue=queue) for queue in [*queues, *queues]]
results["chain"] = chain(steps).apply_async()
members = [note.si(f"{who}-member-{queue}").set(queue=queue) for queue in queues]
results["chord"] = chord(members)(joined.s())
outcomes = {name: repr(result.get(timeout=60, propagate=False)) for name, result in results.items()}
print(json.dumps([outcomes, {name: result.id for name, result in results.items()}]))
"""


@dataclass(frozen=True)
class _Move:
    """An application on its way, whose functions note each of their runs."""

    folder: Path
    stock: dict[str, str]
    adopted: dict[str, str]

    @property
    def runs(self) -> Counter[str]:
        """How often each text was noted."""
        notes = self.folder / "notes"
        return Counter(notes.read_text().split()) if notes.exists() else Counter()

    def worker(self, name: str, env: dict[str, str], queues: list[str]) -> AbstractContextManager[object]:
        """Run a worker of some queues."""
        command = [sys.executable, "-m", "celery", "-A", "move", "worker", "-c", "1", "-n", f"{name}@%h"]
        options = ["-Q", ",".join(queues), "--without-mingle", "--without-gossip", "--loglevel=INFO"]
        return process([*command, *options], self.folder / f"{name}.log", env, cwd=self.folder)

    def send(self, who: str, env: dict[str, str], queues: list[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Send tasks of every kind to some queues, and return their outcomes as ``get`` gives them, and their ids."""
        command = [sys.executable, "-c", _SEND, who, ",".join(queues)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder, env=env
        )
        assert done.returncode == 0, done.stderr
        outcomes, ids = json.loads(done.stdout)
        return outcomes, ids


@contextmanager
def _moving(databases: Databases, environment: dict[str, str], folder: Path, backend: str | None) -> Iterator[_Move]:
    """The application with a result backend of Celery's own, or with none."""
    broker, notes = environment["CELERY_BROKER_URL"], str(folder / "notes")
    (folder / "move.py").write_text(_APP.format(broker=broker, backend=backend, notes=notes))
    stock = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1", "CELERY_RESULT_BACKEND": ""}
    ours = {"ADOPT": "yes", "PYTHONPATH": f"{folder}:{ROOT}"}
    yield _Move(folder, stock, {**environment, **stock, **ours, "STOCK_RESULT_BACKEND": backend or "disabled"})
    with MongoClient[dict[str, Any]](databases.mongodb.url) as client:
        client.drop_database("celery_results")


@pytest.fixture(params=["redis", "mongodb"])
def move(
    request: pytest.FixtureRequest, databases: Databases, environment: dict[str, str], tmp_path: Path
) -> Iterator[_Move]:
    """The application with a result backend of Celery's own."""
    backend = {
        "redis": f"{databases.redis.url.rpartition('/')[0]}/1",
        "mongodb": databases.mongodb.url.replace("/?", "/celery_results?"),
    }[request.param]
    with _moving(databases, environment, tmp_path, backend) as move:
        yield move


def _announced(api: Api) -> bool:
    found = api.data("{ taskDefinitions { name workers } }")["taskDefinitions"]
    return any(definition["name"] == "move.note" and definition["workers"] for definition in found)


def _check(move: _Move, who: str, env: dict[str, str], queues: list[str]) -> dict[str, str]:
    """Send tasks of every kind, check what ``get`` returns, and return their ids."""
    outcomes, ids = move.send(who, env, queues)
    expected = {name: repr(name) for name in outcomes}
    expected |= {name: f"ValueError({name!r})" for name in outcomes if name.endswith("-fails")}
    expected["chain"] = repr(f"{who}-step-{queues[-1]}")
    expected["chord"] = repr("+".join(f"{who}-member-{queue}" for queue in queues))
    assert outcomes == expected
    return ids


def _recorded(ids: dict[str, str]) -> list[str]:
    """Return the ids of the tasks that have records, whoever runs them.

    The next step of a chain and the body of a chord may be sent and run by stock workers only.
    """
    return [task_id for name, task_id in ids.items() if name not in {"chain", "chord"}]


def _check_runs(move: _Move) -> None:
    """Check that each task has run once; a chain has each of its steps twice."""
    assert {text: count for text, count in move.runs.items() if count != (2 if "-step-" in text else 1)} == {}


@pytest.mark.fault
def test_each_task_runs_once_in_every_mixture(api: Api, move: _Move) -> None:
    """Stock and adopted senders get the results of stock and adopted workers, and no task runs a second time."""
    with (
        move.worker("stock", move.stock, ["move-stock", "move"]),
        move.worker("adopted", move.adopted, ["move-adopted", "move"]),
    ):
        wait_until(lambda: _announced(api), 60)
        _check(move, "by-stock", move.stock, _QUEUES)
        ids = _check(move, "by-adopted", move.adopted, _QUEUES)
        # Recovery takes what stock workers have run out of its search for lost messages, and stores their results.
        for task_id in ids.values():
            assert api.finished(task_id)["status"] in {"SUCCESS", "FAILURE"}
        _check_runs(move)
        assert len(move.runs) == 2 * 10 * len(_QUEUES)


@pytest.mark.fault
@pytest.mark.parametrize("move", ["redis"], indirect=True)
def test_the_steps_of_adopting_and_the_way_back(api: Api, move: _Move) -> None:
    """First the workers, then the senders, then the setting; and back in the opposite order. Each task runs once."""
    settled = {name: value for name, value in move.adopted.items() if name != "STOCK_RESULT_BACKEND"}
    ids: list[str] = []
    with move.worker("stock", move.stock, ["move"]):
        _check(move, "before", move.stock, ["move"])
        with move.worker("adopted", move.adopted, ["move"]):
            wait_until(lambda: _announced(api), 60)
            _check(move, "workers", move.stock, ["move"])
            ids += _recorded(_check(move, "senders", move.adopted, ["move"]))
            for task_id in ids:
                api.finished(task_id)
    with move.worker("settled", settled, ["move"]):
        ids += _check(move, "adopted", settled, ["move"]).values()
        _check_runs(move)
    with move.worker("adopted", move.adopted, ["move"]):
        ids += _recorded(_check(move, "setting-back", move.adopted, ["move"]))
        _check(move, "senders-back", move.stock, ["move"])
        with move.worker("stock", move.stock, ["move"]):
            _check(move, "workers-back", move.stock, ["move"])
            for task_id in ids:
                api.finished(task_id)
    with move.worker("stock", move.stock, ["move"]):
        _check(move, "back", move.stock, ["move"])
    _check_runs(move)


@pytest.mark.fault
def test_stock_workers_without_results(
    api: Api, databases: Databases, environment: dict[str, str], tmp_path: Path
) -> None:
    """Their tasks run once, too: when the setting is gone and no stock worker is left, they stay QUEUED."""
    send = "from move import note; [print(note.delay(text).id) for text in ('a', 'b', 'c')]"
    with (
        _moving(databases, environment, tmp_path, None) as move,
        MongoClient[Document](databases.mongodb.url) as client,
    ):
        tasks = client[environment["MONGODB_DATABASE"]][fields.TASKS]
        with move.worker("stock", move.stock, ["move"]), move.worker("adopted", move.adopted, ["elsewhere"]):
            command = [sys.executable, "-c", send]
            done = subprocess.run(command, env=move.adopted, capture_output=True, text=True, check=True, cwd=tmp_path)
            left = {"_id": {"$in": done.stdout.split()}, fields.DUE_AT: due.WITH_STOCK_WORKER}
            wait_until(lambda: tasks.count_documents(left) == 3, 60)
            # Taken from the queue, they may still have to run: a worker that stops puts back what it has not begun.
            wait_until(lambda: move.runs == Counter("abc"), 60)
        settled = {name: value for name, value in move.adopted.items() if name != "STOCK_RESULT_BACKEND"}
        with move.worker("settled", settled, ["move"]):
            assert (
                subprocess.run(
                    [sys.executable, "-c", "from move import note; print(note.delay('d').get(timeout=30))"],
                    env=settled,
                    capture_output=True,
                    text=True,
                    check=True,
                    cwd=tmp_path,
                ).stdout.strip()
                == "d"
            )
        assert move.runs == Counter("abcd")
        assert {api.task(task_id)["status"] for task_id in done.stdout.split()} == {"QUEUED"}
