"""Creating a task: check the call against what workers announced, store the record, then publish its message."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gql_api import fail_points
from gql_api.store import Document, TaskStore
from jobs import events, values
from jobs.definitions import TaskDefinition
from jobs.dispatch import Dispatcher, OperationalError, can_carry
from jobs.record.details import NewTask
from jobs.record.reads import TaskRecord
from jobs.settings import Settings
from jobs.values import Problem

logger = logging.getLogger(__name__)

# How long an announced definition is taken for good: a worker with a newer one is noticed after this.
_DEFINITION_SECONDS = 2.0
_PUBLISHERS = 4
# A broker that does not answer holds a call up for so long at most: the task is stored.
_PUBLISH_SECONDS = 2.0


@dataclass(frozen=True)
class TaskInput:
    """What a caller asks for, before anything is known to be right about it."""

    name: str
    args: Any = field(default_factory=list)
    kwargs: Any = field(default_factory=dict)
    metadata: Any = field(default_factory=dict)


class UnknownTaskNameError(Exception):
    """No worker has announced a task of this name."""


class InvalidInputError(Exception):
    """The call cannot succeed as it is."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class Creator:
    """Creates tasks."""

    def __init__(self, settings: Settings, store: TaskStore, dispatcher: Dispatcher, redis: Redis) -> None:
        self._settings = settings
        self._store = store
        self._dispatcher = dispatcher
        self._redis = redis
        self._definitions: dict[str, tuple[float, TaskDefinition]] = {}
        self._publishers = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publisher")

    async def close(self) -> None:
        """Wait for messages that are still to be published."""
        await asyncio.to_thread(self._publishers.shutdown)

    async def create(self, wanted: TaskInput) -> TaskRecord:
        """Create a task: when this returns it is stored durably, and published unless the broker was away.

        Raises:
            UnknownTaskNameError: no worker has announced the name.
            InvalidInputError: the call could not succeed, or could not be given back unchanged.
            PyMongoError: MongoDB did not answer; whether the task was stored is then unknown.
        """
        definition = await self._definition(wanted.name)
        # A large call takes long to check, and other requests do not wait for that.
        problems = await asyncio.to_thread(self._first_problems, wanted, definition)
        if problems:
            raise InvalidInputError(problems)
        task = NewTask(
            id=str(uuid.uuid4()),
            name=wanted.name,
            args=wanted.args,
            kwargs=wanted.kwargs,
            metadata=wanted.metadata,
            queue=definition.queue,
        )
        document = await self._store.create(task)
        fail_points.reached(fail_points.CREATED)
        await asyncio.gather(self._announce(task.id, document), self._publish(task))
        fail_points.reached(fail_points.PUBLISHED)
        return TaskRecord(document)

    async def _definition(self, name: str) -> TaskDefinition:
        read_at, definition = self._definitions.get(name, (0.0, None))
        if definition is None or time.monotonic() - read_at > _DEFINITION_SECONDS:
            found = await self._store.definitions([name]) if values.is_text(name) else []
            if not found:
                self._definitions.pop(name, None)
                raise UnknownTaskNameError(name)
            if found[0] != definition:
                definition = found[0]
            self._definitions[name] = time.monotonic(), definition
        return definition

    def _first_problems(self, wanted: TaskInput, definition: TaskDefinition) -> list[Problem]:
        return list(itertools.islice(self._problems(wanted, definition), values.MOST_PROBLEMS))

    def _problems(self, wanted: TaskInput, definition: TaskDefinition) -> Iterator[Problem]:
        shape = list(_wrong_kinds(wanted))
        if shape:
            yield from shape
            return
        limit = self._settings.arguments_max_bytes
        problems = [
            *values.check(wanted.metadata, ("metadata",), self._settings.metadata_max_bytes),
            *values.check(wanted.args, ("args",), limit),
            *values.check(wanted.kwargs, ("kwargs",), limit),
        ]
        yield from problems
        if problems:
            return
        for name, value in (("args", wanted.args), ("kwargs", wanted.kwargs)):
            if not can_carry(value):
                yield Problem((name,), "holds a __type__ with a __value__ that Celery cannot read")
        yield from definition.check(wanted.args, wanted.kwargs)

    async def _announce(self, task_id: str, document: Document) -> None:
        try:
            await self._redis.publish(events.channel(task_id), events.encode(document))
        except RedisError as error:
            logger.warning("The event of task %s was not published: %s", task_id, error)

    async def _publish(self, task: NewTask) -> None:
        """Send the message from a thread: Celery's publishing blocks.

        The task is recorded, so a broker that is away is no error of the call.
        """
        loop = asyncio.get_running_loop()
        publishing = loop.run_in_executor(self._publishers, self._publish_or_log, task)
        with contextlib.suppress(TimeoutError):  # it goes on in its thread
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await asyncio.shield(publishing)

    def _publish_or_log(self, task: NewTask) -> None:
        try:
            self._dispatcher.publish(task)
        except OperationalError as error:
            logger.warning("Task %s is stored, but the broker did not take its message: %s", task.id, error)


def _wrong_kinds(wanted: TaskInput) -> Iterator[Problem]:
    if not isinstance(wanted.args, list):
        yield Problem(("args",), "must be a JSON array")
    if not isinstance(wanted.kwargs, dict):
        yield Problem(("kwargs",), "must be a JSON object")
    if not isinstance(wanted.metadata, dict):
        yield Problem(("metadata",), "must be a JSON object")
