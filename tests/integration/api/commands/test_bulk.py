from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.collection import Collection
from redis.asyncio import Redis

from gql_api.access.principal import ANONYMOUS
from gql_api.access.visibility import EVERYTHING
from gql_api.api.commands.bulk import MAX_TASKS, Bulk
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.create import Creator
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.store.tasks import TaskStore
from gql_api.dispatch import Dispatcher
from gql_api.record import bulk as record_bulk
from gql_api.record import claims, fields, queries
from gql_api.record.bulk import Action
from gql_api.record.model import Claim, NewTask
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")


@pytest.fixture
async def creator(store: TaskStore, settings: Settings) -> AsyncIterator[Creator]:
    """A creator of tasks."""
    redis, dispatcher = Redis.from_url(settings.redis_url), Dispatcher(settings)
    creator = Creator(settings, store, dispatcher, Changes(store, redis))
    yield creator
    await creator.close()
    dispatcher.close()
    await redis.aclose()


@pytest.fixture
async def bulk(store: TaskStore, settings: Settings, creator: Creator) -> AsyncIterator[Bulk]:
    """A runner of bulk actions."""
    redis = Redis.from_url(settings.redis_url)
    yield Bulk(store, Changes(store, redis), creator)
    await redis.aclose()


def _ended(number: int) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=2) + timedelta(seconds=number)
    times = dict.fromkeys((fields.CREATED_AT, fields.UPDATED_AT, fields.FINISHED_AT), at)
    texts = dict.fromkeys((fields.ID, fields.ROOT_ID, fields.NAME, fields.QUEUE), f"t{number}")
    numbers = {fields.REVISION: 3, fields.ATTEMPTS: 1, fields.PRIORITY: 0}
    return {**texts, **numbers, fields.STATUS: "SUCCESS", fields.HISTORY: [], fields.METADATA: {}, **times}


async def test_a_call_takes_ten_thousand_and_the_next_one_the_rest(
    bulk: Bulk, tasks: Collection[dict[str, Any]], store: TaskStore
) -> None:
    """The counts show that there is too much for one call, and the oldest tasks go first."""
    tasks.insert_many([_ended(number) for number in range(MAX_TASKS + 20)])
    await store.indexes.create()
    first = await bulk.run(Action.DELETE, {}, ANONYMOUS, dry_run=False)
    assert (first.matched, first.changed) == (MAX_TASKS + 20, MAX_TASKS)
    assert {document[fields.ID] for document in tasks.find()} == {
        f"t{number}" for number in range(MAX_TASKS, MAX_TASKS + 20)
    }
    second = await bulk.run(Action.DELETE, {}, ANONYMOUS, dry_run=False)
    assert (second.matched, second.changed) == (20, 20)


async def test_a_replay_whose_mark_was_lost_is_found_again(
    bulk: Bulk, creator: Creator, tasks: Collection[dict[str, Any]], announced: TaskDefinition
) -> None:
    """A call that dies between the replays and their marks can be repeated: nothing is replayed twice."""
    await creator.create_many([TaskInput(announced.name, [number]) for number in range(3)], ANONYMOUS)
    originals = {fields.REPLAY_OF: None}
    assert (await bulk.run(Action.REPLAY, originals, ANONYMOUS, dry_run=False)).changed == 3
    tasks.update_many({}, {"$unset": {fields.REPLAYED: 1}})
    again = await bulk.run(Action.REPLAY, originals, ANONYMOUS, dry_run=False)
    assert (again.matched, again.changed, again.refusals) == (3, 0, [])
    assert tasks.count_documents({fields.REPLAY_OF: {"$ne": None}}) == 3
    assert (await bulk.run(Action.REPLAY, originals, ANONYMOUS, dry_run=False)).matched == 0


async def test_two_calls_at_once_replay_each_task_once_and_count_it_once(
    bulk: Bulk, creator: Creator, tasks: Collection[dict[str, Any]], announced: TaskDefinition
) -> None:
    """The call that inserted a replay counts it as changed; the other call does not."""
    await creator.create_many([TaskInput(announced.name, [number]) for number in range(250)], ANONYMOUS)
    originals = {fields.REPLAY_OF: None}
    outcomes = await asyncio.gather(*(bulk.run(Action.REPLAY, originals, ANONYMOUS, dry_run=False) for _ in range(2)))
    assert tasks.count_documents({fields.REPLAY_OF: {"$ne": None}}) == 250
    assert sum(outcome.changed for outcome in outcomes) == 250


async def test_a_task_that_cannot_be_replayed_is_told(bulk: Bulk, store: TaskStore, announced: TaskDefinition) -> None:
    """The others are replayed, and the error names the task and the reason."""
    await store.create(NewTask(id="known", name=announced.name, args=[1]))
    await store.create(NewTask(id="gone", name="nobody.runs.it"))
    outcome = await bulk.run(Action.REPLAY, {}, ANONYMOUS, dry_run=False)
    assert (outcome.matched, outcome.changed) == (2, 1)
    (error,) = outcome.refusals
    assert error.message.startswith("Task gone cannot be replayed: name: no worker has announced")


async def test_a_task_that_does_not_match_any_more_is_not_cancelled(
    store: TaskStore, tasks: Collection[dict[str, Any]]
) -> None:
    """A task that starts between the read and the write does not match any more, and stays as it is."""
    for task_id in ("waits", "begins"):
        await store.create(NewTask(id=task_id, name="add"))
    matching = record_bulk.matched(Action.CANCEL, {fields.STATUS: "QUEUED"}, datetime.now(UTC) + timedelta(hours=1))
    filter_, update = claims.claim("begins", Claim("token", "worker", "run", 1, 60))
    assert tasks.update_one(filter_, update).modified_count == 1
    assert await store.change_many(record_bulk.cancel(["waits", "begins"], matching, None), EVERYTHING) == 1
    states = {document[fields.ID]: document[fields.STATUS] for document in tasks.find({}, queries.STATE_ONLY)}
    assert states == {"waits": "REVOKED", "begins": "STARTED"}
    assert tasks.find_one({fields.ID: "begins"}, {fields.CANCEL_REQUESTED_AT: 1}) == {fields.ID: "begins"}
