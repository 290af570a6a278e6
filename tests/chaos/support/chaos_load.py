"""The load of a run: clients that create tasks of every kind, cancel, change and delete them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from chaos_client import Client, LossError, RefusedError
from chaos_ledger import Cancel, Edit, KeyUse, Ledger, Order

SHARDS = 3

_CREATE = """mutation ($input: CreateTaskInput!) {
  createTask(input: $input) { created task { id } userErrors { code message field } }
}"""
_CANCEL = """mutation ($id: ID!, $force: Boolean, $cascade: Boolean) {
  cancelTask(id: $id, force: $force, cascade: $cascade, reason: "chaos") {
    task { status } userErrors { code message }
  }
}"""
_CANCEL_BATCH = """mutation ($batch: JSON!) {
  cancelTasks(filter: {metadata: [{path: "batch", eq: $batch}]}, dryRun: false) {
    matched changed userErrors { code message }
  }
}"""
_CANCEL_FAR = """mutation {
  cancelTasks(filter: {statuses: [SCHEDULED], metadata: [{path: "far", eq: true}]}, dryRun: false) {
    matched changed userErrors { code message }
  }
}"""
_CREATE_MANY = """mutation ($inputs: [CreateTaskInput!]!) {
  createTasks(inputs: $inputs) { results { task { id } userErrors { code message } } userErrors { code message } }
}"""
_EDIT = """mutation ($id: ID!, $operations: [MetadataOperation!]!) {
  updateTaskMetadata(id: $id, operations: $operations) { userErrors { code message } }
}"""
_DELETE = "mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId userErrors { code message } } }"
_TASK = "query ($id: ID!) { task(id: $id) { isFinal result } }"

_STORIES_PER_SECOND = 4.0
_POLL_SECONDS = 0.3
# The load pauses while so many tasks are unfinished, so that it can be worked off.
_MAX_UNFINISHED = 120
_WATCHED_SHARE = 0.5
_RECENT = 30
_BURST = 40
# The options of a task that is to be cancelled before it starts.
_FAR_SECONDS = 3600.0
_FAR: dict[str, Any] = {"delaySeconds": _FAR_SECONDS, "metadata": {"far": True}}


@dataclass
class Load:
    """The clients.

    Args:
        watch: lets a watcher follow a task.
        unfinished: counts the tasks that have not ended.
    """

    client: Client
    ledger: Ledger
    chance: random.Random
    watch: Callable[[str], None]
    unfinished: Callable[[], int]
    stories: int = 0
    _recent: list[str] = field(default_factory=list)

    async def run(self, over: asyncio.Event) -> None:
        """Begin stories until ``over`` is set, and return when the last one has come to its end."""
        kinds: dict[Callable[[], Awaitable[object]], int] = {
            self._instant: 8,
            self._burst: 1,
            self._long: 4,
            self._failing: 3,
            self._retrying: 4,
            self._retrying_later: 4,
            self._replaced: 4,
            self._chain: 2,
            self._group: 2,
            self._chord: 2,
            self._children: 2,
            self._scheduled: 3,
            self._expiring: 2,
            self._keyed: 4,
            self._cancel_waiting: 2,
            self._cancel_running: 3,
            self._cancel_forced: 2,
            self._cancel_cascade: 1,
            self._cancel_batch: 1,
            self._edit: 5,
            self._delete: 2,
        }
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                await asyncio.sleep(self.chance.expovariate(_STORIES_PER_SECOND))
                if self.unfinished() < _MAX_UNFINISHED:
                    (story,) = self.chance.choices(list(kinds), list(kinds.values()))
                    group.create_task(self._tell(story))
        # Those whose creation was not acknowledged were not cancelled.
        await self._tell(lambda: self._cancel_all(_CANCEL_FAR))

    async def _tell(self, story: Callable[[], Awaitable[object]]) -> None:
        self.stories += 1
        # The client keeps what it was refused.
        with contextlib.suppress(RefusedError):
            await story()

    async def create(self, function: str, kwargs: dict[str, Any], **options: Any) -> str | None:
        """Create a task by one call; return its id, or None if the outcome is unknown."""
        asked = time.monotonic()
        try:
            payload = await self._create_on(self.client.any_replica(), function, kwargs, options)
        except LossError:
            self.ledger.losses += 1
            return None
        self._expect_no_errors(payload)
        return self._note(payload["task"]["id"], function, asked, options)

    async def _create_on(
        self, replica: int, function: str, kwargs: dict[str, Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        metadata = {"kind": function, "shard": self.chance.randrange(SHARDS), **options.get("metadata", {})}
        input_ = {"name": f"chaos_tasks.{function}", "kwargs": kwargs, **options, "metadata": metadata}
        payload: dict[str, Any] = (await self.client.execute(replica, _CREATE, input=input_))["createTask"]
        return payload

    def _note(self, task_id: str, function: str, asked: float, options: dict[str, Any]) -> str:
        delay, expires = options.get("delaySeconds", 0.0), options.get("expiresInSeconds")
        self.ledger.orders[task_id] = Order(task_id, function, asked, time.monotonic(), delay, expires)
        return task_id

    def _follow(self, task_id: str | None) -> None:
        """Let some tasks be watched, and keep the latest ones for changes of their metadata."""
        if task_id is None:
            return
        self._recent = [*self._recent, task_id][-_RECENT:]
        if self.chance.random() < _WATCHED_SHARE:
            self.watch(task_id)

    async def _instant(self) -> None:
        kwargs = {"value": self.chance.random(), "effects": self.chance.randrange(3), "lines": self.chance.randrange(3)}
        self._follow(await self.create("work", kwargs, priority=self.chance.choice([0, 0, 5])))

    async def _burst(self) -> None:
        """Create many short tasks by one call."""
        inputs = [
            {"name": "chaos_tasks.work", "kwargs": {"value": n, "effects": n % 2}, "metadata": {"shard": n % SHARDS}}
            for n in range(_BURST)
        ]
        asked = time.monotonic()
        try:
            payload = (await self.client.execute(self.client.any_replica(), _CREATE_MANY, inputs=inputs))["createTasks"]
        except LossError:
            self.ledger.losses += 1
            return
        for result in (payload, *payload["results"]):
            self._expect_no_errors(result)
        for result in payload["results"]:
            self._note(result["task"]["id"], "work", asked, {})

    async def _long(self) -> None:
        steps = self.chance.randint(1, 5)
        kwargs = {"seconds": self.chance.uniform(1, 5), "value": self.chance.random(), "effects": steps, "lines": steps}
        self._follow(await self.create("work", kwargs))

    async def _failing(self) -> None:
        self._follow(await self.create("work", {"seconds": self.chance.random(), "effects": 1, "fail": True}))

    async def _retrying(self) -> None:
        self._follow(await self.create("retrying", {"times": self.chance.randint(1, 5), "countdown": 0.0}))

    async def _retrying_later(self) -> None:
        kwargs = {"times": self.chance.randint(1, 3), "countdown": self.chance.uniform(0.3, 3.0)}
        self._follow(await self.create("retrying", kwargs))

    async def _replaced(self) -> None:
        kwargs = {"seconds": self.chance.random(), "value": self.chance.randrange(1000)}
        self._follow(await self.create("replaced", kwargs))

    async def _chain(self) -> None:
        task_id = await self.create("start_chain", {"seconds": self.chance.random()})
        self._follow(task_id)
        if task_id is not None and self.chance.random() < 1 / 3:
            task = await self._finished(task_id)
            await self._delete_finished(list((task["result"] or {}).get("sent", {}))[1:2])

    async def _group(self) -> None:
        kwargs = {"members": self.chance.randint(2, 5), "seconds": self.chance.random()}
        self._follow(await self.create("start_group", kwargs))

    async def _chord(self) -> None:
        kwargs = {"members": self.chance.randint(2, 5), "seconds": self.chance.random()}
        self._follow(await self.create("start_chord", kwargs))

    async def _children(self) -> None:
        kwargs = {"seconds": self.chance.random(), "countdown": self.chance.uniform(0.5, 3.0), "expires": _FAR_SECONDS}
        self._follow(await self.create("start_children", kwargs))

    async def _scheduled(self) -> None:
        delay = self.chance.uniform(0.5, 5.0)
        self._follow(await self.create("work", {"value": self.chance.random()}, delaySeconds=delay))

    async def _expiring(self) -> None:
        expires = self.chance.uniform(0.2, 4.0)
        self._follow(await self.create("work", {"value": self.chance.random()}, expiresInSeconds=expires))

    async def _keyed(self) -> None:
        """Create a task by equal calls to both replicas at once, each repeated until it is acknowledged."""
        use = KeyUse(uuid.uuid4().hex)
        self.ledger.keys.append(use)
        value, asked = self.chance.random(), time.monotonic()
        metadata = {"key": use.key, "shard": self.chance.randrange(SHARDS)}

        async def call(replica: int) -> None:
            options = {"idempotencyKey": use.key, "metadata": metadata}
            while True:
                try:
                    payload = await self._create_on(replica, "work", {"value": value}, options)
                except LossError:
                    self.ledger.losses += 1
                else:
                    # The other call may be taking the key at this moment.
                    self._expect_no_errors(payload, "IDEMPOTENCY_CONFLICT")
                    if not payload["userErrors"]:
                        use.ids.add(payload["task"]["id"])
                        use.created += payload["created"]
                        return
                await self.client.back_off()

        await asyncio.gather(*(call(replica) for replica in range(len(self.client.urls))))
        for task_id in use.ids:
            self._follow(self._note(task_id, "work", asked, {}))

    async def _cancel_waiting(self) -> None:
        task_id = await self.create("work", {}, **_FAR)
        self._follow(task_id)
        await self._cancel(task_id)

    async def _cancel_running(self) -> None:
        await self._cancel_soon(await self.create("until_cancelled", {"seconds": 10.0}), force=False)

    async def _cancel_forced(self) -> None:
        kwargs = {"seconds": self.chance.uniform(4, 6), "effects": 3}
        await self._cancel_soon(await self.create("work", kwargs), force=True)

    async def _cancel_soon(self, task_id: str | None, *, force: bool) -> None:
        self._follow(task_id)
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await self._cancel(task_id, force=force)

    async def _cancel_cascade(self) -> None:
        parent = await self.create("work", {}, **_FAR)
        children = [await self.create("work", {}, **_FAR, parentId=parent) for _ in range(2) if parent]
        for task_id in (parent, *children):
            self._follow(task_id)
        cascaded = [Cancel(child) for child in children if child is not None]
        self.ledger.cancels += cascaded
        await self._cancel(parent, cascade=True)
        for child in cascaded:
            child.status = "REVOKED"

    async def _cancel_batch(self) -> None:
        batch = uuid.uuid4().hex
        options = {**_FAR, "metadata": {"far": True, "batch": batch}}
        ids = [await self.create("work", {}, **options) for _ in range(3)]
        cancels = [Cancel(task_id) for task_id in ids if task_id is not None]
        self.ledger.cancels += cancels
        await self._cancel_all(_CANCEL_BATCH, batch=batch)
        for cancel in cancels:
            cancel.status = "REVOKED"

    async def _cancel_all(self, query: str, **variables: Any) -> None:
        """Cancel by a filter, until all that match are cancelled."""
        while True:
            payload = (await self.client.insist(query, **variables))["cancelTasks"]
            self._expect_no_errors(payload)
            if payload["changed"] == payload["matched"]:
                return

    async def _cancel(self, task_id: str | None, *, force: bool = False, cascade: bool = False) -> None:
        """Cancel a task, and repeat that until it is answered."""
        if task_id is None:
            return
        cancel = Cancel(task_id)
        self.ledger.cancels.append(cancel)
        data = await self.client.insist(_CANCEL, id=task_id, force=force, cascade=cascade)
        errors = data["cancelTask"]["userErrors"]
        cancel.status = (data["cancelTask"]["task"] or {}).get("status")
        cancel.refused = errors[0]["code"] if errors else None
        # A worker with threads cannot end a task by force.
        self._expect_no_errors(data["cancelTask"], "ALREADY_FINAL", *(["INVALID_INPUT"] if force else []))

    async def _edit(self) -> None:
        """Add a mark and a click to the metadata of a recent task, and move it to a shard."""
        if not self._recent:
            return
        edit = Edit(self.chance.choice(self._recent), uuid.uuid4().hex[:12])
        self.ledger.edits.append(edit)
        operations = [
            {"op": "APPEND", "path": "marks", "value": edit.mark},
            {"op": "INCREMENT", "path": "clicks", "value": 1},
            {"op": "SET", "path": "shard", "value": self.chance.randrange(SHARDS)},
        ]
        try:
            data = await self.client.execute(self.client.any_replica(), _EDIT, id=edit.task_id, operations=operations)
        except LossError:
            self.ledger.losses += 1
            return
        edit.stored = not data["updateTaskMetadata"]["userErrors"]
        self._expect_no_errors(data["updateTaskMetadata"])

    async def _delete(self) -> None:
        task_id = await self.create("work", {"effects": 1, "lines": 1})
        if task_id is not None:
            await self._finished(task_id)
            await self._delete_finished([task_id])

    async def _delete_finished(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            await self._finished(task_id)
            self.ledger.deletions[task_id] = None
            payload = (await self.client.insist(_DELETE, id=task_id))["deleteTask"]
            # An earlier call may have deleted it, and its answer was lost.
            self._expect_no_errors(payload, "NOT_FOUND")
            self.ledger.deletions[task_id] = time.monotonic()

    async def _finished(self, task_id: str) -> dict[str, Any]:
        while True:
            task: dict[str, Any] | None = (await self.client.insist(_TASK, id=task_id))["task"]
            # The steps of a chain have records from when they are sent.
            if task is not None and task["isFinal"]:
                return task
            await asyncio.sleep(_POLL_SECONDS)

    def _expect_no_errors(self, payload: dict[str, Any], *codes: str) -> None:
        """Keep errors other than those with the given codes.

        Raises:
            RefusedError: there are some.
        """
        unexpected = [error for error in payload["userErrors"] if error["code"] not in codes]
        if unexpected:
            self.client.refusals.append(str(unexpected))
            raise RefusedError(str(unexpected))
