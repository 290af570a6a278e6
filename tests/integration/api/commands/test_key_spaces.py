"""Idempotency keys of several principals: a key tells nothing about tasks that its caller may not see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from front import Front
from owners import ADMIN, ALICE, BOB, CAROL, HEAD, PRINCIPALS, RED
from pymongo.collection import Collection

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.record.reads import Document

CREATE = """
mutation ($input: CreateTaskInput!) {
  createTask(input: $input) { created task { id } userErrors { code message field } }
}
"""
CREATE_MANY = """
mutation ($input: CreateTaskInput!) {
  createTasks(inputs: [$input, $input]) { results { created task { id } userErrors { code message field } } }
}
"""

pytestmark = pytest.mark.usefixtures("announced")


async def _create(front: Front, principal: Principal, x: int = 1) -> dict[str, Any]:
    input_ = {"name": "add", "kwargs": {"x": x}, "idempotencyKey": "k", "metadata": {"team": "red"}}
    created: dict[str, Any] = (await front.acting_as(principal).data(CREATE, input=input_))["createTask"]
    return created


async def test_each_principal_has_keys_of_its_own(front: Front) -> None:
    """Owners, subjects of the same name in two tenants, a token with a filter and administrators share no key."""
    ids: dict[str, str] = {}
    for name, principal in [*PRINCIPALS.items(), ("anonymous", ANONYMOUS)]:
        first = await _create(front, principal)
        assert first["created"], name
        ids[name] = first["task"]["id"]
    assert len({*ids.values()}) == len(ids)
    for name, principal in [*PRINCIPALS.items(), ("anonymous", ANONYMOUS)]:
        again = await _create(front, principal)
        assert (again["created"], again["task"]["id"]) == (False, ids[name])
        (error,) = (await _create(front, principal, x=2))["userErrors"]
        assert error["code"] == "IDEMPOTENCY_CONFLICT"
        assert ids[name] in error["message"]
        assert not any(id_ in error["message"] for other, id_ in ids.items() if other != name)


@pytest.mark.parametrize("x", [1, 2])
async def test_a_conflict_hands_over_no_task_that_has_left_the_visibility(front: Front, x: int) -> None:
    """The key of a task that its token does not see any more is taken, and nothing of that task is in the answer."""
    created = (await _create(front, RED))["task"]["id"]
    update = (
        'mutation ($id: ID!) { updateTaskMetadata(id: $id, operations: [{op: SET, path: "team", value: "blue"}]) '
        "{ userErrors { code } } }"
    )
    await front.acting_as(ALICE).data(update, id=created)
    one = await _create(front, RED, x)
    input_ = {"name": "add", "kwargs": {"x": x}, "idempotencyKey": "k", "metadata": {"team": "red"}}
    many = (await front.acting_as(RED).data(CREATE_MANY, input=input_))["createTasks"]["results"]
    for answer in (one, *many):
        assert (answer["created"], answer["task"]) == (False, None)
        (error,) = answer["userErrors"]
        assert (error["code"], error["field"]) == ("IDEMPOTENCY_CONFLICT", ["input", "idempotencyKey"])
        assert created not in json.dumps(answer)


async def test_keys_of_records_without_a_space_stay_with_those_who_see_everything(
    front: Front, tasks: Collection[Document]
) -> None:
    """A key that was stored without authentication is found without it, and by no principal."""
    old = (await _create(front, ANONYMOUS))["task"]["id"]
    assert fields.KEY_SPACE not in (tasks.find_one({"_id": old}) or {})
    for principal in (ALICE, BOB, CAROL, RED, HEAD, ADMIN):
        assert (await _create(front, principal))["created"]
    assert (await _create(front, ANONYMOUS))["task"]["id"] == old


async def test_the_index_of_an_earlier_version_makes_way(front: Front, tasks: Collection[Document]) -> None:
    """It would refuse a key in two spaces of one owner: the API drops it when it starts, and keeps the records."""
    keys = [(fields.OWNER, 1), (fields.NAME, 1), (fields.IDEMPOTENCY_KEY, 1)]
    has_key = {fields.IDEMPOTENCY_KEY: {"$exists": True}}
    tasks.drop_indexes()
    tasks.create_index(keys, unique=True, partialFilterExpression=has_key)
    assert fields.FORMER_UNIQUE_INDEX in tasks.index_information()
    await front.services.store.create_many(
        [NewTask(id=f"old{n}", name=f"add{n % 2}", idempotency_key=f"k{n // 2}") for n in range(4)]
    )
    await front.services.store.indexes.create()
    await front.services.store.indexes.create()  # another process
    indexes = tasks.index_information()
    assert fields.FORMER_UNIQUE_INDEX not in indexes
    assert {index["key"][-1][0] for index in indexes.values() if index.get("unique")} == {fields.KEY_SPACE}
    # How an API of that version, which still runs, looks for a key.
    found = tasks.find({fields.OWNER: None, fields.NAME: "add0", fields.IDEMPOTENCY_KEY: "k0"})
    assert found.explain()["executionStats"]["totalDocsExamined"] == 1
    assert tasks.count_documents({}) == 4
    assert [(await _create(front, principal))["created"] for principal in (ALICE, RED, ALICE)] == [True, True, False]
