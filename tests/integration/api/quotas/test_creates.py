"""The quotas for the creation of tasks, over real Redis and MongoDB."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from front import Commands, Front
from opened import Client, Open
from prometheus_client import REGISTRY
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import wait_until_async

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.errors import QuotaExceededError
from gql_api.api.quotas.holders import Holder
from gql_api.query import quotas
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

ALICE, BOB = Principal("alice", ALL_SCOPES, "acme"), Principal("bob", ALL_SCOPES, "acme")
CAROL, NAMESAKE = Principal("carol", ALL_SCOPES, "umbrella"), Principal("alice", ALL_SCOPES, "umbrella")
LONER = Principal("alice", ALL_SCOPES)

_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } } }"
_CREATE_MANY = "mutation ($inputs: [CreateTaskInput!]!) { createTasks(inputs: $inputs) { results { task { id } } } }"
_INPUT = {"name": "add", "args": [1], "kwargs": {"y.z": "s"}}

# A window that ends during a test makes room: one of an hour rarely does.
_HOUR = 3600

pytestmark = pytest.mark.usefixtures("announced")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow Redis is waited for, or each process would count for itself; and a slow MongoDB, or it would not count."""
    monkeypatch.setattr("gql_api.api.quotas.rates._ANSWER_SECONDS", 10.0)
    monkeypatch.setattr("gql_api.api.quotas.figures._WAIT_SECONDS", 60.0)


def _hourly(count: int, tenant: int = 0) -> dict[str, float]:
    """Return the settings that let a principal create so many tasks in an hour, and all of a tenant so many."""
    return {
        "quota_creates_per_second": count / _HOUR,
        "quota_tenant_creates_per_second": tenant / _HOUR,
        "quota_creates_burst_seconds": _HOUR,
    }


async def _create(front: Front, principal: Principal, count: int = 1, **values: Any) -> dict[str, Any] | None:
    """Create tasks by one call, and return the error's extensions if a quota refuses it."""
    inputs = [TaskInput("add", [1], {"y.z": "s"}, **values) for _ in range(count)]
    creator = front.services.creator
    try:
        if count == 1:
            await creator.create(inputs[0], principal)
        else:
            await creator.create_many(inputs, principal)
    except QuotaExceededError as error:
        return error.extensions
    return None


async def _created(front: Front, principal: Principal, tries: int) -> int:
    return [await _create(front, principal) for _ in range(tries)].count(None)


def _exceeded(limit: str) -> float:
    return REGISTRY.get_sample_value("gql_api_limits_exceeded_total", {"limit": limit}) or 0.0


async def test_creates_per_second_are_counted_over_all_processes(
    opened: Open, redis: Redis, settings: Settings
) -> None:
    """Two processes share the quota of a principal; nobody else's has less for it, and the keys expire."""
    async with opened(**_hourly(3)) as one, opened(**_hourly(3)) as other:
        assert [await _create(front, ALICE) for front in (one, other, one)] == [None] * 3
        error = await _create(other, ALICE)
        assert error is not None
        assert 1 <= error["retryAfter"] <= 2 * _HOUR
        assert error | {"retryAfter": 9} == {
            "code": "QUOTA_EXCEEDED",
            "limit": "creates per second of a principal",
            "max": 3 / _HOUR,
            "retryAfter": 9,
        }
        assert [await _created(one, principal, 4) for principal in (BOB, CAROL, NAMESAKE, LONER)] == [3] * 4
        assert await _created(one, ANONYMOUS, 5) == 5
    keys = await redis.keys(f"gql-api:{settings.mongodb_database}:quotas:*")
    assert len(keys) == 5
    assert all([0 < await redis.ttl(key) <= 2 * _HOUR for key in keys])


async def test_a_tenant_has_a_quota_of_its_own(opened: Open) -> None:
    """It counts all of its principals. A principal that has used up its own takes nothing from it."""
    async with opened(**_hourly(2, tenant=3)) as front:
        assert await _created(front, ALICE, 5) == 2
        assert await _create(front, BOB) is None
        error = await _create(front, BOB)
        assert error is not None
        assert error["limit"] == "creates per second of a tenant"
        assert [await _created(front, principal, 3) for principal in (CAROL, LONER)] == [2, 2]


