"""Django, Flask and FastAPI applications go from stock Celery to adopted and back, by the lines of docs/adopt.md."""

from __future__ import annotations

import ast
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import Databases
from support import Api, wait_until
from walks import Project, environment_of, operations_of

# Each walk starts and stops six to nine servers, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("name", ["Django", "Flask", "FastAPI"])
def test_the_lines_of_the_document_fit_and_can_be_undone(name: str, tmp_path: Path) -> None:
    """The document changes lines that the application has, by valid Python, and the way back restores each file."""
    project = Project.copied(name, tmp_path, web=[], worker="", environment={})
    files = {change.file: (project.folder / change.file).read_text() for change in project.changes}
    project.adopt()
    for file, before in files.items():
        after = (project.folder / file).read_text()
        assert "adopt(Celery(" in after
        assert "adopt" not in before
        ast.parse(after)
    project.go_back()
    assert {file: (project.folder / file).read_text() for file in files} == files


@pytest.mark.fault
def test_django(databases: Databases, tmp_path: Path) -> None:
    """Tasks that are sent on commit change the models; waiting and scheduled tasks run after each change."""
    project = Project.copied(
        "Django",
        tmp_path,
        web=["manage.py", "runserver", "--noreload", "{port}"],
        worker="-A bookshop",
        environment=environment_of(databases, 2),
    )
    project.run("manage.py", "migrate")

    def order(web: httpx.Client, copies: int, delay: float = 0) -> int:
        number: int = _posted(web, "/orders", title="Emma", copies=copies, delay=delay)["id"]
        return number

    def priced(web: httpx.Client, number: int) -> dict[str, Any]:
        return wait_until(lambda: (found := _got(web, f"/orders/{number}"))["total"] and found, 20, "the total")

    def report(web: httpx.Client) -> tuple[str, int]:
        task_id = _posted(web, "/reports")["task_id"]
        wait_until(lambda: _got(web, f"/reports/{task_id}")["status"] == "SUCCESS", 20, "the report")
        return task_id, _got(web, f"/reports/{task_id}")["result"]

    with project.serving() as web:
        with project.working():
            assert priced(web, order(web, 2))["total"] == 19.0
            assert report(web)[1] == 2
        waiting, delayed = order(web, 3), order(web, 4, delay=1)

    project.adopt()
    with project.observed() as api:
        with project.serving() as web:
            with project.working():
                for number, total in ((waiting, 28.5), (delayed, 38.0)):
                    assert priced(web, number)["total"] == total
                for number, total in ((order(web, 1), 9.5), (order(web, 2, delay=0.5), 19.0)):
                    found = priced(web, number)
                    task = api.finished(found["task_id"])
                    assert (task["name"], task["args"], task["result"]) == ("orders.tasks.price_order", [number], total)
                task_id, copies = report(web)
                assert copies == api.task(task_id)["result"] == 12
                assert _statuses(api, task_id) == ["QUEUED", "STARTED", "SUCCESS"]
                created = api.create("orders.tasks.price_order", args=[waiting], metadata={"customer": "c-42"})
                assert (api.finished(created)["result"], api.task(created)["metadata"]) == (28.5, {"customer": "c-42"})
                assert _got(web, f"/reports/{created}") == {"status": "SUCCESS", "result": 28.5}
                assert web.post("/orders", json={"title": "Emma", "copies": 0, "delay": 0}).status_code == 400
                assert _count(api, names=["orders.tasks.price_order"]) == 5
                delayed = order(web, 5, delay=1)
                _wait_until_nothing_is_in_mongodb_only(api)
            waiting = order(web, 6)

        project.go_back()
        with project.serving() as web, project.working():
            for number, total in ((delayed, 47.5), (waiting, 57.0), (order(web, 7), 66.5)):
                assert priced(web, number)["total"] == total
            assert report(web)[1] == 30
        _, cancel = operations_of("With a pause")
        # The one that waited, and the delayed one if it became due just before the adopted worker stopped.
        assert api.data(cancel)["cancelTasks"]["changed"] in {1, 2}

        project.adopt()
        with project.serving() as web, project.working():
            again = order(web, 8)
            # Each once, and the one again for which the API has created a task.
            assert [priced(web, number)["priced"] for number in range(1, again + 1)] == [1, 2, 1, 1, 1, 1, 1, 1, 1]
            # An order has its total before its task has ended.
            unfinished = ["SCHEDULED", "QUEUED", "STARTED", "RETRY"]
            wait_until(lambda: _count(api, statuses=unfinished) == 0, 30, "all tasks to end")


