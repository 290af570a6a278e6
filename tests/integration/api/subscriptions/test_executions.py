from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult
from redis.asyncio import Redis
from strawberry import Schema
from support import wait_until_async

from gql_api.access.principal import ANONYMOUS, Principal, Scope
from gql_api.api.context import Context, Services
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.api.subscriptions.executions import DrainedError, Executions
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Policy, SendBuffer, WaitingReader
from gql_api.events import Channels
from gql_api.record import writes
from gql_api.record.model import Progress
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

_WATCH = "subscription ($id: ID!) { taskUpdated(id: $id) { revision status } }"


@pytest.fixture
def executions(services: Services) -> Executions:
    """What is tested."""
    return services.executions


class _Client:
    """A subscriber that keeps all payloads."""

    def __init__(self, services: Services, operation: Operation, principal: Principal = ANONYMOUS) -> None:
        self.payloads: list[bytes] = []
        context = Context(services, principal)
        self._stream = services.executions.subscribe(operation, context, principal)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with contextlib.aclosing(self._stream) as stream:
            async for payload in stream:
                self.payloads.append(payload)

    @property
    def revisions(self) -> list[int]:
        """The revisions that it has received."""
        return [json.loads(payload)["data"]["taskUpdated"]["revision"] for payload in self.payloads]

    async def received(self, revision: int) -> None:
        """Wait until it has received a revision."""

        async def has_received() -> bool:
            return bool(self.revisions) and self.revisions[-1] >= revision

        await wait_until_async(has_received)

    async def leave(self) -> None:
        """End the subscription."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def _watch(task_id: str) -> Operation:
    return Operation(_WATCH, {"id": task_id})


async def _has_subscribers(settings: Settings, task_id: str) -> bool:
    async with Redis.from_url(settings.redis_url) as redis:
        ((_, count),) = await redis.pubsub_numsub(Channels(settings.mongodb_database).task(task_id))
        return int(count) > 0


async def test_many_subscribers_are_one_execution(services: Services, worker: Store, task_id: str) -> None:
    """Each change is executed once, and all are handed the very same bytes."""
    clients = [_Client(services, _watch(task_id)) for _ in range(200)]
    for client in clients:
        await client.received(1)
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    for client in clients:
        await client.received(2)
    await asyncio.to_thread(worker.change, writes.succeed(task_id, 7))
    await asyncio.gather(*(client.task for client in clients))
    assert services.executions.executed == 1
    assert {tuple(client.revisions) for client in clients} == {(1, 2, 3)}
    assert len({id(client.payloads[-1]) for client in clients}) == 1
    assert len(services.executions) == 0


@pytest.mark.parametrize("selection", ["id revision", "id revision parent { id }"], ids=["plain", "not plain"])
async def test_what_was_told_is_not_kept(services: Services, worker: Store, task_id: str, selection: str) -> None:
    """Who waits for the next event holds no record and no result: there may be thousands, and it may be long."""
    client = _Client(services, Operation(_WATCH.replace("revision status", selection), {"id": task_id}))
    await client.received(1)
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    await client.received(2)

    async def nothing_is_held() -> bool:
        held = [found for found in gc.get_objects() if type(found) in {TaskRecord, ExecutionResult}]
        return not any(task_id in str(found) for found in held)

    await wait_until_async(nothing_is_held)
    await client.leave()


@pytest.mark.parametrize(("selection", "executed"), [("revision status", 1), ("revision parent { id }", 3)])
async def test_later_events_of_plain_selections_pass_graphql_core_by(
    services: Services,
    worker: Store,
    task_id: str,
    monkeypatch: pytest.MonkeyPatch,
    selection: str,
    executed: int,
) -> None:
    """The first shows that the selection is plain; of anything else each event is executed."""
    count = 0
    original = PlannedExecutor.execute_operation

    def counted(self: PlannedExecutor, serially: bool | None = None) -> Any:
        nonlocal count
        count += 1
        return original(self, serially)

    monkeypatch.setattr(PlannedExecutor, "execute_operation", counted)
    client = _Client(services, Operation(_WATCH.replace("revision status", selection), {"id": task_id}))
    await client.received(1)
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    await client.received(2)
    await asyncio.to_thread(worker.change, writes.succeed(task_id, 7))
    await asyncio.wait_for(client.task, 20)
    assert client.revisions == [1, 2, 3]
    assert count == executed


@pytest.mark.parametrize(
    ("other", "principal"),
    [
        (Operation(_WATCH.replace("status", "name"), {"id": ...}), ANONYMOUS),
        (Operation(_WATCH, {"id": ..., "unused": True}), ANONYMOUS),
        (Operation(_WATCH, {"id": ...}), Principal("somebody", frozenset({Scope.ADMIN, Scope.TASKS_READ}))),
    ],
    ids=["document", "variables", "principal"],
)
async def test_another_operation_is_another_execution(
    services: Services, task_id: str, other: Operation, principal: Principal
) -> None:
    """Only what is the same in every respect is shared."""
    different = Operation(other.query, {**(other.variables or {}), "id": task_id})
    clients = [_Client(services, _watch(task_id)), _Client(services, different, principal)]
    for client in clients:
        await client.received(1)
    assert services.executions.executed == 2
    for client in clients:
        await client.leave()


async def test_late_joiners_are_never_behind_mongodb(services: Services, mute_worker: Store, task_id: str) -> None:
    """Though no event tells of any change, whoever joins begins with what MongoDB has; the others hear of it too."""
    first = _Client(services, _watch(task_id))
    await first.received(1)
    clients = [first]
    for number in range(2, 12):
        report = Progress(current=number)
        write = writes.start(task_id, worker="w") if number == 2 else writes.progress(task_id, report)
        await asyncio.to_thread(mute_worker.change, write)
        joined = [_Client(services, _watch(task_id)) for _ in range(5)]
        for client in joined:
            await client.received(1)
            assert client.revisions[0] == number
        clients += joined
    assert services.executions.executed == 1
    await first.received(11)
    assert services.feed.backstop_found == 0
    for client in clients:
        await client.leave()


async def test_leaving_disturbs_nobody(services: Services, settings: Settings, worker: Store, task_id: str) -> None:
    """The execution goes on for those who stay, and ends with the last of them."""
    leaves, stays = _Client(services, _watch(task_id)), _Client(services, _watch(task_id))
    await leaves.received(1)
    await stays.received(1)
    await leaves.leave()
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    await stays.received(2)
    assert services.executions.executed == 1
    await stays.leave()
    assert len(services.executions) == 0

    async def forgotten() -> bool:
        return services.feed.watched == 0 and not await _has_subscribers(settings, task_id)

    await wait_until_async(forgotten)


async def test_an_unknown_task_is_an_error_for_all(services: Services) -> None:
    """The error of the one execution is everybody's."""
    clients = [_Client(services, _watch("nope")) for _ in range(20)]
    await asyncio.wait_for(asyncio.gather(*(client.task for client in clients)), 20)
    for client in clients:
        (payload,) = client.payloads
        answer = json.loads(payload)
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"] == {"code": "NOT_FOUND"}
    assert services.executions.executed == 1