async def test_a_call_creates_all_of_its_tasks_or_none(opened: Open, tasks: Collection[Document]) -> None:
    """Each task of createTasks counts; a call that can never succeed has no time to try again."""
    async with opened(**_hourly(5)) as front:
        assert await _create(front, ALICE, 3) is None
        assert await _create(front, ALICE, 3) is not None
        assert tasks.count_documents({}) == 3
        assert await _create(front, ALICE, 2) is None
        error = await _create(front, BOB, 6)
        assert error is not None
        assert error == {"code": "QUOTA_EXCEEDED", "limit": "creates at once of a principal", "max": 5}


async def test_a_bulk_replay_goes_as_far_as_the_quota(
    opened: Open, client_of: Client, worker: Store, tasks: Collection[Document]
) -> None:
    """What it replayed before the error stays replayed, and a repeated call goes on with the rest."""
    async with opened() as front:
        assert await _create(front, ALICE, 7) is None
    for task in tasks.find():
        worker.change(writes.succeed(task[f.ID], 1))
    replay = "mutation { replayTasks(filter: {statuses: [SUCCESS]}, dryRun: false) { matched } }"
    async with (
        opened(**_hourly(5)) as front,
        client_of(front, ALICE) as client,
    ):
        answer = await client.post("/graphql", json={"query": replay})
        assert answer.json()["errors"][0]["extensions"]["code"] == "QUOTA_EXCEEDED", answer.text
        assert tasks.count_documents({f.REPLAY_OF: {"$exists": True}}) == 5
    async with opened() as front, client_of(front, ALICE) as client:
        await client.post("/graphql", json={"query": replay})
        assert tasks.count_documents({f.REPLAY_OF: {"$exists": True}}) == 7


async def test_clients_receive_the_error_with_a_status_and_a_header(opened: Open, client_of: Client) -> None:
    """GraphQL and REST say when to try again, and each refused call is counted."""
    before = _exceeded("creates per second of a principal")
    async with opened(**_hourly(1)) as front, client_of(front, ALICE) as client:
        documents = [(_CREATE, {"input": _INPUT}), (_CREATE, {"input": _INPUT}), (_CREATE_MANY, {"inputs": [_INPUT]})]
        answers = [
            await client.post("/graphql", json={"query": query, "variables": variables})
            for query, variables in documents
        ]
        assert [answer.status_code for answer in answers] == [200, 429, 429], answers[0].text
        for answer in answers[1:]:
            error = answer.json()["errors"][0]
            assert error["extensions"]["code"] == "QUOTA_EXCEEDED"
            assert answer.headers["retry-after"] == str(error["extensions"]["retryAfter"])
    assert _exceeded("creates per second of a principal") == before + 2


async def test_creation_goes_on_while_redis_is_away(opened: Open) -> None:
    """Each process bounds the creations by itself then."""
    async with opened(redis_url="redis://127.0.0.1:1/0", **_hourly(3)) as front:
        assert [await _created(front, principal, 5) for principal in (ALICE, BOB)] == [3, 3]
        assert await _create(front, ALICE, 4) is not None


async def test_without_quotas_neither_redis_nor_mongodb_is_asked(
    commands: Commands, opened: Open, redis: Redis, settings: Settings
) -> None:
    """A creation costs what it did, and no index is made for a quota."""
    name = f"gql-api:{settings.mongodb_database}:"
    async with opened() as front, redis.monitor() as monitor:
        commands.sent.clear()
        assert await _create(front, ALICE) is None
        assert set(commands.counts()) <= {"findAndModify", "update", "createIndexes"}
        await redis.get(f"{name}end")
        sent = []
        while not (command := (await monitor.next_command())["command"]).endswith("end"):
            sent.append(command)
        assert {command.split()[0] for command in sent if name in command} <= {"PUBLISH", "PSUBSCRIBE", "SUBSCRIBE"}
        assert not [command for command in sent if "quotas" in command and name in command]


