"""Answers that nobody needs any more, or that go wrong too often, are not completed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import plain_http
import pytest
from front import Commands, Front
from sockets import socket_of
from starlette.applications import Starlette
from support import wait_until_async
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gql_api.app import create_app, open_services
from gql_api.record.model import NewTask
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

# Equal ones would share a read.
_LISTS = "{ " + " ".join(f"a{number}: tasks(first: {number}) {{ nodes {{ id }} }}" for number in range(1, 6)) + " }"


class _Slots:
    """All slots for lists of an application, until ``free`` is set."""

    def __init__(self, front: Front) -> None:
        self.free = asyncio.Event()
        self._limiter = front.services.store.lists.limiter
        self._holding = [asyncio.create_task(self._limiter.use(self.free.wait)) for _ in range(16)]

    async def queue(self, length: int) -> None:
        """Wait until so many calls wait for a slot."""

        async def is_queued() -> bool:
            return self._limiter._slots.waiting == length  # noqa: SLF001 - nothing else shows the queue

        await wait_until_async(is_queued)

    async def release(self) -> None:
        """Free all slots."""
        self.free.set()
        await asyncio.gather(*self._holding)


@pytest.fixture
async def patient(commands: Commands, settings: Settings) -> AsyncIterator[Front]:
    """An API whose calls of MongoDB wait longer than any test, and are recorded."""
    limited = settings.model_copy(update={"store_timeout_seconds": 600.0, "query_timeout_seconds": 600.0})
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        await services.store.indexes.wait()
        commands.sent.clear()
        yield Front(app)


@pytest.fixture
async def slots(patient: Front) -> AsyncIterator[_Slots]:
    """The slots for lists."""
    slots = _Slots(patient)
    await slots.queue(0)
    yield slots
    await slots.release()


async def test_the_fields_of_a_client_that_disconnects_are_cancelled(
    commands: Commands, patient: Front, slots: _Slots
) -> None:
    """The lists that wait for MongoDB leave the queue, and are never read."""
    async with socket_of(patient.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        asking = asyncio.create_task(client.post("/graphql", json={"query": _LISTS}))
        await slots.queue(5)
        asking.cancel()
        await slots.queue(0)
        await slots.release()
        answer = (await client.post("/graphql", json={"query": "{ tasks { nodes { name } } }"})).json()
        assert answer == {"data": {"tasks": {"nodes": []}}}
    assert commands.counts() == {"find": 1}


async def test_the_fields_of_a_completed_operation_are_cancelled(
    commands: Commands, patient: Front, slots: _Slots
) -> None:
    """The same holds for an operation that a client of a socket completes."""
    async with (
        socket_of(patient.app) as port,
        connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as socket,
    ):
        await socket.send('{"type": "connection_init"}')
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": _LISTS}}))
        await slots.queue(5)
        await socket.send('{"type": "complete", "id": "1"}')
        await slots.queue(0)
    await slots.release()
    assert commands.counts() == {}


async def test_an_error_at_the_root_cancels_the_fields_beside_it(
    commands: Commands, patient: Front, slots: _Slots
) -> None:
    """The answer is the error, and does not wait for fields that it cannot have."""
    result = await patient.ask("{ a: tasks { nodes { id } } b: tasks(first: 0) { nodes { id } } }")
    assert result.data is None
    assert result.errors is not None
    assert [error.path for error in result.errors] == [["b"]]
    await slots.queue(0)
    await slots.release()
    assert commands.counts() == {}


_WRONG = [f"a{number}: task(id: 1) {{ children(first: 0) {{ nodes {{ id }} }} }}" for number in range(60)]


async def test_an_answer_with_many_errors_is_cut_short(front: Front) -> None:
    """The answer has the first errors, and one that says that its execution stopped."""
    await front.services.store.create_many([NewTask(id="1", name="a")])
    some = await front.ask("{ " + " ".join(_WRONG[:20]) + " }")
    assert len(some.errors or ()) == 20
    assert some.data is not None
    all_ = await front.ask("{ " + " ".join(_WRONG) + " }")
    errors = all_.errors or []
    assert len(errors) == 21
    assert {error.extensions["code"] for error in errors[:20] if error.extensions} == {"BAD_USER_INPUT"}
    assert errors[20].message == "errors 21, at most 20"
    assert (errors[20].extensions or {})["limit"] == "errors"
    assert all_.data is None


@pytest.fixture
async def small(settings: Settings) -> AsyncIterator[Front]:
    """An API whose answers may have a thousand values."""
    limited = settings.model_copy(update={"answer_max_values": 1000, "request_max_cost": 10**6})
    app: Starlette = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        await services.store.create_many([NewTask(id=str(number), name="a") for number in range(500)])
        yield Front(app)


@pytest.mark.parametrize(
    ("selection", "allowed", "too_many"),
    [
        ("nodes { id name status queue metadata(asText: true) }", 100, 300),
        ("nodes { id children { nodes { id } } }", 100, 500),
        ("nodes { id } a: edges { cursor } b: edges { cursor } c: edges { cursor }", 200, 300),
    ],
)
async def test_an_answer_has_so_many_values_at_most(small: Front, selection: str, allowed: int, too_many: int) -> None:
    """Lists and objects count, whether they are compiled or not."""
    query = f"query ($first: Int) {{ tasks(first: $first) {{ {selection} }} }}"
    await small.data(query, first=allowed)
    errors = (await small.ask(query, first=too_many)).errors or []
    assert [(error.extensions or {})["limit"] for error in errors] == ["values of the answer"]


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


_DIGITS = "9" * 5000
_DEFAULT = f"query ($j: JSON = {_DIGITS}) {{ tasks(filter: {{metadata: [{{path: 1, eq: $j}}]}}) {{ nodes {{ id }} }} }}"
_ASK = 'query ($value: JSON) { tasks(filter: {metadata: [{path: "a", eq: $value}]}) { nodes { id } } }'


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (_ASK, {"value": _nested(65)}),
        (_ASK, {"value": _nested(5000)}),
        ("query ($filter: TaskFilter) { tasks(filter: $filter) { nodes { id } } }", {"filter": {"AND": _nested(900)}}),
        (f"{{ tasks(first: {_DIGITS}) {{ nodes {{ id }} }} }}", {}),
        (f"query ($n: Int = {_DIGITS}) {{ tasks(first: $n) {{ nodes {{ id }} }} }}", {}),
        (_DEFAULT, {}),
        (f'{{ tasks(filter: {{metadata: [{{path: "a", eq: {_DIGITS}}}]}}) {{ nodes {{ id }} }} }}', {}),
        (f'{{ tasks(filter: {{metadata: [{{path: "a", eq: {"[" * 150}{"]" * 150}}}]}}) {{ nodes {{ id }} }} }}', {}),
        (f"{{ tasks(filter: {'{NOT: ' * 150}{{}}{'}' * 150}) {{ nodes {{ id }} }} }}", {}),
        (f"{{ tasks(filter: {'{NOT: ' * 700}", {}),
    ],
)  # fmt: skip
async def test_extreme_values_are_errors_of_the_client(front: Front, query: str, variables: dict[str, Any]) -> None:
    """No nesting and no number makes an internal error, or shows one."""
    result = await front.ask(query, **variables)
    assert result.errors
    for error in result.errors:
        assert not error.message.startswith("Internal error"), error
        assert "recursion" not in error.message
        assert "set_int_max_str_digits" not in error.message


class _Broken(dict[str, Any]):
    """A value that cannot be read."""

    def __iter__(self) -> Any:
        raise LookupError("nobody is to know")

    keys = items = values = __iter__


async def test_an_unexpected_error_outside_of_all_fields_is_masked(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    """The client receives the id of the log, which has the traceback."""
    query = "query ($filter: TaskFilter) { tasks(filter: $filter) { nodes { id } } }"
    (error,) = (await front.ask(query, filter=_Broken())).errors or ()  # type: ignore[misc] # there is one
    assert error.message.startswith("Internal error")
    assert (error.extensions or {})["id"] in caplog.text
    assert "nobody is to know" in caplog.text
