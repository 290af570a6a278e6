"""Pages of tasks: who shares a read, what it costs, and by which index it is made."""

from __future__ import annotations

import asyncio
import itertools

from front import Commands, Front
from owners import ALICE, BOB, HEAD

from gql_api.record.model import NewTask

_LIST = "query ($first: Int, $name: String!) { tasks(first: $first, filter: {names: [$name]}) { nodes { id name } } }"
_ROWS = """{ tasks(first: 3) { nodes { ...A } edges { cursor node { ...A history { status at } } } totalCount } }
fragment A on Task { id status createdAt metadata progress { percent } result }"""


def _finds(commands: Commands) -> int:
    return commands.counts()["find"]


async def test_equal_lists_of_a_moment_share_a_read(commands: Commands, front: Front) -> None:
    """Many equal requests cost a few queries and have whole answers; other fields, pages and filters are not equal."""
    await front.services.store.create_many([NewTask(id=f"t{n}", name="add", metadata={"n": n}) for n in range(5)])
    commands.sent.clear()
    answers = await asyncio.gather(*(front.data(_ROWS) for _ in range(50)))
    assert _finds(commands) <= 3
    assert all(answer == answers[0] for answer in answers)
    assert [len(answers[0]["tasks"][name]) for name in ("nodes", "edges")] == [3, 3]
    commands.sent.clear()
    asked = itertools.product((1, 2), ("add", "other"), (_LIST, _LIST.replace("id name", "id queue")))
    lists = [front.data(document, first=first, name=name) for first, name, document in asked]
    found = [len(each["tasks"]["nodes"]) for each in await asyncio.gather(*lists)]
    assert found == [1, 1, 0, 0, 2, 2, 0, 0]
    assert _finds(commands) == 8


async def test_lists_of_different_callers_are_not_shared(commands: Commands, front: Front) -> None:
    """Each has the tasks that it may see, also two who see the same: a slot of one is not a slot of the other."""
    made = [NewTask(id=owner, name="add", owner=owner, tenant="acme") for owner in ("alice", "bob")]
    await front.services.store.create_many(made)
    commands.sent.clear()
    callers = [front.acting_as(principal) for principal in (ALICE, BOB, HEAD)] * 5
    answers = await asyncio.gather(*(caller.data(_LIST, name="add") for caller in callers))
    seen = [sorted(node["id"] for node in answer["tasks"]["nodes"]) for answer in answers]
    assert seen == [["alice"], ["bob"], ["alice", "bob"]] * 5
    assert 3 <= _finds(commands) <= 6


async def test_a_shared_list_is_never_older_than_its_request(front: Front) -> None:
    """While equal lists are read all the time, each has every task that was created before it was requested."""
    store = front.services.store
    over = asyncio.Event()

    async def keep_listing() -> None:
        while not over.is_set():
            await front.data(_LIST, first=500, name="add")

    others = [asyncio.create_task(keep_listing()) for _ in range(8)]
    try:
        for number in range(40):
            await store.create(NewTask(id=f"t{number:02}", name="add"))
            found = (await front.data(_LIST, first=500, name="add"))["tasks"]["nodes"]
            assert len(found) == number + 1
    finally:
        over.set()
        await asyncio.gather(*others)


async def test_a_page_comes_in_one_batch(commands: Commands, front: Front) -> None:
    """The largest page is one command, and MongoDB keeps no cursor for it."""
    await front.services.store.create_many([NewTask(id=f"t{n:03}", name="add") for n in range(600)])
    commands.sent.clear()
    assert len((await front.data(_LIST, first=500, name="add"))["tasks"]["nodes"]) == 500
    assert commands.counts() == {"find": 1}


async def test_a_shared_list_costs_each_answer_its_bytes(narrow: Front) -> None:
    """Answers that could not afford the list alone fail, and a small list beside them does not."""
    store = narrow.services.store
    await store.create_many([NewTask(id=f"t{n}", name="add", kwargs={"x": "x" * 300_000}) for n in range(3)])
    large = "{ tasks(first: 3) { nodes { kwargs } } }"
    twice = "{ a: tasks(first: 2) { nodes { kwargs } } b: tasks(first: 2) { nodes { kwargs } } }"
    once = "{ a: tasks(first: 2) { nodes { kwargs } } }"
    answers = await asyncio.gather(*(narrow.ask(document) for document in (large, once, twice, large, once)))
    codes = [[(error.extensions or {}).get("code") for error in answer.errors or ()] for answer in answers]
    assert [{*each} for each in codes] == [set(), set(), {"ANSWER_TOO_LARGE"}, set(), set()]
