"""What a token allows of the tasks that it creates and changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from front import Front
from owners import ADMIN, ALICE, RED
from pymongo import MongoClient
from pymongo.collection import Collection

from gql_api.access.principal import Principal, Restrictions
from gql_api.query.filter import TaskFilter
from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

CREATE = """
mutation ($input: CreateTaskInput!) {
  createTask(input: $input) { created task { id name owner metadata priority } userErrors { code message field } }
}
"""
CREATE_MANY = """
mutation ($input: CreateTaskInput!) {
  createTasks(inputs: [$input]) { results { created task { id metadata } userErrors { code message field } } }
}
"""
REPLAY = """
mutation ($id: ID!, $metadata: JSON) {
  replayTask(id: $id, metadata: $metadata) {
    created task { id owner metadata priority } userErrors { code message field }
  }
}
"""
UPDATE = """
mutation ($id: ID!, $operations: [MetadataOperation!]!) {
  updateTaskMetadata(id: $id, operations: $operations) { task { id metadata } userErrors { code message field } }
}
"""


@pytest.fixture(autouse=True)
def free(settings: Settings, announced: TaskDefinition) -> TaskDefinition:
    """A task function beside ``add`` that has no limit of its own and takes everything."""
    definition = TaskDefinition("free", {"type": "object"}, queue="frees", extra_args=True)
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        filter_, update = workers.announce(definition)
        client[settings.mongodb_database][fields.DEFINITIONS].update_one(filter_, update, upsert=True)
    assert announced.time_limit is not None
    return definition


def _restricted(principal: Principal = ALICE, **restrictions: Any) -> Principal:
    return replace(principal, restrictions=Restrictions(**restrictions))


async def _create(front: Front, principal: Principal, **input_: Any) -> dict[str, Any]:
    created: dict[str, Any] = (
        await front.acting_as(principal).data(CREATE, input={"name": "add", "kwargs": {"x": 1}, **input_})
    )["createTask"]
    return created


async def test_a_name_that_is_not_allowed_looks_like_an_unknown_one(front: Front) -> None:
    """Its error has the same code and message, taskDefinitions leaves it out, and a replay of it is refused alike."""
    task_id = (await _create(front, ALICE))["task"]["id"]
    limited = _restricted(names=frozenset({"free", "other"}))
    (refused,) = (await _create(front, limited))["userErrors"]
    (unknown,) = (await _create(front, ALICE, name="none"))["userErrors"]
    assert refused == {**unknown, "message": unknown["message"].replace("'none'", "'add'")}
    assert refused["code"] == "UNKNOWN_TASK_NAME"
    (replayed,) = (await front.acting_as(limited).data(REPLAY, id=task_id))["replayTask"]["userErrors"]
    assert replayed == refused
    many = await front.acting_as(limited).data(CREATE_MANY, input={"name": "add", "kwargs": {"x": 1}})
    assert many["createTasks"]["results"][0]["userErrors"] == [refused]
    assert (await front.acting_as(limited).data("{ taskDefinitions { name } }"))["taskDefinitions"] == [
        {"name": "free"}
    ]
    assert (await _create(front, limited, name="free"))["created"]


@pytest.mark.parametrize(
    ("restrictions", "given", "path"),
    [
        ({"queues": frozenset({"other"})}, {}, "queue"),
        ({"queues": frozenset({"other"})}, {"queue": "sums"}, "queue"),
        ({"min_priority": 3}, {"priority": 2}, "priority"),
        ({"max_time_limit_seconds": 5}, {"timeLimitSeconds": 6}, "timeLimitSeconds"),
    ],
)
async def test_what_a_token_does_not_allow_is_refused(
    front: Front, tasks: Collection[Document], restrictions: dict[str, Any], given: dict[str, Any], path: str
) -> None:
    """The error names the argument, nothing is stored, and the same call passes without the restriction."""
    (error,) = (await _create(front, _restricted(**restrictions), **given))["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", path])
    assert error["message"].startswith(f"{path}: ")
    assert tasks.count_documents({}) == 0
    assert (await _create(front, ALICE, **given))["created"]


async def test_what_is_left_out_is_within_the_bounds_of_the_token(front: Front, tasks: Collection[Document]) -> None:
    """A task gets the priority and the time limit that its token allows, a stricter limit of its function stays."""
    limited = _restricted(min_priority=4, max_time_limit_seconds=60, queues=frozenset({"sums", "frees"}))
    ids = {name: (await _create(front, limited, name=name))["task"]["id"] for name in ("add", "free")}
    ids["urgent"] = (await _create(front, ALICE, name="free", priority=1))["task"]["id"]
    ids["replay"] = (await front.acting_as(limited).data(REPLAY, id=ids["urgent"]))["replayTask"]["task"]["id"]
    stored = {name: tasks.find_one({"_id": id_}) or {} for name, id_ in ids.items()}
    assert [stored[name]["priority"] for name in ids] == [4, 4, 1, 4]
    limits = [stored[name].get("message_parts", {}).get("headers", {}).get("timelimit") for name in ids]
    assert limits == [None, [60, None], None, [60, None]]


@pytest.mark.parametrize("document", [CREATE, CREATE_MANY])
async def test_the_metadata_of_the_token_wins(front: Front, document: str) -> None:
    """It is merged key by key into what the caller sent, and its values replace the caller's."""
    token = _restricted(metadata={"customer": {"id": "c-42"}, "tags": ["a"]})
    sent = {"customer": {"id": "c-1", "tier": "gold"}, "tags": ["b", "c"], "own": 1}
    data = await front.acting_as(token).data(document, input={"name": "add", "kwargs": {"x": 1}, "metadata": sent})
    payload = data["createTask"] if "createTask" in data else data["createTasks"]["results"][0]
    assert payload["userErrors"] == []
    assert payload["task"]["metadata"] == {"customer": {"id": "c-42", "tier": "gold"}, "tags": ["a"], "own": 1}
    # A value in the place of an object is replaced as well.
    assert (await _create(front, token, metadata={"customer": 5}))["task"]["metadata"]["customer"] == {"id": "c-42"}
    (error,) = (await _create(front, token, metadata=[]))["userErrors"]
    assert error["message"] == "metadata: must be a JSON object"
    # An empty object is a value too, which an update cannot change either.
    assert (await _create(front, _restricted(metadata={"roles": {}}), metadata={"roles": {"admin": True}}))["task"][
        "metadata"
    ] == {"roles": {}}