async def test_open_tasks_are_bounded(opened: Open, worker: Store, tasks: Collection[Document]) -> None:
    """A task that ends makes room; nobody else's tasks take any."""
    async with opened(quota_open_tasks=2) as front:
        assert await _created(front, ALICE, 3) == 2
        error = await _create(front, ALICE)
        assert error is not None
        assert error == {
            "code": "QUOTA_EXCEEDED",
            "limit": "open tasks of a principal",
            "max": 2,
            "retryAfter": 1,
        }
        assert await _create(front, BOB, 2) is None
        assert [await _created(front, principal, 3) for principal in (NAMESAKE, LONER)] == [2, 2]
        assert await _created(front, ANONYMOUS, 3) == 3
        ended = tasks.find_one({f.OWNER: "alice", f.TENANT: "acme"})
        assert ended is not None
        worker.change(writes.succeed(ended[f.ID], 1))

        async def has_room() -> bool:
            return await _create(front, ALICE) is None

        await wait_until_async(has_room)
        assert not await has_room()
        assert (error := await _create(front, CAROL, 3)) is not None
        assert "retryAfter" not in error


async def test_open_tasks_of_a_tenant_are_counted_from_their_index(opened: Open, tasks: Collection[Document]) -> None:
    """The index exists if a quota needs it, and holds unfinished tasks only."""
    async with opened(quota_tenant_open_tasks=3) as front:
        assert await _created(front, ALICE, 2) == 2
        assert await _created(front, BOB, 2) == 1
        assert await _created(front, CAROL, 2) == 2
        await front.services.store.indexes.create()  # an index that is being built is listed already, but not used
        assert "open_by_owner" in tasks.index_information()
        one = tasks.find_one({f.OWNER: "alice"}) or {}
        ended = {**one, f.STATUS: Status.SUCCESS, f.FINISHED_AT: one[f.CREATED_AT]}
        tasks.insert_many([{**ended, f.ID: f"ended {number}"} for number in range(200)])
        for holder in (Holder("acme"), Holder("acme", "alice")):
            plan = tasks.find(quotas.unfinished(holder.tasks)).explain()["queryPlanner"]["winningPlan"]
            assert "open_by_owner" in str(plan)


async def test_concurrent_calls_of_a_process_do_not_exceed_a_quota(opened: Open, tasks: Collection[Document]) -> None:
    """A process adds what it lets pass at once."""
    async with opened(quota_open_tasks=5) as front:
        outcomes = await asyncio.gather(*(_create(front, ALICE) for _ in range(20)))
        assert outcomes.count(None) == 5
        assert tasks.count_documents({}) == 5


async def test_a_repeated_call_returns_its_task_whatever_is_used_up(opened: Open) -> None:
    """Otherwise a client whose answer was lost would not find its task."""
    async with opened(quota_open_tasks=2, quota_stored_bytes=3000) as front:
        assert await _create(front, ALICE, idempotency_key="first") is None
        assert await _create(front, ALICE) is None
        assert await _create(front, ALICE, idempotency_key="first") is None
        assert await _create(front, ALICE, idempotency_key="third") is not None
        assert await _create(front, BOB, idempotency_key="first") is None
        assert await _create(front, BOB) is None
        assert await _create(front, BOB) is not None


async def test_stored_bytes_are_bounded(opened: Open, tasks: Collection[Document]) -> None:
    """What is stored already counts, log lines included, and so does what this process adds."""
    async with opened() as front:
        assert await _create(front, ALICE, metadata={"m": "x" * 20_000}) is None
        assert await _create(front, BOB) is None
    tasks.update_one({f.OWNER: "bob"}, {"$set": {f.LOGGED: {"lines": 1, "bytes": 25_000}}})
    async with opened(quota_stored_bytes=40_000) as front:
        for principal, created in ((ALICE, 1), (BOB, 1), (NAMESAKE, 2)):
            large = {"m": "x" * 12_000}
            outcomes = [await _create(front, principal, metadata=large) for _ in range(2)]
            assert outcomes.count(None) == created, principal
        error = await _create(front, ALICE, metadata={"m": "x" * 20_000})
        assert error is not None
        assert error["limit"] == "stored bytes of a principal"
        assert error["retryAfter"] == 60
