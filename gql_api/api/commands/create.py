"""The creation of tasks: check the calls against the announced definitions, store the records, send the tasks."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from pymongo.errors import DuplicateKeyError

from gql_api import values
from gql_api.access.principal import Principal
from gql_api.access.visibility import Visibility
from gql_api.aio.background import shielded
from gql_api.api.commands import fail_points
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.known_definitions import KnownDefinitions
from gql_api.api.commands.restrictions import allows_name, problems_of, restricted
from gql_api.api.commands.sending import TaskSender
from gql_api.api.commands.task_input import TaskInput, are_small, check
from gql_api.api.creation.groups import CreationGroups
from gql_api.api.errors import ConflictError, MutationRefusedError, TaskErrorCode
from gql_api.api.quotas.quotas import NO_QUOTAS, Quotas
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.dispatch import Dispatcher
from gql_api.record import queries
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

# Other calls may take or release a key between the read and the write: then it is read again, so often at most.
_MAX_KEY_TRIES = 5
_CONCURRENCY = 20
# A schema may be one that takes long to check, whatever the size of the input: so many of the next inputs of its task
# are then checked in a thread.
_QUICK_SECONDS = 0.005
_AFTER_SLOW = 100


@dataclass(frozen=True, slots=True)
class Creation:
    """A task, and whether this call created it: an earlier call with the same idempotency key may have."""

    record: TaskRecord
    created: bool


class Creator:
    """A creator of tasks.

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
        self._definitions = KnownDefinitions(store)
        self._next_in_threads: dict[str, int] = {}
        self._sender = TaskSender(settings, store, self._definitions, dispatcher, changes)
        self._groups = CreationGroups(store, settings, self._sender.send_group)

    async def close(self) -> None:
        """Wait until all messages are published."""
        await self._sender.close()

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
        joins_group = task_input.task_id is None and _is_small(task_input, principal)
        try:
            # A group goes on by itself. To shield each of its calls takes longer than to encode its task.
            document = await (self._groups.create(task) if joins_group else self._create_alone(task))
        except DuplicateKeyError:
            return await self._resolve_duplicate(task, principal)
        return Creation(TaskRecord(document), created=True)

    @shielded
    async def _create_alone(self, task: NewTask) -> Document:
        document = await self._store.create(task)
        fail_points.reached(fail_points.CREATED)
        await self._sender.send([task], [document])
        fail_points.reached(fail_points.PUBLISHED)
        return document

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
        await self._sender.send(
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
        await self._sender.publish([task])

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
        definitions = await self._definitions.of({each.name for each in inputs})
        parents = await self._parents_of(inputs, principal)
        if any(each.idempotency_key is not None for each in inputs):
            await self._store.indexes.wait()
        if len(inputs) == 1 and _is_small(inputs[0], principal) and self._is_quick(inputs[0].name):
            return [self._prepare_quickly(inputs[0], definitions, parents, principal)]
        # Large calls take long to check, and other requests must not wait for that.
        return await asyncio.to_thread(
            lambda: [self._prepare_one(each, definitions, parents, principal) for each in inputs]
        )

    def _is_quick(self, name: str) -> bool:
        left = self._next_in_threads.pop(name, 0)
        if left > 1:
            self._next_in_threads[name] = left - 1
        return not left

    def _prepare_quickly(
        self,
        task_input: TaskInput,
        definitions: dict[str, TaskDefinition],
        parents: dict[str, TaskRecord],
        principal: Principal,
    ) -> NewTask | MutationRefusedError:
        """Check a small input in the event loop, and note if that took long."""
        begun = time.thread_time()
        prepared = self._prepare_one(task_input, definitions, parents, principal)
        if time.thread_time() - begun > _QUICK_SECONDS and task_input.name in definitions:
            self._next_in_threads[task_input.name] = _AFTER_SLOW
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

    @shielded
    async def _resolve_duplicate(self, task: NewTask, principal: Principal) -> Creation:
        """Return the task that has the idempotency key, or create the task once that one's key has expired."""
        key, lifetime = task.idempotency_key, self._settings.idempotency_key_seconds
        for _ in range(_MAX_KEY_TRIES if key is not None else 0):
            existing = await self._store.by_idempotency_key(task.key_space, task.name, key or "")
            if existing is not None and not await self._store.release_key(existing.id, lifetime):
                return _earlier(existing, task, principal.visibility)
            with contextlib.suppress(DuplicateKeyError):
                document = await self._store.create(task)
                await self._sender.send([task], [document])
                return Creation(TaskRecord(document), created=True)
        if key is None:
            raise ConflictError(f"Task {task.id} was created and deleted by other calls at the same time: call again")
        raise ConflictError(
            f"idempotencyKey: other calls took the key during each of {_MAX_KEY_TRIES} tries: call again"
        )


def _is_small(task_input: TaskInput, principal: Principal) -> bool:
    """Return whether the values of a task are small, with those that the token adds."""
    forced = principal.restrictions.metadata
    return task_input.is_small and (not forced or are_small([dict(forced)]))


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
