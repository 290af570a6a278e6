from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kombu.utils import json as kombu_json
from pymongo.collection import Collection
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from support import wait_until_async

from gql_api.access.principal import ANONYMOUS
from gql_api.access.visibility import EVERYTHING
from gql_api.api.commands import create
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.create import Creation, Creator
from gql_api.api.commands.task_input import TaskInput, check
from gql_api.api.errors import MutationRefusedError, TaskErrorCode
from gql_api.api.store.tasks import TaskStore
from gql_api.dispatch import Dispatcher
from gql_api.record.reads import Document
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.telemetry.counters import TASKS_CREATED
from gql_api.values import Path

Make = Callable[[Settings], contextlib.AbstractAsyncContextManager[Creator]]


@pytest.fixture
def make(store: TaskStore) -> Make:
    """Make a creator that publishes where the settings say."""

    @contextlib.asynccontextmanager
    async def creator(settings: Settings) -> AsyncIterator[Creator]:
        redis = Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
        dispatcher = Dispatcher(settings)
        made = Creator(settings, store, dispatcher, Changes(store, redis))
        yield made
        await made.close()
        dispatcher.close()
        await redis.aclose()

    return creator


async def test_a_task_is_stored_and_published(
    make: Make, store: TaskStore, settings: Settings, announced: TaskDefinition
) -> None:
    """The record and the message have the same id, arguments and queue; the metadata is in the record only."""
    async with make(settings) as creator:
        record = (await creator.create(TaskInput("add", [1], {"y.z": "s"}, {"m": {"$x": 1}}), ANONYMOUS)).record
    stored = await store.get(record.id, EVERYTHING)
    assert stored is not None
    assert (stored.status, stored.queue, stored.metadata) == ("QUEUED", announced.queue, {"m": {"$x": 1}})
    redis = SyncRedis.from_url(settings.celery_broker_url)
    messages = [kombu_json.loads(raw) for raw in redis.lrange(announced.queue, 0, -1)]  # type: ignore[no-untyped-call]
    (message,) = [message for message in messages if message["headers"]["id"] == record.id]
    assert message["headers"]["task"] == "add"
    assert message["headers"]["root_id"] == record.id
    assert message["content-type"] == "application/json"
    assert "$x" not in str(message)
    redis.close()


