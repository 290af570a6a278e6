from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chain, group, result
from databases import Databases
from support import Api, wait_until

from gql_api.adopt import adopt
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend


@pytest.fixture
def celery(databases: Databases, environment: dict[str, str]) -> Iterator[Celery]:
    """An adopted application that sends tasks to the worker."""
    app = adopt(Celery("sender", set_as_current=False, broker=databases.redis.url))
    settings = Settings(
        mongodb_url=databases.mongodb.url,
        mongodb_database=environment["MONGODB_DATABASE"],
        celery_broker_url=databases.redis.url,
    )
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


@pytest.fixture(params=[uuid.uuid4, lambda: uuid.uuid4().int >> 80], ids=["uuid", "number"])
def new_id(request: pytest.FixtureRequest) -> Any:
    """Ids that are no texts."""
    return request.param


def test_an_id_of_any_type_is_recorded_by_its_text(api: Api, celery: Celery, new_id: Any) -> None:
    """The task runs, clients find it, and its result can be read by the id as it was given, or by its text."""
    task_id = new_id()
    sent = celery.send_task("task_modules.add", (1, 2), task_id=task_id)
    assert sent.id == str(task_id)
    assert sent.get(timeout=20) == 3
    assert api.task(str(task_id))["result"] == 3
    for found in (celery.AsyncResult(task_id), result.AsyncResult(task_id, app=celery)):
        assert found.get(timeout=20) == 3
    sent.forget()
    assert api.task(str(task_id))["result"] is None


def test_the_ids_of_a_canvas_are_texts(api: Api, celery: Celery, new_id: Any) -> None:
    """Members of a chord and steps of a chain may have such ids, also where the chain is never sent."""
    add = celery.signature("task_modules.add")
    members = [new_id() for _ in range(2)]
    steps = group(add.clone((n, 1)).set(task_id=id_) for n, id_ in enumerate(members))
    body = new_id()
    body_result = (steps | celery.signature("task_modules.total").set(task_id=body)).apply_async()
    assert body_result.get(timeout=20) == 3
    assert [api.task(str(id_))["result"] for id_ in members] == [1, 2]
    assert api.task(str(body))["result"] == 3
    first, second = new_id(), new_id()
    fails = celery.signature("task_modules.fail", ("no",)).set(task_id=first)
    chain(fails, add.clone((1,)).set(task_id=second)).apply_async()
    assert api.finished(str(first))["status"] == "FAILURE"
    wait_until(lambda: api.task(str(second)))
    assert api.finished(str(second))["status"] == "FAILURE"


def test_a_task_is_revoked_by_such_an_id(api: Api, celery: Celery, new_id: Any) -> None:
    """Celery's revoke takes the id as it was given, alone or among others."""
    alone, one, other = new_id(), new_id(), new_id()
    for task_id in (alone, one, other):
        celery.send_task("task_modules.add", (1,), task_id=task_id, countdown=3600)
    celery.control.revoke(alone)
    celery.control.revoke([one, other])
    assert {api.task(str(task_id))["status"] for task_id in (alone, one, other)} == {"REVOKED"}


def test_a_stock_senders_id_is_recorded_by_its_text(api: Api, databases: Databases, new_id: Any) -> None:
    """The record that begins at a worker has the text too."""
    task_id = new_id()
    with Celery("stock", set_as_current=False, broker=databases.redis.url) as stock:
        stock.send_task("task_modules.add", (1, 2), task_id=task_id)
    wait_until(lambda: api.task(str(task_id)))
    assert api.finished(str(task_id))["result"] == 3