@pytest.mark.fault
def test_flask(databases: Databases, tmp_path: Path) -> None:
    """Tasks run in the application's context, and views read their results; nothing is lost on either way."""
    environment = environment_of(databases, 3)
    project = Project.copied(
        "Flask",
        tmp_path,
        web=["-m", "flask", "--app", "example_app", "run", "--port={port}"],
        worker="-A make_celery",
        environment={
            **environment,
            "FLASK_CELERY__broker_url": environment["CELERY_BROKER_URL"],
            "FLASK_CELERY__result_backend": environment["CELERY_RESULT_BACKEND"],
            # On the way back it would otherwise read four priorities only.
            "FLASK_CELERY__broker_transport_options": json.dumps({"priority_steps": list(range(10))}),
        },
    )

    def add(web: httpx.Client, a: float, priority: int = 0) -> str:
        task_id: str = _posted(web, "/add", a=a, b=2, priority=priority)["result_id"]
        return task_id

    def total(web: httpx.Client, task_id: str) -> str:
        wait_until(lambda: _got(web, f"/result/{task_id}")["ready"], 20, "the result")
        found = _got(web, f"/result/{task_id}")
        assert found["successful"]
        value: str = found["value"]
        return value

    with project.serving() as web:
        with project.working():
            assert total(web, add(web, 1)) == "3.00 EUR"
        waiting = add(web, 2, priority=4)

    project.adopt()
    with project.observed() as api, project.serving() as web:
        with project.working():
            assert total(web, waiting) == "4.00 EUR"
            assert _statuses(api, waiting) == ["QUEUED", "STARTED", "SUCCESS"]
            added = add(web, 3)
            assert total(web, added) == api.task(added)["result"] == "5.00 EUR"
            assert _statuses(api, added) == ["QUEUED", "STARTED", "SUCCESS"]
            ignored = api.finished(_posted(web, "/forget")["result_id"])
            assert (ignored["status"], ignored["result"], ignored["metadata"]) == ("SUCCESS", None, {"from": "flask"})
            created = api.create("example_app.tasks.add_prices", args=[4, 2], metadata={"customer": "c-42"})
            assert total(web, created) == "6.00 EUR"
            assert api.task(created)["metadata"] == {"customer": "c-42"}
        waiting = add(web, 5, priority=5)

    project.go_back()
    with project.serving() as web, project.working():
        assert total(web, waiting) == "7.00 EUR"
        assert total(web, add(web, 6)) == "8.00 EUR"


@pytest.mark.fault
def test_fastapi(databases: Databases, tmp_path: Path) -> None:
    """Endpoints send tasks and read their results in many threads; nothing is lost on either way."""
    project = Project.copied(
        "FastAPI",
        tmp_path,
        web=["-m", "uvicorn", "main:app", "--port={port}"],
        worker="-A worker.celery",
        environment=environment_of(databases, 4),
    )

    def start(web: httpx.Client) -> str:
        task_id: str = _posted(web, "/tasks", type=1)["task_id"]
        return task_id

    def result(web: httpx.Client, task_id: str) -> bool:
        wait_until(lambda: _got(web, f"/tasks/{task_id}")["task_status"] == "SUCCESS", 20, "the result")
        value: bool = _got(web, f"/tasks/{task_id}")["task_result"]
        return value

    def run(web: httpx.Client) -> list[str]:
        # At the same time, so that several threads of the server take part.
        with ThreadPoolExecutor(4) as threads:
            ids = list(threads.map(lambda _: start(web), range(4)))
            assert all(threads.map(lambda each: result(web, each), ids))
        return ids

    with project.serving() as web:
        with project.working():
            run(web)
        waiting = start(web)

    project.adopt()
    with project.observed() as api, project.serving() as web:
        with project.working():
            assert result(web, waiting)
            assert _statuses(api, waiting) == ["QUEUED", "STARTED", "SUCCESS"]
            for task_id in run(web):
                assert _statuses(api, task_id) == ["QUEUED", "STARTED", "SUCCESS"]
            created = api.create("create_task", args=[1], metadata={"customer": "c-42"})
            assert result(web, created)
            assert api.task(created)["metadata"] == {"customer": "c-42"}
        waiting = start(web)

    project.go_back()
    with project.serving() as web, project.working():
        assert result(web, waiting)
        run(web)


def _posted(web: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    return _json(web.post(path, json=body))


def _got(web: httpx.Client, path: str) -> dict[str, Any]:
    return _json(web.get(path))


def _json(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _statuses(api: Api, task_id: str) -> list[str]:
    return [entry["status"] for entry in api.finished(task_id)["history"]]


def _count(api: Api, **filter_: list[str]) -> int:
    query = "query ($filter: TaskFilter!) { tasks(filter: $filter) { totalCount } }"
    count: int = api.data(query, filter=filter_)["tasks"]["totalCount"]
    return count


def _wait_until_nothing_is_in_mongodb_only(api: Api) -> None:
    query, _ = operations_of("With a pause")
    wait_until(lambda: api.data(query)["tasks"]["totalCount"] == 0, 20, "running and scheduled tasks to end")
