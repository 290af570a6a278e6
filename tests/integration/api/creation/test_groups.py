from __future__ import annotations

import asyncio

import pytest
from creating import ALICE, create, input_of, new_task, send_nothing
from front import Commands, Front
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import (
    WriteError,
)
from redis.asyncio import Redis

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal, Restrictions
from gql_api.api.commands.create import Creation
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.creation.groups import CreationGroups
from gql_api.api.errors import MutationRefusedError, TaskErrorCode
from gql_api.api.store.tasks import TaskStore
from gql_api.outage import is_outage
from gql_api.record import fields
from gql_api.record.reads import Document
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("announced")


async def test_creates_that_arrive_together_share_an_insert(
    commands: Commands,
    front: Front,
    tasks: Collection[Document],
    announced: TaskDefinition,
    redis: Redis,
    settings: Settings,
) -> None:
    """Each of them has its own record, message and event; the records are durable."""
    await redis.delete(announced.queue)
    assert isinstance(await front.services.creator.create(input_of(), ANONYMOUS), Creation)
    assert (commands.counts()["findAndModify"], commands.counts()["insert"]) == (1, 0)
    commands.sent.clear()
    async with Redis.from_url(settings.redis_url) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(front.services.store.channels.all_tasks)
        assert await pubsub.get_message(timeout=5) is not None
        outcomes = await create(front, *map(input_of, range(20)), principals=(ANONYMOUS, ALICE))
        received = [await pubsub.get_message(timeout=5) for _ in outcomes]
    assert commands.counts() == {"insert": 1}
    assert commands.sent[0]["writeConcern"] == {"w": "majority", "j": True}
    assert [(outcome.created, outcome.record.arguments.args) for outcome in outcomes] == [
        (True, [n]) for n in range(20)
    ]
    ids = {outcome.record.id for outcome in outcomes}
    stored = {each[fields.ID]: each for each in tasks.find({fields.ID: {"$in": [*ids]}})}
    assert stored.keys() == ids
    owners = [stored[outcome.record.id].get(fields.OWNER) for outcome in outcomes]
    assert owners == [None, "alice"] * 10
    channels = {front.services.store.channels.task(task_id) for task_id in ids}
    assert {message["channel"].decode() for message in received if message} == channels
    assert await redis.llen(announced.queue) == 21
    await redis.delete(announced.queue)


async def test_each_create_of_a_group_has_its_own_outcome(front: Front, tasks: Collection[Document]) -> None:
    """A key that is taken, by an earlier task or by one of the same group, is the matter of its own call only."""
    (earlier,) = await create(front, input_of(1, idempotency_key="a"))
    same, other, first, second, free, bad = await create(
        front,
        input_of(1, idempotency_key="a"),
        input_of(2, idempotency_key="a"),
        input_of(3, idempotency_key="b"),
        input_of(3, idempotency_key="b"),
        input_of(4, idempotency_key="c"),
        TaskInput("add", ["1"]),
    )
    assert (same.created, same.record.id) == (False, earlier.record.id)
    assert isinstance(other, MutationRefusedError)
    assert [each.code for each in other.refusals] == [TaskErrorCode.IDEMPOTENCY_CONFLICT]
    assert sorted([first.created, second.created]) == [False, True]
    assert first.record.id == second.record.id
    assert free.created
    assert isinstance(bad, MutationRefusedError)
    assert tasks.count_documents({}) == 3


async def test_a_record_that_cannot_be_stored_fails_alone(store: TaskStore, settings: Settings) -> None:
    """The others of its group are stored, whether BSON or MongoDB refuses it."""
    with MongoClient[Document](settings.mongodb_url) as client:
        validator = {fields.QUEUE: {"$ne": "refused"}}
        client[settings.mongodb_database].create_collection(fields.TASKS, validator=validator)
    groups = CreationGroups(store, settings, send_nothing)
    made = [new_task(), new_task(idempotency_key="\ud800"), new_task(queue="refused"), new_task()]
    outcomes = await asyncio.gather(*map(groups.create, made), return_exceptions=True)
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, True, False]
    assert isinstance(outcomes[2], WriteError)
    assert not is_outage(outcomes[2])
    assert {each[fields.ID] for each in outcomes if isinstance(each, dict)} == {made[0].id, made[3].id}


async def test_no_group_is_made_where_its_times_might_be_too_old(
    commands: Commands, store: TaskStore, settings: Settings
) -> None:
    """Live lists find a record by its time: an insert that may take longer than they allow for is not made."""
    groups = CreationGroups(store, settings.model_copy(update={"store_timeout_seconds": 5.1}), send_nothing)
    await asyncio.gather(*(groups.create(new_task()) for _ in range(3)))
    later = CreationGroups(store, settings, send_nothing)
    await asyncio.gather(*(later.create(new_task(delay=60.0)) for _ in range(3)))
    assert commands.counts() == {"findAndModify": 6}


async def test_a_large_task_joins_no_group(commands: Commands, front: Front) -> None:
    """No task waits for a large one, whose metadata may be that of its token."""
    large = Principal("alice", ALL_SCOPES, restrictions=Restrictions(metadata={"a": "x" * 3000}))
    commands.sent.clear()
    await create(front, *map(input_of, range(3)), principals=(large,))
    await create(front, *(TaskInput("add", [1], {"y.z": "x" * 3000}) for _ in range(3)))
    assert commands.counts() == {"findAndModify": 6}
