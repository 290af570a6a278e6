"""The slots for lists, shared by the requests of several principals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from front import Front
from list_slots import wait_for_slots
from opened import Client, Open

from gql_api.access.principal import ALL_SCOPES, Principal
from gql_api.access.visibility import EVERYTHING
from gql_api.api.store.slots import one_requester
from gql_api.query.lists import OLDEST_FIRST, PageRequest
from gql_api.record.model import NewTask

_ALICE, _BOB = Principal("alice", ALL_SCOPES, "acme"), Principal("bob", ALL_SCOPES, "acme")
_SLOW = {"$where": "sleep(9000) || true"}
_LIST = {"query": "{ tasks(first: 1) { nodes { id } } }"}


@contextlib.asynccontextmanager
async def _slow_lists(front: Front, count: int) -> AsyncIterator[None]:
    """Run so many slow lists, each in a request of its own, meanwhile."""
    lists = front.services.store.lists
    await front.services.store.create(NewTask(id="one", name="add"))
    tasks = []
    for _ in range(count):
        with one_requester(_ALICE):
            tasks.append(asyncio.create_task(lists.page(_SLOW, PageRequest(OLDEST_FIRST, 1), EVERYTHING)))
    await asyncio.sleep(0)  # the tasks begin
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_the_many_requests_of_a_principal_leave_slots_to_others(opened: Open, client_of: Client) -> None:
    """That needs no setting: the lists of another one are answered while those of the first wait for slots."""
    async with opened() as front, _slow_lists(front, 40), client_of(front, _BOB) as bob:
        assert (await bob.post("/graphql", json=_LIST)).status_code == 200
        assert (await bob.get("/tasks")).status_code == 200


async def test_a_principal_waits_for_its_own_lists(
    opened: Open, client_of: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has waited too long for slots within the quota has an error that names it, over GraphQL and REST."""
    async with (
        opened(quota_list_slots=2) as front,
        _slow_lists(front, 2),
        client_of(front, _ALICE) as alice,
        client_of(front, _BOB) as bob,
    ):
        wait_for_slots(front, 0.5, monkeypatch)
        waiting = [asyncio.create_task(sent) for sent in (alice.post("/graphql", json=_LIST), alice.get("/tasks"))]
        assert (await bob.post("/graphql", json=_LIST)).status_code == 200
        answer, rest = await asyncio.gather(*waiting)
        assert answer.json()["errors"][0]["extensions"] == {
            "code": "QUOTA_EXCEEDED",
            "limit": "list slots of a principal",
            "max": 2,
            "retryAfter": 1,
        }
        assert (answer.status_code, rest.status_code) == (429, 429)
        assert (answer.headers["retry-after"], rest.headers["retry-after"]) == ("1", "1")
        assert (await alice.post("/graphql", json={"query": "{ __typename }"})).status_code == 200
