"""The walk over all mutations and REST routes: a task that is not visible is neither named nor changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from owners import PRINCIPALS, client_of
from walk import BULK, WRITES, bulk, on_id
from world import UNKNOWN, World

from gql_api.record import fields
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.registry import workers
from gql_api.registry.definitions import TaskDefinition

VIEWERS = ("alice", "bob", "carol", "red", "head")
_LIST = "{ tasks(first: 100) { nodes { id } totalCount } }"


def _can(action: str, task: Document) -> bool:
    """Return whether a bulk mutation changes a visible task."""
    if action == "cancel":
        return task["status"] not in FINAL_NAMES and task.get(fields.CANCEL_REQUESTED_AT) is None
    return task["status"] in FINAL_NAMES if action == "delete" else not task.get(fields.REPLAYED)


async def test_a_foreign_id_looks_like_an_unknown_one(world: World) -> None:
    """Each mutation by id has the same answer for both, sends MongoDB the same commands, and changes nothing."""
    before = world.documents("admin")
    for name in VIEWERS:
        front = world.acting_as(name)
        hidden = [each["_id"] for each in world.documents(name, visible=False) if each["metadata"]["n"] in (0, 3, 4)]
        for write, document in WRITES.items():
            answers = {}
            for task_id in (UNKNOWN, *hidden):
                world.commands.sent.clear()
                result = await front.ask(on_id("mutation", document), id=task_id)
                assert result.errors is None, write
                assert "userErrors" in str(result.data)
                world.check_no_leak(name, result.data, but=task_id)
                text = json.dumps(result.data, default=str).replace(task_id, "ID")
                answers[task_id] = text, world.commands.counts()
            different = {task_id for task_id, answer in answers.items() if answer != answers[UNKNOWN]}
            assert different == set(), (name, write, answers)
            assert answers[UNKNOWN][1], write
    assert world.documents("admin") == before


@pytest.mark.parametrize("name", ["bob", "carol", "red", "head"])
async def test_bulk_mutations_change_the_visible_tasks_only(world: World, name: str) -> None:
    """They count and change exactly the visible ones, in a dry run and without, and every other record stays."""
    front = world.acting_as(name)
    hidden = world.documents(name, visible=False)
    for action, document in BULK.items():
        for dry_run in (True, False, True):
            matched = sum(_can(action, each) for each in world.documents(name))
            data = (await front.data(bulk(document), dryRun=dry_run))[f"{action}Tasks"]
            assert data == {"matched": matched, "changed": 0 if dry_run else matched, "userErrors": []}
            assert matched or action != "replay"
        assert world.documents(name, visible=False) == hidden


async def test_a_cascade_stops_at_tasks_of_others(world: World) -> None:
    """Visible descendants are cancelled; a child of somebody else stays, and so does what is below it."""
    (root,) = [each for each in world.documents("bob") if each["metadata"]["n"] == 0]
    (beyond,) = [each for each in world.documents("bob") if each["metadata"]["n"] == 6]
    children = {each["_id"]: each for each in world.documents("admin") if each["parent_id"] == root["_id"]}
    own = children.keys() & world.ids("bob")
    assert own < children.keys()
    hidden = world.documents("bob", visible=False)
    await world.acting_as("bob").data(on_id("mutation", WRITES["cancelTask"]), id=root["_id"])
    assert {each["status"] for each in world.documents("bob") if each["_id"] in own} == {"REVOKED", "SUCCESS"}
    assert world.documents("bob", visible=False) == hidden
    assert beyond in world.documents("bob")


async def test_what_a_principal_creates_is_its_own(world: World) -> None:
    """Creations, replays and changes are stored with the owner, its tenant and the caller as the actor."""
    for name in ("alice", "bob", "carol", "red", "head"):
        front, principal = world.acting_as(name), PRINCIPALS[name]
        root = next(each for each in world.documents(name) if each["metadata"].get("n") == 0)
        before = world.ids("admin")
        for write in ("createTask", "createTasks", "replayTask"):
            data = (await front.data(on_id("mutation", WRITES[write]), id=root["_id"]))[write]
            world.check_no_leak(name, data)
            assert "'userErrors': [{" not in str(data)
        made = [each for each in world.documents("admin") if each["_id"] not in before]
        assert len(made) == 3
        assert {each["_id"] for each in made} <= world.ids(name)
        for each in made:
            assert (each["owner"], each["tenant"]) == (root["owner"], principal.tenant)
            assert each["history"][0]["actor"] == principal.subject
        await front.data(on_id("mutation", WRITES["cancelTask"]), id=made[0]["_id"])
        (cancelled,) = [each for each in world.documents(name) if each["_id"] == made[0]["_id"]]
        assert cancelled["history"][-1]["actor"] == principal.subject


async def test_rest_routes_show_the_visible_tasks_only(world: World) -> None:
    """A foreign id has the answer of an unknown one, lists have own tasks, and a new task belongs to the caller."""
    # Not in the default queue: workers of other tests know the function, and it takes half a minute.
    queue = f"{world.tasks.database.name}-rest"
    definition, update = workers.announce(
        TaskDefinition("long_running_task", {"type": "object"}, queue=queue, extra_args=True)
    )
    world.tasks.database[fields.DEFINITIONS].update_one(definition, update, upsert=True)
    for name in VIEWERS:
        async with client_of(world.front, name) as client:
            answers: dict[str, tuple[Any, ...]] = {}
            for task_id in (UNKNOWN, *world.ids(name, visible=False)):
                response = await client.get(f"/task/{task_id}")
                answers[task_id] = response.status_code, response.content
            assert {*answers.values()} == {answers[UNKNOWN]}
            assert answers[UNKNOWN][0] == 404
            listed = {each["task_id"] for each in (await client.get("/tasks", params={"first": 100})).json()}
            assert listed == world.ids(name)
            one = (await client.get("/tasks", params={"first": 1})).headers["link"]
            world.check_no_leak(name, one)
            answer = (await client.post("/graphql", json={"query": _LIST})).json()
            assert {node["id"] for node in answer["data"]["tasks"]["nodes"]} == world.ids(name)
            assert answer["data"]["tasks"]["totalCount"] == len(listed)
            created = (await client.post("/create-task", json={"task_input": "a", "team": "red"})).json()
            assert created in world.ids(name)