async def test_a_replay_has_the_metadata_of_the_token(front: Front) -> None:
    """Neither the metadata of the repeated task nor the caller's can replace it."""
    token = _restricted(metadata={"by": "token"})
    task_id = (await _create(front, ALICE, metadata={"by": "alice", "n": 1}))["task"]["id"]
    replayed = (await front.acting_as(token).data(REPLAY, id=task_id))["replayTask"]["task"]
    assert replayed["metadata"] == {"by": "token", "n": 1}
    replayed = (await front.acting_as(token).data(REPLAY, id=task_id, metadata={"by": "me"}))["replayTask"]["task"]
    assert replayed["metadata"] == {"by": "token"}


async def test_a_key_compares_what_is_stored(front: Front) -> None:
    """Two inputs that the metadata of the token makes equal are one task, and tokens with other metadata conflict."""
    first, second = (_restricted(metadata={"session": number}) for number in (1, 2))
    one = await _create(front, first, idempotencyKey="k", metadata={"session": 7})
    again = await _create(front, first, idempotencyKey="k")
    other = await _create(front, second, idempotencyKey="k")
    assert (one["created"], again["created"]) == (True, False)
    assert again["task"]["id"] == one["task"]["id"]
    assert [error["code"] for error in other["userErrors"]] == ["IDEMPOTENCY_CONFLICT"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "SET", "path": "customer.id", "value": "c-1"},
        {"op": "SET", "path": "customer", "value": {"tier": "gold"}},
        {"op": "UNSET", "path": "customer"},
        {"op": "APPEND", "path": "tags", "value": "b"},
        {"op": "INCREMENT", "path": "level", "value": 1},
        {"op": "SET", "path": "level", "value": True},
    ],
)
async def test_a_token_cannot_change_its_own_metadata(front: Front, operation: dict[str, Any]) -> None:
    """An operation on it or on an object around it is refused with its path, others on the task succeed."""
    token = _restricted(metadata={"customer": {"id": "c-42"}, "tags": ["a"], "level": 1})
    task = (await _create(front, token))["task"]
    fine = {"op": "SET", "path": "customer.tier", "value": "gold"}
    update = await front.acting_as(token).data(UPDATE, id=task["id"], operations=[fine, operation])
    (error,) = update["updateTaskMetadata"]["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["operations"])
    assert operation["path"] in error["message"]
    update = await front.acting_as(token).data(UPDATE, id=task["id"], operations=[fine])
    assert update["updateTaskMetadata"]["task"]["metadata"]["customer"] == {"id": "c-42", "tier": "gold"}
    update = await front.acting_as(ALICE).data(UPDATE, id=task["id"], operations=[operation])
    assert update["updateTaskMetadata"]["userErrors"] == []


async def test_nothing_leaves_the_visibility_of_its_creator(front: Front, tasks: Collection[Document]) -> None:
    """A task that its token would not see is refused before it is stored, created or replayed, alone or among many."""
    red = (await _create(front, RED, metadata={"team": "red"}))["task"]["id"]
    before = [*tasks.find({})]
    refusals = [(await _create(front, RED, metadata={"team": "blue"}))["userErrors"]]
    many = {"name": "add", "kwargs": {"x": 1}}
    refusals.append(
        (await front.acting_as(RED).data(CREATE_MANY, input=many))["createTasks"]["results"][0]["userErrors"]
    )
    refusals.append((await front.acting_as(RED).data(REPLAY, id=red, metadata={}))["replayTask"]["userErrors"])
    only = replace(ALICE, filter=TaskFilter(ids=["a"]))
    refusals.append((await _create(front, only))["userErrors"])
    assert {(error["code"], *error["field"]) for (error,) in refusals} == {("INVALID_INPUT", "input")}
    operations = [{"op": "SET", "path": "team", "value": "blue"}]
    update = (await front.acting_as(RED).data(UPDATE, id=red, operations=operations))["updateTaskMetadata"]
    (error,) = update["userErrors"]
    assert (error["code"], error["field"], update["task"]) == ("INVALID_INPUT", ["operations"], None)
    assert [*tasks.find({})] == before
    # Its owner may do that, and the token does not see it any more.
    await front.acting_as(ALICE).data(UPDATE, id=red, operations=operations)
    update = (await front.acting_as(RED).data(UPDATE, id=red, operations=operations))["updateTaskMetadata"]
    assert [error["code"] for error in update["userErrors"]] == ["NOT_FOUND"]


async def test_a_filter_on_the_name_and_queue_is_checked_before_the_write(front: Front) -> None:
    """A token for the tasks of one function or queue can create those, and no others."""
    by_name, by_queue = (replace(ALICE, filter=each) for each in (TaskFilter(names=["add"]), TaskFilter(queues=["q"])))
    assert (await _create(front, by_name))["created"]
    assert (await _create(front, by_name, name="free"))["userErrors"]
    assert (await _create(front, by_queue))["userErrors"]


async def test_children_and_replays_belong_to_the_owner_of_their_task(front: Front) -> None:
    """An administrator's child of a task, and a replay of it, are its owner's, with the administrator as the actor."""
    task_id = (await _create(front, ALICE))["task"]["id"]
    child = (await _create(front, ADMIN, parentId=task_id))["task"]
    replay = (await front.acting_as(ADMIN).data(REPLAY, id=task_id))["replayTask"]["task"]
    assert (child["owner"], replay["owner"]) == ("alice", "alice")
    seen = {node["id"] for node in (await front.acting_as(ALICE).data("{ tasks { nodes { id } } }"))["tasks"]["nodes"]}
    assert seen == {task_id, child["id"], replay["id"]}
    record = await front.services.store.get(child["id"], ADMIN.visibility)
    assert record is not None
    assert (record.tenant, record.history[0].actor) == ("acme", "root")
    # Of a task without an owner, they have none either.
    await front.services.store.create_many([NewTask(id="old", name="add", args=[1])])
    assert (await _create(front, ADMIN, parentId="old"))["task"]["owner"] is None


async def test_a_forced_time_limit_that_no_worker_can_keep_names_the_token(front: Front, free: TaskDefinition) -> None:
    """The caller cannot leave the limit out, so the error does not advise that."""
    definition = replace(free, unlimited=(("frees", "solo"),))
    limited = _restricted(max_time_limit_seconds=60)
    creator = front.services.creator
    definitions = creator._definitions  # noqa: SLF001 - live workers are expensive
    await definitions.of(["free"])
    definitions._known["free"] = math.inf, definition  # noqa: SLF001 - as above; it is not read again
    (error,) = (await _create(front, limited, name="free"))["userErrors"]
    assert "the token requires a limit, so name another queue" in error["message"]
