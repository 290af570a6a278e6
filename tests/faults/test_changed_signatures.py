"""Workers of one queue that have different versions of a task function, as in a rolling deployment."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from fault_site import Site, Worker
from support import Api, wait_until

from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_PROPERTIES = "query($id: ID!) { task(id: $id) { status definition { workers inputSchema } } }"
_DEFINITIONS = "{ taskDefinitions { name workers inputSchema } }"


def _worker(site: Site, version: str, *options: str) -> Worker:
    environment = {"TASK_MODULES": "changed_tasks", "CHANGED_TASKS": version}
    return site.worker(version, *options, environment=environment)


def _send(site: Site, version: str, *calls: str) -> list[str]:
    """Let an adopted program that has a version send tasks, and return their ids."""
    site.environment.update(TASK_MODULES="changed_tasks", CHANGED_TASKS=version)
    imports = "from celery import chain, chord\nfrom changed_tasks import renamed, widened\n"
    return site.python(f"{imports}print(*(sent.id for sent in [{', '.join(calls)}]))").split()[-len(calls) :]


def _parameters(api: Api, name: str = "renamed") -> list[str]:
    found = {each["name"]: each for each in api.data(_DEFINITIONS)["taskDefinitions"]}
    return sorted(found[f"changed_tasks.{name}"]["inputSchema"]["properties"])


def _wait_for_definitions(api: Api) -> None:
    # A worker announces its functions one after the other, in the order of their names: this is the last one.
    wait_until(lambda: "changed_tasks.widened" in str(api.data(_DEFINITIONS)))


def _create(api: Api, name: str, *args: Any, **rest: Any) -> str:
    return api.create(f"changed_tasks.{name}", args=list(args), **rest)


def _waits(api: Api, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = api.data(_PROPERTIES, id=task_id)["task"]
    assert task["status"] == "QUEUED"
    definition: dict[str, Any] = task["definition"]
    return definition


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_each_task_runs_in_the_version_that_it_was_made_for(site: Site, pool: str) -> None:
    """Two workers of one queue have different versions: each task runs once, on a worker whose version it fits."""
    api = site.api()
    _worker(site, "old", "-P", pool)
    _wait_for_definitions(api)
    soon = {"delaySeconds": 5}
    expected = {_create(api, name, n, **soon): f"old {n}" for name in ("renamed", "limited") for n in range(8)}
    expected |= {_create(api, "retyped", n, **soon): f"old {n + 1}" for n in range(8)}
    expected |= {_create(api, "widened", n, **soon): f"either {n}" for n in range(8)}
    _worker(site, "new", "-P", pool)
    wait_until(lambda: _parameters(api, "widened") == ["note", "number"])
    wait_until(lambda: _parameters(api) == ["count", "unit"])
    given = {"kwargs": {"unit": "kg"}}
    # A definition is cached for a while.
    refused = "mutation($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"
    probe = {"name": "changed_tasks.renamed", "args": [0], "expiresInSeconds": 0.001, **given}
    wait_until(lambda: not api.data(refused, input=probe)["createTask"]["userErrors"])
    expected |= {_create(api, name, n, **given): f"new {n} kg" for name in ("renamed", "limited") for n in range(8)}
    expected |= {_create(api, "retyped", [n, n]): f"new {2 * n}" for n in range(8)}
    expected |= {_create(api, "widened", n, kwargs={"note": "!"}): f"either {n}!" for n in range(8)}
    assert {task_id: site.finished(task_id).result for task_id in expected} == expected
    assert {site.task(task_id).attempts for task_id in expected} == {1}


def test_a_task_for_a_version_that_is_gone_ends(site: Site) -> None:
    """When the last worker of an older version has stopped, its tasks run in the newer one: those that fit succeed."""
    api = site.api()
    worker = _worker(site, "old")
    _wait_for_definitions(api)
    worker.send(signal.SIGTERM)
    worker.wait()
    left_over = [_create(api, "renamed", n) for n in range(20)]
    fitting = [_create(api, "widened", n) for n in range(5)]
    _worker(site, "new")
    assert [site.finished(task_id).result for task_id in fitting] == [f"either {n}" for n in range(5)]
    for task_id in left_over:
        task = site.finished(task_id)
        assert (task.status, task.attempts, task.error and task.error.type) == (Status.FAILURE, 1, "TypeError")


def test_a_task_for_a_version_that_comes_later_waits(site: Site) -> None:
    """While only workers with an older version are online the task is QUEUED, and the API shows that none runs it."""
    api = site.api()
    old = _worker(site, "old")
    _wait_for_definitions(api)
    # The new parameter of the second has a default.
    early, fitting = _send(site, "new", "renamed.delay(1, unit='kg')", "widened.delay(1)")
    assert site.finished(fitting).result == "either 1"
    assert _waits(api, early)["workers"] == 0
    site.ask("control", "old", "time_limit", "changed_tasks.renamed", "100", "200")
    (late,) = _send(site, "new", "renamed.delay(2, unit='kg')")
    assert _waits(api, late)["workers"] == 0
    new = _worker(site, "new")
    assert [site.finished(task_id).result for task_id in (early, late)] == ["new 1 kg", "new 2 kg"]
    # The old worker restarts, and the version of the API's calls is still the newest one.
    old.kill()
    old = _worker(site, "old")
    assert _parameters(api) == ["count", "unit"]
    new.kill()
    wait_until(lambda: _parameters(api) == ["number"], 60)
    (again,) = _send(site, "new", "renamed.delay(3, unit='kg')")
    waiting = wait_until(lambda: _waits(api, again))
    assert (waiting["workers"], sorted(waiting["inputSchema"]["properties"])) == (0, ["count", "unit"])
    assert api.data(_DEFINITIONS)["taskDefinitions"][0]["workers"] == 1
    _worker(site, "new")
    assert site.finished(again).result == "new 3 kg"
    assert old.process.poll() is None


def test_a_worker_sends_on_what_does_not_fit_its_own_version(site: Site) -> None:
    """The next step of a chain, the body of a chord and a callback wait for a worker with their sender's version."""
    api = site.api()
    _worker(site, "old")
    tasks = _send(
        site,
        "new",
        "chain(widened.s(1), widened.si(2), renamed.si(1, unit='kg'), renamed.si(2, unit='kg')).delay()",
        "chord([widened.s(1), widened.s(2)], renamed.si(3, unit='kg')).delay()",
        "chain(widened.s(1), chord([widened.si(2), widened.si(3)], renamed.si(4, unit='kg'))).delay()",
        "widened.apply_async([9], link=renamed.si(5, unit='kg').set(task_id='linked'))",
    )
    assert site.finished(tasks[3]).result == "either 9"
    wait_until(lambda: site.store.find("linked"))
    wait_until(lambda: site.store.find(tasks[1]))
    assert _waits(api, tasks[1])["workers"] == 0
    _worker(site, "new")
    results = [site.finished(task_id).result for task_id in (*tasks[:3], "linked")]
    assert results == [f"new {n} kg" for n in (2, 3, 4, 5)]
