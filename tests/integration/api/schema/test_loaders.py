from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from front import Commands, Front

from gql_api.record.model import NewTask

RELATED = """
query ($first: Int) {
  tasks(first: $first, filter: {names: ["middle"]}) {
    nodes { id parent { id } replayOf { id } children(first: 3) { nodes { id } totalCount } }
  }
}
"""


async def _family(front: Front, count: int) -> None:
    """Tasks that each have a parent, four children and one that they repeat, none of them in common."""
    made = []
    for number in range(count):
        made += [NewTask(id=f"{kind}{number:03}", name=kind) for kind in ("parent", "first")]
        made.append(
            NewTask(id=f"m{number:03}", name="middle", parent_id=f"parent{number:03}", replay_of=f"first{number:03}")
        )
        made += [NewTask(id=f"c{number:03}{n}", name="child", parent_id=f"m{number:03}") for n in range(4)]
    await front.services.store.create_many(made)


@pytest.mark.parametrize("first", [1, 100])
async def test_a_page_costs_the_same_commands_however_long_it_is(commands: Commands, front: Front, first: int) -> None:
    """Parents and replayed tasks of a page come by one query, children by one, and their numbers by one."""
    await _family(front, 100)
    commands.sent.clear()
    nodes = (await front.data(RELATED, first=first))["tasks"]["nodes"]
    assert len(nodes) == first
    for node in nodes:
        number = node["id"][1:]
        assert (node["parent"]["id"], node["replayOf"]["id"]) == (f"parent{number}", f"first{number}")
        assert len(node["children"]["nodes"]) == 3
        assert {child["id"][:4] for child in node["children"]["nodes"]} == {f"c{number}"}
        assert node["children"]["totalCount"] == 4
    # MongoDB answers with 101 documents at first: more of them take a second round trip, and no third.
    more = {"getMore": 2} if first == 100 else {}
    assert commands.counts() == Counter({"find": 2, "aggregate": 2, **more})


async def test_what_is_not_selected_is_not_counted(commands: Commands, front: Front) -> None:
    """A page without totalCount is one query, for its children too."""
    await _family(front, 3)
    commands.sent.clear()
    await front.data("{ tasks { nodes { id } pageInfo { hasNextPage } } }")
    assert commands.counts() == {"find": 1}
    await front.data('{ tasks(filter: {names: ["x"]}) { totalCount } }')
    assert commands.counts() == {"find": 2, "aggregate": 1}
    commands.sent.clear()
    await front.data('{ task(id: "m000") { children { nodes { id } } } }')
    assert commands.counts() == {"find": 1, "aggregate": 1}


async def test_pages_of_children_differ_by_their_arguments(front: Front) -> None:
    """Each alias has the children that it asked for, though all come together."""
    await _family(front, 2)
    query = """{
      tasks(filter: {names: ["middle"]}) { nodes {
        id two: children(first: 2) { nodes { id } pageInfo { hasNextPage } }
        again: children(first: 2) { nodes { id } pageInfo { hasNextPage } }
        all: children(first: 9) { nodes { id } pageInfo { hasNextPage } }
      } }
      task(id: "c0000") { children { nodes { id } totalCount } }
    }"""
    data = await front.data(query)
    for node in data["tasks"]["nodes"]:
        every = [child["id"] for child in node["all"]["nodes"]]
        assert sorted(every) == [f"c{node['id'][1:]}{n}" for n in range(4)]
        assert [child["id"] for child in node["two"]["nodes"]] == every[:2]
        assert node["again"] == node["two"]
        assert (node["two"]["pageInfo"]["hasNextPage"], node["all"]["pageInfo"]["hasNextPage"]) == (True, False)
    assert data["task"]["children"] == {"nodes": [], "totalCount": 0}


async def test_ids_that_are_asked_for_together_are_one_query(commands: Commands, front: Front) -> None:
    """However a request spells it, and over requests too: reads by id that arrive together are one find."""
    await _family(front, 100)
    ids = [f"m{number:03}" for number in range(100)]
    commands.sent.clear()
    asked = [*reversed(ids), "none", ids[0], "\ud800"]
    nodes = (await front.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=asked))["nodes"]
    assert nodes == [{"id": task_id} if task_id in ids else None for task_id in asked]
    assert commands.counts() == {"find": 1}
    commands.sent.clear()
    aliases = " ".join(f'{task_id}: task(id: "{task_id}") {{ id }}' for task_id in ids)
    assert await front.data(f"{{ {aliases} }}") == {task_id: {"id": task_id} for task_id in ids}
    assert commands.counts() == {"find": 1}
    commands.sent.clear()
    answers = await asyncio.gather(*(front.data(f'{{ task(id: "{task_id}") {{ id }} }}') for task_id in ids[:20]))
    assert [answer["task"]["id"] for answer in answers] == ids[:20]
    assert commands.counts() == {"find": 1}