async def test_a_deletion_completes_all(services: Services, worker: Store, task_id: str) -> None:
    """Nobody is left waiting for a task that is no more."""
    clients = [_Client(services, _watch(task_id)) for _ in range(5)]
    for client in clients:
        await client.received(1)
    await asyncio.to_thread(worker.change, writes.succeed(task_id, 1))
    await asyncio.to_thread(worker.delete, [task_id])
    await asyncio.wait_for(asyncio.gather(*(client.task for client in clients)), 20)


async def _all(services: Services, operation: Operation) -> list[Any]:
    results = services.executions.subscribe(operation, Context(services, ANONYMOUS), ANONYMOUS)
    return [json.loads(payload) async for payload in results]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Operation("subscription { taskUpdated(id: 1) { nonsense } }"), "nonsense"),
        (Operation("subscription ($id: ID!) { taskUpdated(id: $id) { id } }"), "to be provided"),
        (Operation("subscription {"), "Syntax Error"),
        (Operation("query A { __typename } query B { __typename }"), "operationName"),
        (Operation("{ __typename }", None, "Other"), "Other"),
    ],
    ids=["invalid", "variables", "syntax", "ambiguous", "unknown"],
)
async def test_what_cannot_be_executed_is_refused(services: Services, operation: Operation, message: str) -> None:
    """No execution is left behind by an operation that is not one."""
    with pytest.raises(RefusedOperationError) as refused:
        await asyncio.wait_for(_all(services, operation), 10)
    assert message in json.loads(refused.value.errors)[0]["message"]
    assert len(services.executions) == 0


