"""Creating tasks: check the calls against what workers announced, store the records, then publish their messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pymongo.errors import DuplicateKeyError

from gql_api import values
from gql_api.api.commands import fail_points
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.task_input import TaskInput, first_problems
from gql_api.api.errors import RefusedError, TaskErrorCode
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.dispatch import Dispatcher, OperationalError
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.telemetry.counters import TASKS_CREATED

logger = logging.getLogger(__name__)

# How long an announced definition is taken for good: a worker with a newer one is noticed after this.
_DEFINITION_SECONDS = 2.0
_PUBLISHERS = 4
# A broker that does not answer holds a call up for so long at most: the task is stored.
_PUBLISH_SECONDS = 2.0
# A key that is being released and taken at the same time is looked up again.
_KEY_TRIES = 5
_CONCURRENCY = 20


@dataclass(frozen=True, slots=True)
class Creation:
    """A task, and whether this call made it: one with the same idempotency key may have."""

    record: TaskRecord
    created: bool


class Creator:
    """Creates tasks."""

    def __init__(self, settings: Settings, store: TaskStore, dispatcher: Dispatcher, changes: Changes) -> None:
        self._settings = settings
        self._store = store
        self._dispatcher = dispatcher
        self._changes = changes
        self._definitions: dict[str, tuple[float, TaskDefinition]] = {}
        self._publishers = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publisher")

    async def close(self) -> None:
        """Wait for messages that are still to be published."""
        await asyncio.to_thread(self._publishers.shutdown)

    async def create(self, wanted: TaskInput) -> Creation:
        """Create a task: when this returns it is stored durably, and published unless the broker was away.

        Raises:
            RefusedError: no worker has announced the name, the call could not succeed, or its idempotency key is
                another task's.
            PyMongoError: MongoDB did not answer; whether the task was stored is then unknown.
        """
        (task,) = await self._prepare([wanted])
        if isinstance(task, RefusedError):
            raise task
        try:
            document = await self._store.create(task)
        except DuplicateKeyError:
            return await self._with_key(task)
        fail_points.reached(fail_points.CREATED)
        await self._send([task], [document])
        fail_points.reached(fail_points.PUBLISHED)
        return Creation(TaskRecord(document), created=True)

    async def create_many(self, wanted: Sequence[TaskInput]) -> list[Creation | RefusedError]:
        """Create tasks, each with its own outcome, by one insert and one pipelined publish.

        Raises:
            PyMongoError: MongoDB did not answer; which of the tasks were stored is then unknown.
        """
        prepared = await self._prepare(wanted)
        tasks = [task for task in prepared if isinstance(task, NewTask)]
        there, made = await self._store.create_many(tasks) if tasks else ({}, set())
        await self._send([task for task in tasks if task.id in made], [there[id_] for id_ in made if id_ in there])
        outcomes: list[Creation | RefusedError] = []
        for start in range(0, len(prepared), _CONCURRENCY):
            outcomes += await asyncio.gather(
                *(self._outcome(each, there, made) for each in prepared[start : start + _CONCURRENCY])
            )
        return outcomes

    async def publish(self, task: NewTask) -> None:
        """Send the message of a task that is recorded already."""
        await self._publish([task])

    async def _outcome(
        self, task: NewTask | RefusedError, there: dict[str, Document], made: set[str]
    ) -> Creation | RefusedError:
        if isinstance(task, RefusedError):
            return task
        if task.id in there:
            return Creation(TaskRecord(there[task.id]), created=task.id in made)
        try:
            return await self._with_key(task)
        except RefusedError as refusal:
            return refusal

    async def _prepare(self, wanted: Sequence[TaskInput]) -> list[NewTask | RefusedError]:
        definitions = await self._definitions_of({each.name for each in wanted})
        parents = await self._parents_of(wanted)
        if any(each.idempotency_key is not None for each in wanted):
            await self._store.indexes.wait()
        # Large calls take long to check, and other requests do not wait for that.
        return await asyncio.to_thread(lambda: [self._prepared(each, definitions, parents) for each in wanted])

    def _prepared(
        self, wanted: TaskInput, definitions: dict[str, TaskDefinition], parents: dict[str, TaskRecord]
    ) -> NewTask | RefusedError:
        definition = definitions.get(wanted.name)
        if definition is None:
            message = f"No worker has announced a task named {wanted.name!r}; taskDefinitions lists those there are"
            return RefusedError.because(TaskErrorCode.UNKNOWN_TASK_NAME, message, "input", "name")
        parent = parents.get(wanted.parent_id or "")
        problems = first_problems(wanted, definition, parent, self._settings)
        if problems:
            return RefusedError.for_problems(problems, "input")
        return wanted.task(wanted.task_id or str(uuid.uuid4()), definition, parent)

    async def _parents_of(self, wanted: Sequence[TaskInput]) -> dict[str, TaskRecord]:
        ids = {each.parent_id for each in wanted if each.parent_id is not None and values.is_text(each.parent_id)}
        return {record.id: record for record in await self._store.get_many(ids)} if ids else {}

    async def _definitions_of(self, names: Iterable[str]) -> dict[str, TaskDefinition]:
        """Read what is not known yet, or not any more for sure."""
        now = time.monotonic()
        fresh = {name for name, (read_at, _) in self._definitions.items() if now - read_at <= _DEFINITION_SECONDS}
        stale = [name for name in names if name not in fresh and values.is_text(name)]
        found = {definition.name: definition for definition in await self._store.definitions(stale)} if stale else {}
        for name in stale:
            known = self._definitions.pop(name, None)
            if name in found:
                # One that has not changed keeps the validator that it has made.
                same = known is not None and known[1] == found[name]
                self._definitions[name] = now, known[1] if known is not None and same else found[name]
        return {name: self._definitions[name][1] for name in names if name in self._definitions}

    async def _with_key(self, task: NewTask) -> Creation:
        """Answer with the task that has the key already, or take the key from one that has had it long enough."""
        key, lifetime = task.idempotency_key, self._settings.idempotency_key_seconds
        for _ in range(_KEY_TRIES if key is not None else 0):
            existing = await self._store.with_key(task.name, key or "")
            if existing is not None and not await self._store.release_key(existing.id, lifetime):
                return _same(existing, task)
            with contextlib.suppress(DuplicateKeyError):
                document = await self._store.create(task)
                await self._send([task], [document])
                return Creation(TaskRecord(document), created=True)
        raise AssertionError(f"the id {task.id} or its key is taken, but by no task")

    async def _send(self, tasks: Sequence[NewTask], documents: Sequence[Document]) -> None:
        """Announce what was stored, and publish what is not to start later."""
        TASKS_CREATED.inc(len(documents))
        waiting = {record.id for record in map(TaskRecord, documents) if record.status is Status.QUEUED}
        now = [task for task in tasks if task.id in waiting]
        await asyncio.gather(self._changes.announce(documents), self._publish(now))

    async def _publish(self, tasks: Sequence[NewTask]) -> None:
        """Send messages from a thread: Celery's publishing blocks.

        The tasks are recorded, so a broker that is away is no error of the call.
        """
        if not tasks:
            return
        loop = asyncio.get_running_loop()
        publishing = loop.run_in_executor(self._publishers, self._publish_or_log, tasks)
        with contextlib.suppress(TimeoutError):  # it goes on in its thread
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await asyncio.shield(publishing)

    def _publish_or_log(self, tasks: Sequence[NewTask]) -> None:
        try:
            self._dispatcher.publish(tasks)
        except OperationalError as error:
            ids = ", ".join(task.id for task in tasks)
            logger.warning("Task %s is stored, but the broker did not take its message: %s", ids, error)


def _same(existing: TaskRecord, task: NewTask) -> Creation:
    if existing.input_digest == task.input_digest:
        return Creation(existing, created=False)
    message = f"The key was used for task {existing.id}, with another input"
    raise RefusedError.because(TaskErrorCode.IDEMPOTENCY_CONFLICT, message, "input", "idempotencyKey", task=existing)
