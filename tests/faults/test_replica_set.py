"""A MongoDB of three members that lose their primary: killed, replaced as planned, frozen, or without its majority."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from fault_servers import ReplicaSet
from fault_site import LEASE_SECONDS, Site
from support import CREATE, Api, wait_until

from gql_api.record import fields
from gql_api.record.fields import Status

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

_CALLERS = 4
_SECONDS = 0.3
_DEFINITIONS = "{ taskDefinitions { name } }"


def _kill(replica_set: ReplicaSet) -> None:
    primary = replica_set.wait_for_primary()
    primary.kill()
    replica_set.wait_for_primary(other_than=primary)
    primary.start()


def _step_down(replica_set: ReplicaSet) -> None:
    replica_set.step_down()


def _freeze(replica_set: ReplicaSet) -> None:
    primary = replica_set.wait_for_primary()
    primary.freeze()
    replica_set.wait_for_primary(other_than=primary)
    primary.thaw()


def _cut_off(replica_set: ReplicaSet) -> None:
    primary = replica_set.wait_for_primary()
    with replica_set.cut_off(primary):
        time.sleep(2 * LEASE_SECONDS)  # the fault itself: no write is acknowledged
        replica_set.depose(primary)
    replica_set.wait_for_primary()


def _cut_off_and_kill(replica_set: ReplicaSet) -> None:
    primary = replica_set.wait_for_primary()
    with replica_set.cut_off(primary):
        time.sleep(LEASE_SECONDS)  # the fault itself: all writes of this time are lost
        primary.kill()
    replica_set.wait_for_primary(other_than=primary)
    primary.start()


@pytest.mark.parametrize("lose_primary", [_kill, _step_down, _freeze, _cut_off, _cut_off_and_kill])
def test_tasks_run_while_the_primary_changes(replicated_site: Site, lose_primary: Callable[[ReplicaSet], None]) -> None:
    """Every acknowledged task ends right and runs once; every task that was not acknowledged can be created again."""
    site = replicated_site
    site.worker("first")
    site.worker("second")
    api = _ready_api(site)
    with _callers(api) as acknowledged:
        wait_until(lambda: len(acknowledged) > _CALLERS)
        lose_primary(site.mongodb)
        enough = len(acknowledged) + 2 * _CALLERS
        wait_until(lambda: len(acknowledged) > enough, 60, "tasks to be created again")
    for task_id, number in acknowledged.items():
        task = site.finished(task_id, 60)
        assert (task.status, task.result) == (Status.SUCCESS, number)
    assert set(_recorded(site)) == set(acknowledged)
    assert site.runs("begin") == site.runs("end") == dict.fromkeys(acknowledged, 1)


def test_an_unacknowledged_task_is_created_again(replicated_site: Site) -> None:
    """A task that only a lost primary had is not acknowledged, and its key creates it on the next primary."""
    site = replicated_site
    site.worker("worker")
    api = _ready_api(site)
    kept = _create(api, 1)
    primary = site.mongodb.wait_for_primary()
    with site.mongodb.cut_off(primary):
        body = api.post(CREATE, input=_input(2))
        assert body["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        primary.kill()
    site.mongodb.wait_for_primary(other_than=primary)
    repeated = _create(api, 2)
    primary.start()
    assert _create(api, 2) == repeated
    assert _create(api, 1) == kept
    for task_id, number in ((kept, 1), (repeated, 2)):
        assert site.finished(task_id, 60).result == number
    assert sorted(_recorded(site)) == sorted([kept, repeated])
    assert site.runs("begin") == {kept: 1, repeated: 1}


@contextlib.contextmanager
def _callers(api: Api) -> Iterator[dict[str, int]]:
    """Create tasks until the block ends; yield the numbers of the acknowledged ones by their ids."""
    acknowledged: dict[str, int] = {}
    over = threading.Event()
    numbers = itertools.count()

    def call() -> None:
        while not over.is_set():
            number = next(numbers)
            acknowledged[_create(api, number)] = number

    callers = [threading.Thread(target=call) for _ in range(_CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield acknowledged
    finally:
        over.set()
        for caller in callers:
            caller.join()


def _ready_api(site: Site) -> Api:
    api = site.api()
    wait_until(lambda: "fault_tasks.work" in str(api.post(_DEFINITIONS)), 30, "the announcement")
    return api


def _input(number: int) -> dict[str, object]:
    return {"name": "fault_tasks.work", "args": [_SECONDS, number], "idempotencyKey": f"task {number}"}


def _create(api: Api, number: int) -> str:
    """Create a task, again and again until that is acknowledged, and return its id."""

    def created() -> str | None:
        try:
            body = api.post(CREATE, input=_input(number))
        except httpx.TransportError:
            return None
        payload = (body.get("data") or {}).get("createTask")
        return None if payload is None else str(payload["task"]["id"])

    task_id = wait_until(created, 60, f"task {number} to be acknowledged")
    assert task_id is not None
    return task_id


def _recorded(site: Site) -> list[str]:
    tasks = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - a test may read all of them
    return [document["_id"] for document in tasks.find({}, {"_id": 1})]