async def test_other_operations_are_executed_for_each(services: Services, worker: Store, task_id: str) -> None:
    """A query has one result; a log begins for everybody at a cursor of their own."""
    assert await _all(services, Operation("{ __typename }")) == [{"data": {"__typename": "Query"}}]
    await asyncio.to_thread(worker.change, writes.succeed(task_id, 1))
    log = Operation("subscription ($id: ID!) { taskLogged(id: $id) { message } }", {"id": task_id})
    assert await asyncio.wait_for(_all(services, log), 10) == []
    aliased = Operation(f'subscription {{ ... on Subscription {{ taskUpdated(id: "{task_id}") {{ revision }} }} }}')
    assert await _all(services, aliased) == [{"data": {"taskUpdated": {"revision": 2}}}]
    assert services.executions.executed == 0


@pytest.mark.parametrize("field", ["taskUpdated(id: $id) { revision }", "taskLogged(id: $id) { message }"])
async def test_draining_ends_what_is_open(services: Services, task_id: str, field: str) -> None:
    """A stream that is not at its end is told so, for its client to resume elsewhere."""
    client = _Client(services, Operation(f"subscription ($id: ID!) {{ {field} }}", {"id": task_id}))

    async def is_watched() -> bool:
        return services.feed.watched == 1

    await wait_until_async(is_watched)
    services.executions.drain()
    with pytest.raises(DrainedError):
        await asyncio.wait_for(client.task, 10)
    await wait_until_async(lambda: _unwatched(services))


async def _unwatched(services: Services) -> bool:
    return services.feed.watched == 0


@pytest.mark.parametrize("query", [_WATCH, "subscription { taskChanges { kind } }"], ids=["task", "list"])
async def test_an_opened_subscription_misses_nothing(
    services: Services, settings: Settings, task_id: str, query: str
) -> None:
    """When it says so Redis has acknowledged what it hears by."""
    buffer = SendBuffer(Policy.EVERY, WaitingReader())
    services.executions.join(Operation(query, {"id": task_id} if "$id" in query else None), buffer, ANONYMOUS)
    await asyncio.wait_for(services.executions.opened(buffer), 10)
    assert services.feed.lists.is_listening or await _has_subscribers(settings, task_id)
    services.executions.leave(buffer)
    await asyncio.wait_for(services.executions.opened(buffer), 10)  # it has ended


async def test_a_subscription_that_is_begun_anew_opens_with_the_new_one() -> None:
    """Who joined too late for an execution that ends is in another, and hears nothing until that one does."""
    begun, gates = list[Fanout](), [asyncio.Event(), asyncio.Event()]

    @strawberry.type
    class Query:
        nothing: int | None = None

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def ticks(self, info: strawberry.Info[Fanout]) -> AsyncGenerator[int, None]:
            begun.append(info.context)
            await gates[len(begun) - 1].wait()
            if len(begun) == 2:
                info.context.open()
                await asyncio.Event().wait()
            yield 1

    schema = Schema(Query, subscription=Subscription)
    async with Executions(schema, {"ticks": Policy.LATEST}, lambda fanout, _principal: fanout) as executions:
        buffer = SendBuffer(Policy.LATEST, WaitingReader())
        executions.join(Operation("subscription { ticks }"), buffer, ANONYMOUS)
        opened = asyncio.create_task(executions.opened(buffer))
        for gate in gates:
            done, _ = await asyncio.wait([opened], timeout=0.05)
            assert not done
            gate.set()
        await asyncio.wait_for(opened, 5)
        executions.leave(buffer)
