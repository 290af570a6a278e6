"""The creation of tasks: check the calls against the announced definitions, store the records, publish the messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from pymongo.errors import DuplicateKeyError, PyMongoError

from gql_api import values
from gql_api.access.principal import Principal
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.aio.background import shielded
from gql_api.aio.batching import BatchedReads
from gql_api.api.commands import fail_points
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.restrictions import allows_name, problems_of, restricted
from gql_api.api.commands.task_input import TaskInput, check
from gql_api.api.creation.groups import CreationGroups
from gql_api.api.errors import ConflictError, MutationRefusedError, TaskErrorCode
from gql_api.api.quotas.quotas import NO_QUOTAS, Quotas
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.dispatch import Dispatcher, OperationalError, Transport
from gql_api.record import due, queries
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.telemetry.counters import TASKS_CREATED

logger = logging.getLogger(__name__)

# Cached definitions are read again after this time, which is when a newer announcement takes effect.
_DEFINITION_SECONDS = 2.0
_PUBLISHERS = 4
# A call does not wait longer for a broker that does not answer: the task is stored, and is published in its thread.
_PUBLISH_SECONDS = 2.0
# Other calls may take or release a key between the read and the write: then it is read again, so often at most.
_MAX_KEY_TRIES = 5
_CONCURRENCY = 20
_COMPARE_SECONDS = 30.0
# A schema may be one that takes long to check, whatever the size of the input.
_QUICK_SECONDS = 0.005
# Sends may wait for a broker that does not answer: others begin beside them.
_SENDS = 1000

# The options of a broker, and the ids of the brokers of live workers with them.
_Destination: TypeAlias = tuple[Transport, frozenset[str]]
# A task, and its document.
_Stored: TypeAlias = tuple[NewTask, Document]


@dataclass(frozen=True, slots=True)
class Creation:
    """A task, and whether this call created it: an earlier call with the same idempotency key may have."""

    record: TaskRecord
    created: bool


class Creator:
    """A creator of tasks, with a cache of task definitions and threads that publish messages.

    A call goes on when its caller is cancelled, for example because its WebSocket was closed: a task that is stored
    has to be announced and published too.
    """

    def __init__(
        self,
        settings: Settings,
        store: TaskStore,
        dispatcher: Dispatcher,
        changes: Changes,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self.quotas = quotas
        self._settings = settings
        self._store = store
        self._dispatcher = dispatcher
        self._changes = changes
        self._definitions: dict[str, tuple[float, TaskDefinition]] = {}
        self._slow: dict[str, TaskDefinition] = {}
        self._compares_from: dict[Transport, float] = {}
        self._groups = CreationGroups(store, settings)
        # Not reads, but the same: the tasks that are stored while others are being sent are sent next.
        self._sends: BatchedReads[_Stored, None] = BatchedReads(self._send_group, concurrency=_SENDS)
        self._publishing: set[asyncio.Future[None]] = set()
        self._publishers = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publisher")

    async def close(self) -> None:
        """Wait until all messages are published."""
        await asyncio.gather(*self._publishing)
        await asyncio.to_thread(self._publishers.shutdown)

    @shielded
    async def create(self, task_input: TaskInput, principal: Principal) -> Creation:
        """Create a task: when this returns it is stored durably, and published unless the broker was away.

        Raises:
            MutationRefusedError: no worker has announced the name, the call could not succeed, or its idempotency key
                belongs to a task with another input.
            ConflictError: other calls took the idempotency key at every try.
            QuotaExceededError: the caller has created too much.
            PyMongoError: MongoDB did not answer; the task may or may not be stored.
        """
        (task,) = await self._prepare([task_input], principal)
        if isinstance(task, MutationRefusedError):
            raise task
        await self.quotas.check_creates([task], principal)
        # An id that the caller chose may belong to a record that only the update of a single creation completes.
        joins_group = task_input.task_id is None and task_input.is_small
        try:
            document = await (self._groups if joins_group else self._store).create(task)
        except DuplicateKeyError:
            return await self._resolve_duplicate(task, principal)
        fail_points.reached(fail_points.CREATED)
        await (self._sends.load((task, document)) if joins_group else self._send([task], [document]))
        fail_points.reached(fail_points.PUBLISHED)
        return Creation(TaskRecord(document), created=True)

    @shielded
    async def create_many(
        self, inputs: Sequence[TaskInput], principal: Principal
    ) -> list[Creation | MutationRefusedError]:
        """Create tasks, each with its own outcome, by one insert and one pipelined publish.

        Raises:
            QuotaExceededError: the caller has created too much for all of them; none is stored.
            PyMongoError: MongoDB did not answer; any of the tasks may or may not be stored.
        """
        prepared = await self._prepare(inputs, principal)
        tasks = [task for task in prepared if isinstance(task, NewTask)]
        await self.quotas.check_creates(tasks, principal)
        stored, inserted = await self._store.create_many(tasks) if tasks else ({}, set())
        await self._send(
            [task for task in tasks if task.id in inserted], [stored[id_] for id_ in inserted if id_ in stored]
        )
        outcomes: list[Creation | MutationRefusedError] = []
        for start in range(0, len(prepared), _CONCURRENCY):
            outcomes += await asyncio.gather(
                *(self._outcome(each, stored, inserted, principal) for each in prepared[start : start + _CONCURRENCY])
            )
        return outcomes

    async def publish(self, task: NewTask) -> None:
        """Publish the message of a task that is already stored."""
        await self._publish([task])

    async def _outcome(
        self,
        task: NewTask | MutationRefusedError,
        stored: dict[str, Document],
        inserted: set[str],
        principal: Principal,
    ) -> Creation | MutationRefusedError:
        if isinstance(task, MutationRefusedError):
            return task
        if task.id in stored:
            return Creation(TaskRecord(stored[task.id]), created=task.id in inserted)
        try:
            return await self._resolve_duplicate(task, principal)
        except MutationRefusedError as refusal:
            return refusal
        except ConflictError as conflict:
            # An error in ``errors`` would hide the outcomes of all other inputs.
            path = ("input",) if task.idempotency_key is None else ("input", "idempotencyKey")
            return MutationRefusedError.because(TaskErrorCode.IDEMPOTENCY_CONFLICT, conflict.message, *path)

    async def _prepare(self, inputs: Sequence[TaskInput], principal: Principal) -> list[NewTask | MutationRefusedError]:
        definitions = await self._definitions_of({each.name for each in inputs})
        parents = await self._parents_of(inputs, principal)
        if any(each.idempotency_key is not None for each in inputs):
            await self._store.indexes.wait()
        if len(inputs) == 1 and inputs[0].is_small and self._is_quick(definitions.get(inputs[0].name)):
            return [self._prepare_quickly(inputs[0], definitions, parents, principal)]
        # Large calls take long to check, and other requests must not wait for that.
        return await asyncio.to_thread(
            lambda: [self._prepare_one(each, definitions, parents, principal) for each in inputs]
        )

    def _is_quick(self, definition: TaskDefinition | None) -> bool:
        return definition is None or self._slow.get(definition.name) is not definition

    def _prepare_quickly(
        self,
        task_input: TaskInput,
        definitions: dict[str, TaskDefinition],
        parents: dict[str, TaskRecord],
        principal: Principal,
    ) -> NewTask | MutationRefusedError:
        """Check a small input in the event loop; other inputs of the task do so in a thread if that took long."""
        begun = time.thread_time()
        prepared = self._prepare_one(task_input, definitions, parents, principal)
        if time.thread_time() - begun > _QUICK_SECONDS and task_input.name in definitions:
            self._slow[task_input.name] = definitions[task_input.name]
        return prepared

    def _prepare_one(
        self,
        task_input: TaskInput,
        definitions: dict[str, TaskDefinition],
        parents: dict[str, TaskRecord],
        principal: Principal,
    ) -> NewTask | MutationRefusedError:
        definition, restrictions = definitions.get(task_input.name), principal.restrictions
        # A name that the token does not allow looks like an unknown one.
        if definition is None or not allows_name(restrictions, task_input.name):
            message = f"name: no worker has announced a task named {task_input.name!r}; taskDefinitions lists all names"
            return MutationRefusedError.because(TaskErrorCode.UNKNOWN_TASK_NAME, message, "input", "name")
        if not definition.recorded:
            message = (
                f"name: tasks of {task_input.name!r} are not recorded (record=False): send them from the application"
            )
            return MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "input", "name")
        parent = parents.get(task_input.parent_id or "")
        task_input = restricted(task_input, definition, restrictions)
        problems = [
            *check(task_input, definition, parent, self._settings),
            *problems_of(task_input, definition, restrictions),
        ]
        if problems:
            return MutationRefusedError.for_problems(problems[: values.MAX_PROBLEMS], "input")
        task = task_input.new_task(task_input.task_id or str(uuid.uuid4()), definition, parent, principal)
        # To compare a task takes as long as to check its arguments, which those who see everything need not wait for.
        visibility = principal.visibility
        if not visibility.sees_everything and not visibility.sees(queries.expected(task)):
            message = "input: the token sees only tasks that match its filter, and this task would not match it"
            return MutationRefusedError.because(TaskErrorCode.INVALID_INPUT, message, "input")
        return task

    async def _parents_of(self, inputs: Sequence[TaskInput], principal: Principal) -> dict[str, TaskRecord]:
        ids = {each.parent_id for each in inputs if each.parent_id is not None and values.is_text(each.parent_id)}
        if not ids:
            return {}
        return {record.id: record for record in await self._store.get_many(ids, principal.visibility)}

    async def _definitions_of(self, names: Iterable[str]) -> dict[str, TaskDefinition]:
        """Return the definitions with these names, and read those that are not cached or too old."""
        now = time.monotonic()
        fresh = {name for name, (read_at, _) in self._definitions.items() if now - read_at <= _DEFINITION_SECONDS}
        stale = [name for name in names if name not in fresh and values.is_text(name)]
        found = {definition.name: definition for definition in await self._store.definitions(stale)} if stale else {}
        for name in stale:
            cached = self._definitions.pop(name, None)
            if name in found:
                # An unchanged definition keeps the validator that it has compiled.
                same = cached is not None and cached[1] == found[name]
                self._definitions[name] = now, cached[1] if cached is not None and same else found[name]
        return {name: self._definitions[name][1] for name in names if name in self._definitions}

    async def _resolve_duplicate(self, task: NewTask, principal: Principal) -> Creation:
        """Return the task that has the idempotency key, or create the task once that one's key has expired."""
        key, lifetime = task.idempotency_key, self._settings.idempotency_key_seconds
        for _ in range(_MAX_KEY_TRIES if key is not None else 0):
            existing = await self._store.by_idempotency_key(task.key_space, task.name, key or "")
            if existing is not None and not await self._store.release_key(existing.id, lifetime):
                return _earlier(existing, task, principal.visibility)
            with contextlib.suppress(DuplicateKeyError):
                document = await self._store.create(task)
                await self._send([task], [document])
                return Creation(TaskRecord(document), created=True)
        if key is None:
            raise ConflictError(f"Task {task.id} was created and deleted by other calls at the same time: call again")
        raise ConflictError(
            f"idempotencyKey: other calls took the key during each of {_MAX_KEY_TRIES} tries: call again"
        )

    async def _send_group(self, stored: Sequence[_Stored]) -> list[None]:
        await self._send([task for task, _ in stored], [document for _, document in stored], are_small=True)
        return [None] * len(stored)

    async def _send(self, tasks: Sequence[NewTask], documents: Sequence[Document], *, are_small: bool = False) -> None:
        """Announce stored records, and publish the messages of those that may start now."""
        TASKS_CREATED.inc(len(documents))
        waiting = {record.id: record for record in map(TaskRecord, documents) if record.status is Status.QUEUED}
        now = [_sent_now(task, waiting[task.id]) for task in tasks if task.id in waiting]
        await asyncio.gather(self._changes.announce(documents, are_small=are_small), self._publish(now))

    async def _publish(self, tasks: Sequence[NewTask]) -> None:
        """Publish messages from a thread, for Celery's publishing blocks.

        The tasks are stored, so the call succeeds even if the broker is away.
        """
        if not tasks:
            return
        publishing = asyncio.ensure_future(self._publish_and_note(await self._by_destination(tasks)))
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        with contextlib.suppress(TimeoutError):  # the thread continues
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await asyncio.shield(publishing)

    async def _publish_and_note(self, by_destination: Mapping[_Destination, Sequence[NewTask]]) -> None:
        loop = asyncio.get_running_loop()
        sent = await loop.run_in_executor(self._publishers, self._publish_or_log, by_destination)
        if not sent or not self._settings.shares_queues:
            return
        try:
            numbers = {task.attempts for task in sent}
            await self._store.change_many(
                [due.sent([task.id for task in sent if task.attempts == number], number) for number in numbers],
                EVERYTHING,
            )
        except PyMongoError as error:
            logger.warning(
                "%d tasks are sent, and perhaps sent again, for that could not be noted: %s", len(sent), error
            )

    async def _by_destination(self, tasks: Sequence[NewTask]) -> dict[_Destination, list[NewTask]]:
        """Group tasks by the broker from which their workers receive messages."""
        names = {task.name for task in tasks}
        try:
            definitions = await self._definitions_of(names)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the workers' brokers are those of before: %s", error)
            definitions = {name: self._definitions[name][1] for name in names if name in self._definitions}
        grouped: dict[_Destination, list[NewTask]] = {}
        for task in tasks:
            definition = definitions.get(task.name)
            destination = ((), frozenset[str]()) if definition is None else (definition.transport, definition.brokers)
            grouped.setdefault(destination, []).append(task)
        return grouped

    def _publish_or_log(self, by_destination: Mapping[_Destination, Sequence[NewTask]]) -> list[NewTask]:
        """Publish messages, and return the tasks whose messages the broker has."""
        sent: list[NewTask] = []
        for (transport, brokers), tasks in by_destination.items():
            try:
                self._dispatcher.publish(tasks, transport)
            except OperationalError as error:
                ids = ", ".join(task.id for task in tasks)
                logger.warning("Task %s is stored, but the broker did not take its message: %s", ids, error)
            else:
                sent += tasks
                self._compare(transport, brokers, tasks[0].name)
        return sent

    def _compare(self, transport: Transport, brokers: frozenset[str], name: str) -> None:
        """Log, every half a minute at most, that the workers of a task have another broker than this process."""
        now = time.monotonic()
        if not brokers or now < self._compares_from.get(transport, 0.0):
            return
        self._compares_from[transport] = now + _COMPARE_SECONDS
        try:
            # The brokers are those of the workers' last heartbeats.
            differs = self._dispatcher.broker_id(transport) not in brokers
        except OperationalError:
            return
        if differs:
            logger.error(
                "The workers that run %s receive messages from another Redis, or another database of it, than that of "
                "CELERY_BROKER_URL: set the address that they have. Until then, tasks start late",
                name,
            )


def _sent_now(task: NewTask, record: TaskRecord) -> NewTask:
    # The expiry in the record is by the database's clock.
    return task if task.expires_at == record.expires_at else replace(task, expires_at=record.expires_at)


def _earlier(existing: TaskRecord, task: NewTask, visibility: Visibility) -> Creation:
    """Return the task of an earlier call with the same key and input; of one with another input, name only the id.

    A task that its caller may not see any more, because its metadata has changed, is not named either.
    """
    if not visibility.sees(existing):
        message = "idempotencyKey: must be new, got one that an earlier call has used"
        raise MutationRefusedError.because(TaskErrorCode.IDEMPOTENCY_CONFLICT, message, "input", "idempotencyKey")
    if existing.input_digest == task.input_digest:
        return Creation(existing, created=False)
    message = f"idempotencyKey: must be new or come with the same input, got the key of task {existing.id}"
    raise MutationRefusedError.because(TaskErrorCode.IDEMPOTENCY_CONFLICT, message, "input", "idempotencyKey")
