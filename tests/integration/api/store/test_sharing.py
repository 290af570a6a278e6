"""Lists of many requests at once, over HTTP: none of them keeps the others waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from front import Front
from list_slots import wait_for_slots

from gql_api.access.visibility import EVERYTHING
from gql_api.api.store.slots import one_requester
from gql_api.app import create_app, open_services
from gql_api.query.lists import OLDEST_FIRST, PageRequest
from gql_api.record.model import NewTask
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_SLOW = {"$where": "sleep(9000) || true"}
_LIST = "{ tasks(first: 1) { nodes { id } } }"


@pytest.fixture
async def front(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """The API whose lists wait half a second for a slot."""
    app = create_app(settings)
    async with open_services(settings) as services:
        app.state.services = services
        await services.store.create(NewTask(id="one", name="add"))
        front = Front(app)
        wait_for_slots(front, 0.5, monkeypatch)
        yield front


@pytest.fixture
async def client(front: Front) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front.app), base_url="http://localhost") as client:
        yield client


@contextlib.asynccontextmanager
async def _slow_lists(front: Front, count: int, *, of_one: bool) -> AsyncIterator[None]:
    """Run so many slow lists, of one request or of as many, meanwhile."""
    page = PageRequest(OLDEST_FIRST, 1)
    with one_requester() if of_one else contextlib.nullcontext():
        tasks = [asyncio.create_task(front.services.store.lists.page(_SLOW, page, EVERYTHING)) for _ in range(count)]
    await asyncio.sleep(0)  # the tasks begin
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_one_request_does_not_take_all_slots(client: httpx.AsyncClient, front: Front) -> None:
    """A request with many slow lists has its share of the slots, and the lists of others are answered meanwhile."""
    async with _slow_lists(front, 32, of_one=True):
        answer = await client.post("/graphql", json={"query": _LIST})
        assert answer.json() == {"data": {"tasks": {"nodes": [{"id": "one"}]}}}


async def test_a_list_without_a_slot_is_overloaded(client: httpx.AsyncClient, front: Front) -> None:
    """While MongoDB answers, a list that gets no slot says when to try again, and does not blame MongoDB."""
    async with _slow_lists(front, 16, of_one=False):
        answer, page = await asyncio.gather(client.post("/graphql", json={"query": _LIST}), client.get("/tasks"))
    for each in (answer, page):
        assert (each.status_code, each.headers["retry-after"]) == (503, "1")
        assert each.json()["errors"][0]["message"].startswith("Other calls of MongoDB did not end within 0.5 s, try")
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "OVERLOADED", "limit": "slots", "retryAfter": 1}


async def test_without_mongodb_it_is_an_outage(settings: Settings) -> None:
    """While MongoDB does not answer, a list without a slot is not told that others are too slow."""
    seconds = {"store_timeout_seconds": 0.5, "query_timeout_seconds": 0.5}
    away = settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:1", **seconds})
    app = create_app(away)
    async with open_services(away) as services:
        app.state.services = services
        front = Front(app)
        results = await asyncio.gather(*(front.ask(_LIST) for _ in range(40)))
    codes = {(error.extensions or {})["code"] for result in results for error in result.errors or []}
    assert codes == {"SERVICE_UNAVAILABLE"}
