from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from creating import create, input_of, new_task, send_nothing
from front import Front
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    PyMongoError,
    WaitQueueTimeoutError,
)
from redis.asyncio import Redis
from support import wait_until_async

from gql_api import events
from gql_api.access.principal import ANONYMOUS
from gql_api.api.commands import sending
from gql_api.api.creation.groups import CreationGroups
from gql_api.api.store.tasks import TaskStore
from gql_api.dispatch import Dispatcher
from gql_api.outage import is_outage
from gql_api.record import fields
from gql_api.record.reads import Document
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("announced")


async def test_all_of_a_group_fail_where_mongodb_did_not_confirm_it(
    store: TaskStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller's error says that its task may or may not be stored, except where its key was taken for certain."""
    groups = CreationGroups(store, settings, send_nothing)
    duplicate = {"index": 1, "code": 11000, "errmsg": "E11000 duplicate key"}
    unconfirmed = {"code": 64, "errmsg": "waiting for replication timed out"}

    async def fail(error: Exception) -> list[Any]:
        async def insert_many(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(AsyncCollection, "insert_many", insert_many)
        return await asyncio.gather(*(groups.create(new_task()) for _ in range(3)), return_exceptions=True)

    outcomes = await fail(BulkWriteError({"writeErrors": [duplicate], "writeConcernErrors": [unconfirmed]}))
    assert [type(outcome) is DuplicateKeyError for outcome in outcomes] == [False, True, False]
    assert [is_outage(outcome) for outcome in outcomes] == [True, False, True]
    outcomes = await fail(AutoReconnect("connection closed"))
    assert [is_outage(outcome) for outcome in outcomes] == [True] * 3


async def test_an_outage_fails_those_that_wait_too(settings: Settings) -> None:
    """A task that waits for a group does not wait for MongoDB longer than another one, however many there are."""
    away = settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:1", "store_timeout_seconds": 0.5})
    store = TaskStore(away)
    groups = CreationGroups(store, away, send_nothing)
    async with asyncio.timeout(8):
        outcomes = await asyncio.gather(*(groups.create(new_task()) for _ in range(4000)), return_exceptions=True)
    assert all(isinstance(outcome, PyMongoError) and is_outage(outcome) for outcome in outcomes)
    assert isinstance(outcomes[-1], WaitQueueTimeoutError)
    await store.close()


async def test_a_lost_answer_announces_nothing(
    front: Front,
    tasks: Collection[Document],
    announced: TaskDefinition,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls whose insert was not answered fail; a call with the same key finds the task, which recovery sends."""
    await redis.delete(announced.queue)
    insert_many, answered = AsyncCollection.insert_many, threading.Event()

    async def inserted(*args: Any, **options: Any) -> Any:
        result = await insert_many(*args, **options)
        if not answered.is_set():
            raise AutoReconnect("connection closed")
        return result

    monkeypatch.setattr(AsyncCollection, "insert_many", inserted)
    inputs = [input_of(n, idempotency_key=str(n)) for n in range(3)]
    outcomes = await create(front, *inputs)
    assert [is_outage(outcome) for outcome in outcomes] == [True] * 3
    ids = {each[fields.IDEMPOTENCY_KEY]: each[fields.ID] for each in tasks.find()}
    assert ids.keys() == {"0", "1", "2"}
    assert await redis.llen(announced.queue) == 0
    answered.set()
    outcomes = await create(front, *inputs)
    assert [(each.created, each.record.id) for each in outcomes] == [(False, ids[str(n)]) for n in range(3)]


async def test_a_task_that_cannot_be_sent_fails_alone(
    front: Front, announced: TaskDefinition, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its group are announced and published, and their calls succeed."""
    await redis.delete(announced.queue)
    encode = events.encode

    def encoded(document: Document) -> bytes:
        if document[fields.ARGS] == [1]:
            raise ValueError("cannot be sent")
        return encode(document)

    monkeypatch.setattr(events, "encode", encoded)
    outcomes = await create(front, *map(input_of, range(4)))
    assert [str(each) if isinstance(each, ValueError) else each.created for each in outcomes] == [
        True,
        "cannot be sent",
        True,
        True,
    ]
    names = [json.loads(message)["headers"]["id"] for message in await redis.lrange(announced.queue, 0, -1)]
    assert {outcomes[n].record.id for n in (0, 2, 3)} <= set(names)
    await redis.delete(announced.queue)


async def test_callers_that_leave_a_group_lose_no_message(
    front: Front,
    tasks: Collection[Document],
    announced: TaskDefinition,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that is cancelled while its group is stored or sent leaves a task that is announced and published."""
    # A call that is cancelled before its task is stored leaves nothing. None is to wait before that, on a slow machine
    # either: for definitions that are read again, or for a check in a thread.
    monkeypatch.setattr("gql_api.api.commands.known_definitions._SECONDS", 600.0)
    monkeypatch.setattr("gql_api.api.commands.create._QUICK_SECONDS", 60.0)
    await redis.delete(announced.queue)
    await front.services.creator.create(input_of(), ANONYMOUS)

    async def leave(number: int) -> None:
        async with asyncio.timeout(number / 8000):
            await front.services.creator.create(input_of(number), ANONYMOUS)

    await asyncio.gather(*map(leave, range(1, 80)), return_exceptions=True)

    async def are_published() -> bool:
        return bool(tasks.count_documents({}) == await redis.llen(announced.queue) == 80)

    await wait_until_async(are_published)
    await redis.delete(announced.queue)


async def test_no_create_waits_for_the_messages_of_others(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is silent, each call returns after its own wait, for its task is stored."""
    silence = threading.Event()
    monkeypatch.setattr(sending, "_PUBLISH_SECONDS", 0.1)
    monkeypatch.setattr(Dispatcher, "publish", lambda *_: silence.wait())
    try:
        async with asyncio.timeout(10):
            for _ in range(12):
                outcomes = await create(front, input_of(), input_of())
                assert all(outcome.created for outcome in outcomes)
    finally:
        silence.set()