async def test_a_caller_that_leaves_loses_no_message(
    make: Make,
    tasks: Collection[Document],
    settings: Settings,
    announced: TaskDefinition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mutation is cancelled with its WebSocket, at any moment: a task that is stored is announced and published."""
    # A call that is cancelled before its task is stored leaves nothing. None is to wait before that, on a slow machine
    # either: for definitions that are read again, or for a check in a thread.
    monkeypatch.setattr("gql_api.api.commands.known_definitions._SECONDS", 600.0)
    monkeypatch.setattr("gql_api.api.commands.create._QUICK_SECONDS", 60.0)

    async def leave(creator: Creator, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await creator.create(TaskInput(announced.name, [1]), ANONYMOUS)

    before = TASKS_CREATED._value.get()  # noqa: SLF001 - prometheus_client has no other way to read it
    async with make(settings) as creator:
        await creator.create(TaskInput(announced.name, [1]), ANONYMOUS)
        for number in range(60):
            await leave(creator, number / 4000)

        async def are_published() -> bool:
            created = TASKS_CREATED._value.get() - before  # noqa: SLF001 - as above
            return bool(tasks.count_documents({}) == created == 61)

        await wait_until_async(are_published)


async def test_a_broker_that_is_away_does_not_refuse_tasks(
    make: Make, store: TaskStore, settings: Settings, announced: TaskDefinition, caplog: pytest.LogCaptureFixture
) -> None:
    """With Redis down a task is accepted, for it is stored; that its message did not go out is in the log."""
    away = settings.model_copy(
        update={"celery_broker_url": "redis://127.0.0.1:1/0", "redis_url": "redis://127.0.0.1:1/0"}
    )
    async with make(away) as creator:
        record = (await creator.create(TaskInput(announced.name, [1]), ANONYMOUS)).record
    assert await store.get(record.id, EVERYTHING) is not None
    assert f"Task {record.id} is stored, but the broker did not take its message" in caplog.text


async def test_many_tasks_are_published_by_priority(make: Make, settings: Settings, announced: TaskDefinition) -> None:
    """Each priority has a list of its own in the broker, and all messages of a batch are there when it has returned."""
    inputs = [TaskInput("add", [n], {"y.z": "s"}, priority=n % 10, time_limit_seconds=1.5) for n in range(1, 40)]
    async with make(settings) as creator:
        outcomes = await creator.create_many(inputs, ANONYMOUS)
    ids = {outcome.record.id: outcome.record.priority for outcome in outcomes if isinstance(outcome, Creation)}
    assert len(ids) == len(inputs)
    redis = SyncRedis.from_url(settings.celery_broker_url)
    for priority in range(10):
        key = f"{announced.queue}\x06\x16{priority}" if priority else announced.queue
        messages = [kombu_json.loads(raw) for raw in redis.lrange(key, 0, -1)]  # type: ignore[no-untyped-call]
        own = [message["headers"] for message in messages if message["headers"]["id"] in ids]
        assert {headers["id"] for headers in own} == {id_ for id_, of in ids.items() if of == priority}
        assert all(headers["timelimit"] == [1.5, None] for headers in own)
    redis.close()


async def test_a_batch_is_stored_though_the_broker_is_away(
    make: Make, store: TaskStore, settings: Settings, announced: TaskDefinition, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored batch is created: its messages are published when the broker is back."""
    away = settings.model_copy(update={"celery_broker_url": "redis://127.0.0.1:1/0"})
    async with make(away) as creator:
        outcomes = await creator.create_many([TaskInput(announced.name, [n]) for n in range(3)], ANONYMOUS)
    assert [isinstance(outcome, Creation) and outcome.created for outcome in outcomes] == [True] * 3
    assert await store.lists.count({}, EVERYTHING) == 3
    assert "the broker did not take its message" in caplog.text


async def test_unknown_names_are_refused(make: Make, settings: Settings, announced: TaskDefinition) -> None:
    """A name that no worker has announced has an error code of its own, and nothing is stored."""
    async with make(settings) as creator:
        with pytest.raises(MutationRefusedError) as refused:
            await creator.create(TaskInput(f"{announced.name}x"), ANONYMOUS)
    assert [error.code for error in refused.value.refusals] == [TaskErrorCode.UNKNOWN_TASK_NAME]


@pytest.mark.parametrize(
    ("task_input", "paths"),
    [
        (TaskInput("add", {"x": 1}), [("args",)]),
        (TaskInput("add", kwargs=[1]), [("kwargs",)]),
        (TaskInput("add", [1], metadata="text"), [("metadata",)]),
        (TaskInput("add", "x", "y", None), [("args",), ("kwargs",), ("metadata",)]),
        (TaskInput("add", [1], metadata={"a": [2**64]}), [("metadata", "a", 0)]),
        (TaskInput("add", [2**64]), [("args", 0)]),
        (TaskInput("add", [1], {"y.z": {"__type__": "x", "__value__": 1}}), [("kwargs",), ("kwargs", "y.z")]),
        (TaskInput("add", ["1"]), [("args", 0)]),
        (TaskInput("add"), [("kwargs", "x")]),
    ],
    ids=repr,
)
async def test_bad_calls_are_refused(
    make: Make,
    store: TaskStore,
    settings: Settings,
    announced: TaskDefinition,
    task_input: TaskInput,
    paths: list[Path],
) -> None:
    """A call that cannot succeed, or could not be given back unchanged, stores nothing and says where it is wrong."""
    async with make(settings) as creator:
        with pytest.raises(MutationRefusedError) as refused:
            await creator.create(task_input, ANONYMOUS)
    assert [error.field for error in refused.value.refusals] == [["input", *map(str, path)] for path in paths]
    assert await store.lists.count({}, EVERYTHING) == 0
    assert announced.name == task_input.name


async def test_a_schema_that_takes_long_is_checked_in_a_thread(
    make: Make, settings: Settings, announced: TaskDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a check that took long, the next inputs of its task do not block other requests, and then one is tried."""
    monkeypatch.setattr(create, "_QUICK_SECONDS", -1.0)
    monkeypatch.setattr(create, "_AFTER_SLOW", 2)
    are_in_loop: list[bool] = []

    def noted(*args: Any) -> Any:
        are_in_loop.append(threading.current_thread() is threading.main_thread())
        return check(*args)

    monkeypatch.setattr(create, "check", noted)
    async with make(settings) as creator:
        for number in range(5):
            await creator.create(TaskInput(announced.name, [number]), ANONYMOUS)
        with pytest.raises(MutationRefusedError):
            await creator.create(TaskInput("unknown"), ANONYMOUS)
    assert are_in_loop == [True, False, False, True, False]
