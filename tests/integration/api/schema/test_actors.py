"""The subject who caused each change, in the history of the task."""

from __future__ import annotations

from typing import Any

from callers import ask_as, caller
from front import Front

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal, Scope
from gql_api.record import claims, writes
from gql_api.record.model import Claim
from gql_api.registry.definitions import TaskDefinition
from gql_api.worker.store.tasks import Store

_ANN = caller(*(ALL_SCOPES - {Scope.ADMIN}), subject="ann")
_ROOT = caller(*ALL_SCOPES, subject="root")
_TASK = "task { id history { status actor } }"


async def _changed(front: Front, principal: Principal, mutation: str) -> dict[str, Any]:
    result = await ask_as(front, principal, f"mutation {{ {mutation} {{ {_TASK} }} }}")
    assert result.errors is None, result.errors
    assert result.data is not None
    (payload,) = result.data.values()
    task: dict[str, Any] = payload["task"]
    return task


def _actors(task: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(entry["status"], entry["actor"]) for entry in task["history"]]


_CREATE = 'createTask(input: {name: "add", kwargs: {x: 1}, delaySeconds: 3600})'


async def test_each_change_has_its_actor(front: Front, worker: Store, announced: TaskDefinition) -> None:
    """Callers are named by their subjects, an administrator too; what a worker does has no actor."""
    assert announced.name == "add"
    task = await _changed(front, _ANN, _CREATE)
    assert _actors(task) == [("SCHEDULED", "ann")]
    id_ = task["id"]
    moved = f'rescheduleTask(id: "{id_}", scheduledFor: "2020-01-01T00:00:00Z")'
    assert _actors(await _changed(front, _ROOT, moved)) == [("SCHEDULED", "ann"), ("QUEUED", "root")]
    replay = await _changed(front, _ROOT, f'replayTask(id: "{id_}")')
    assert _actors(replay) == [("QUEUED", "root")]
    worker.change(claims.claim(id_, Claim("token", "celery@host", "run", 1, 60.0)))
    worker.change(writes.succeed(id_, 1))
    again = await _changed(front, _ANN, f'updateTaskMetadata(id: "{id_}", operations: [])')
    assert _actors(again)[2:] == [("STARTED", None), ("SUCCESS", None)]
    cancelled = await _changed(front, _ANN, f'cancelTask(id: "{(await _changed(front, _ANN, _CREATE))["id"]}")')
    assert _actors(cancelled) == [("SCHEDULED", "ann"), ("REVOKED", "ann")]


async def test_a_bulk_call_is_the_actor_of_each_task(front: Front, announced: TaskDefinition) -> None:
    """Tasks that were cancelled together show who did it, and so do their replays."""
    assert announced.name == "add"
    task = await _changed(front, _ANN, _CREATE)
    await ask_as(front, _ROOT, "mutation { cancelTasks(filter: {}, dryRun: false) { changed } }")
    await ask_as(front, _ROOT, "mutation { replayTasks(filter: {}, dryRun: false) { changed } }")
    query = "{ tasks { nodes { id history { status actor } } } }"
    result = await ask_as(front, _ROOT, query)
    assert result.data is not None
    found = {each["id"]: _actors(each) for each in result.data["tasks"]["nodes"]}
    assert found.pop(task["id"]) == [("SCHEDULED", "ann"), ("REVOKED", "root")]
    assert list(found.values()) == [[("QUEUED", "root")]]


async def test_without_authentication_there_is_no_actor(front: Front, announced: TaskDefinition) -> None:
    """The history is that of before."""
    assert announced.name == "add"
    task = await _changed(front, ANONYMOUS, _CREATE)
    cancelled = await _changed(front, ANONYMOUS, f'cancelTask(id: "{task["id"]}")')
    assert _actors(cancelled) == [("SCHEDULED", None), ("REVOKED", None)]
