"""The messages of small tasks that are sent in one round trip with their events."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from creating import create, input_of
from front import Front
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as NotConnectedError

from gql_api.api.commands import sending
from gql_api.dispatch import Dispatcher
from gql_api.registry.definitions import TaskDefinition

pytestmark = pytest.mark.usefixtures("announced")


class _Publishes:
    """The calls of kombu's publisher."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[str] = []
        publish = Dispatcher.publish

        def noting(dispatcher: Dispatcher, tasks: Any, *args: Any) -> None:
            self.ids += [task.id for task in tasks]
            publish(dispatcher, tasks, *args)

        monkeypatch.setattr(Dispatcher, "publish", noting)


@pytest.fixture
def publishes(monkeypatch: pytest.MonkeyPatch) -> _Publishes:
    """What kombu publishes."""
    return _Publishes(monkeypatch)


async def _ids(redis: Redis, queue: str) -> list[str]:
    return [json.loads(message)["headers"]["id"] for message in reversed(await redis.lrange(queue, 0, -1))]


async def test_kombu_sends_the_first_message_only(
    front: Front, redis: Redis, announced: TaskDefinition, publishes: _Publishes
) -> None:
    """Then one pipeline has the events and the messages of a group, in the order of the events."""
    await redis.delete(announced.queue)
    first = await create(front, input_of())
    later = [*await create(front, input_of()), *await create(front, *map(input_of, range(5)))]
    ids = [each.record.id for each in first + later]
    assert publishes.ids == ids[:1]
    assert await _ids(redis, announced.queue) == ids
    await redis.delete(announced.queue)


async def test_kombu_sends_what_the_events_connection_does_not(
    front: Front,
    redis: Redis,
    announced: TaskDefinition,
    publishes: _Publishes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No call fails, and no message is lost: it may be there twice, which starts a task once."""
    await redis.delete(announced.queue)
    await create(front, input_of())
    execute = Pipeline.execute

    async def lost(pipeline: Pipeline, **options: Any) -> Any:
        await execute(pipeline, **options)
        raise NotConnectedError("the answer was lost")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Pipeline, "execute", lost)
        outcomes = await create(front, *map(input_of, range(3)))
    ids = {each.record.id for each in outcomes}
    assert all(each.created for each in outcomes)
    assert {*publishes.ids[1:]} == ids
    assert {*(await _ids(redis, announced.queue))[1:]} == ids
    assert "The events of" in caplog.text
    await redis.delete(announced.queue)


async def test_kombu_sends_again_now_and_then(
    front: Front,
    redis: Redis,
    announced: TaskDefinition,
    publishes: _Publishes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It binds queues that Redis has lost, and the broker is compared with that of the workers."""
    monkeypatch.setattr(sending, "_COMPARE_SECONDS", 0.0)
    outcomes = [*await create(front, input_of()), *await create(front, input_of())]
    assert publishes.ids == [each.record.id for each in outcomes]
    await redis.delete(announced.queue)


async def test_events_elsewhere_take_no_messages_along(
    front: Front,
    redis: Redis,
    announced: TaskDefinition,
    publishes: _Publishes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where REDIS_URL is not the broker, kombu sends every message."""
    monkeypatch.setattr("gql_api.settings.Settings.has_events_in_broker", False)
    outcomes = [*await create(front, input_of()), *await create(front, input_of())]
    assert publishes.ids == [each.record.id for each in outcomes]
    await redis.delete(announced.queue)
