"""The calls of the load, and what their answers promise."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

_POLL_SECONDS = 0.3


@dataclass
class Calls:
    """The calls of clients. A call that is not safe to repeat is made once, and its outcome may remain unknown."""

    client: Client
    ledger: Ledger
    chance: random.Random

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

    async def create_many(self, function: str, kwargs: Sequence[dict[str, Any]]) -> None:
        """Create tasks by one call."""
        inputs = [{"name": f"chaos_tasks.{function}", "kwargs": each, "metadata": {"shard": 1}} for each in kwargs]
        asked = time.monotonic()
        try:
            payload = (await self.client.execute(self.client.any_replica(), _CREATE_MANY, inputs=inputs))["createTasks"]
        except LossError:
            self.ledger.losses += 1
            return
        for result in (payload, *payload["results"]):
            self._expect_no_errors(result)
        for result in payload["results"]:
            self._note(result["task"]["id"], function, asked, {})

    async def create_on_all(self, function: str, kwargs: dict[str, Any]) -> list[str]:
        """Create a task by equal calls to all replicas at once, each repeated until it is acknowledged."""
        use, asked = KeyUse(uuid.uuid4().hex), time.monotonic()
        self.ledger.keys.append(use)
        metadata = {"key": use.key, "shard": self.chance.randrange(SHARDS)}

        async def call(replica: int) -> None:
            while True:
                try:
                    options = {"idempotencyKey": use.key, "metadata": metadata}
                    payload = await self._create_on(replica, function, kwargs, options)
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
        return [self._note(task_id, function, asked, {}) for task_id in use.ids]

    async def cancel(self, task_id: str | None, *, force: bool = False, cascade: bool = False) -> None:
        """Cancel a task, if its creation was acknowledged, and repeat that until it is answered."""
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

    async def cancel_with_children(self, task_id: str | None, children: Sequence[str | None]) -> None:
        """Cancel a task with its children, none of which has started."""
        with self._all_revoked(children):
            await self.cancel(task_id, cascade=True)

    async def cancel_batch(self, batch: str, task_ids: Sequence[str | None]) -> None:
        """Cancel all tasks of a batch, none of which has started."""
        with self._all_revoked(task_ids):
            await self._cancel_all(_CANCEL_BATCH, batch=batch)

    @contextlib.contextmanager
    def _all_revoked(self, task_ids: Sequence[str | None]) -> Iterator[None]:
        """Note that tasks are cancelled by the block, whose end acknowledges it."""
        cancels = [Cancel(task_id) for task_id in task_ids if task_id is not None]
        self.ledger.cancels += cancels
        yield
        for cancel in cancels:
            cancel.status = "REVOKED"

    async def cancel_far(self) -> None:
        """Cancel all tasks that are to be cancelled, also those whose creation was not acknowledged."""
        await self._cancel_all(_CANCEL_FAR)

    async def _cancel_all(self, query: str, **variables: Any) -> None:
        """Cancel by a filter, until all that match are cancelled."""
        while True:
            payload = (await self.client.insist(query, **variables))["cancelTasks"]
            self._expect_no_errors(payload)
            if payload["changed"] == payload["matched"]:
                return

    async def edit(self, task_id: str) -> None:
        """Add a mark and a click to the metadata of a task, and move it to a shard."""
        edit = Edit(task_id, uuid.uuid4().hex[:12])
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

    async def delete(self, task_ids: Sequence[str]) -> None:
        """Delete tasks once they have ended."""
        for task_id in task_ids:
            await self.finished(task_id)
            self.ledger.deletions[task_id] = None
            payload = (await self.client.insist(_DELETE, id=task_id))["deleteTask"]
            # An earlier call may have deleted it, and its answer was lost.
            self._expect_no_errors(payload, "NOT_FOUND")
            self.ledger.deletions[task_id] = time.monotonic()

    async def finished(self, task_id: str) -> dict[str, Any]:
        """Wait until a task has ended, and return it."""
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
