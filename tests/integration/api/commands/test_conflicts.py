"""Calls that lose every race against a competing writer: clients can recognise them, and a repeated call succeeds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from front import Front
from pymongo.collection import Collection

from gql_api.access.visibility import Visibility
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import Document, TaskRecord
from gql_api.registry.definitions import TaskDefinition

_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id, cascade: true) { task { id } userErrors { code } } }"
_STATUS = '{ task(id: "busy") { status } }'
_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { created userErrors { code } } }"
_CREATE_MANY = """
mutation ($inputs: [CreateTaskInput!]!) {
  createTasks(inputs: $inputs) { results { created userErrors { code message field } } }
}
"""
_KEY = "order-43"


async def _conflict(front: Front, document: str, **variables: object) -> str:
    """Run an operation that must fail with a conflict, and return the message."""
    result = await front.ask(document, **variables)
    assert result.errors is not None
    (error,) = result.errors
    assert error.extensions == {"code": "CONFLICT"}
    return error.message


@pytest.mark.parametrize("task_id", ["busy", "its parent"])
async def test_a_task_that_changes_at_every_try_is_a_conflict(
    front: Front, tasks: Collection[Document], monkeypatch: pytest.MonkeyPatch, task_id: str
) -> None:
    """A task that starts or stops after each read of it cannot be cancelled, alone or with its parent."""
    await front.services.store.create(NewTask(id="its parent", name="add"))
    await front.services.store.create(NewTask(id="busy", name="add", parent_id="its parent"))
    get = front.services.store.get

    async def get_then_change(id_: str, visibility: Visibility) -> TaskRecord | None:
        record = await get(id_, visibility)
        if record is not None and id_ == "busy":
            other = Status.QUEUED if record.status is Status.STARTED else Status.STARTED
            assert tasks.update_one({f.ID: id_}, {"$set": {f.STATUS: other}}).modified_count == 1
        return record

    with monkeypatch.context() as patch:
        patch.setattr(front.services.store, "get", get_then_change)
        message = await _conflict(front, _CANCEL, id=task_id)
    assert message == "Task busy changed during each of 10 tries to cancel it: call again"
    tasks.update_one({f.ID: "busy"}, {"$set": {f.STATUS: Status.QUEUED}})
    await front.data(_CANCEL, id=task_id)
    assert (await front.data(_STATUS))["task"]["status"] == "REVOKED"


@pytest.fixture
def contested(front: Front, tasks: Collection[Document], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A competing writer that has a key, and takes it again whenever it has been released."""
    release_key = front.services.store.release_key

    def take() -> None:
        competitor = NewTask(id=str(uuid.uuid4()), name="add", idempotency_key=_KEY)
        tasks.update_one(*writes.create(competitor), upsert=True)
        # Its key has expired.
        tasks.update_one({f.ID: competitor.id}, {"$set": {f.CREATED_AT: datetime.now(UTC) - timedelta(days=2)}})

    async def release_then_take(task_id: str, age_seconds: float) -> bool:
        released = await release_key(task_id, age_seconds)
        assert released
        take()
        return released

    take()
    monkeypatch.setattr(front.services.store, "release_key", release_then_take)
    return monkeypatch


async def test_a_key_that_is_taken_at_every_try_is_a_conflict(
    front: Front, contested: pytest.MonkeyPatch, announced: TaskDefinition
) -> None:
    """Creating a task with it fails, and succeeds as soon as the competing calls have ended."""
    call = {"name": announced.name, "args": [1], "idempotencyKey": _KEY}
    message = await _conflict(front, _CREATE, input=call)
    assert message == "idempotencyKey: other calls took the key during each of 5 tries: call again"
    contested.undo()
    assert (await front.data(_CREATE, input=call))["createTask"] == {"created": True, "userErrors": []}


async def test_a_conflict_of_one_input_leaves_the_others_alone(
    front: Front, contested: pytest.MonkeyPatch, announced: TaskDefinition
) -> None:
    """Of many tasks only the one with the contested key is refused."""
    call = {"name": announced.name, "args": [1]}
    inputs = [call, {**call, "idempotencyKey": _KEY}, {**call, "idempotencyKey": "another"}]
    results = (await front.data(_CREATE_MANY, inputs=inputs))["createTasks"]["results"]
    assert [result["created"] for result in results] == [True, False, True]
    (error,) = results[1]["userErrors"]
    assert (error["code"], error["field"]) == ("IDEMPOTENCY_CONFLICT", ["input", "idempotencyKey"])
    assert error["message"].endswith("call again")
    contested.undo()
    results = (await front.data(_CREATE_MANY, inputs=inputs[1:]))["createTasks"]["results"]
    assert [result["created"] for result in results] == [True, False]
