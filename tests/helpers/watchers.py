"""Principals that see different tasks, and subscribers for them, over the services of an API without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from typing import Any

from support import wait_until_async

from gql_api.access.principal import Principal, Scope
from gql_api.access.visibility import EVERYTHING
from gql_api.api.context import Context, Services
from gql_api.api.execution.operation import Operation
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import control, writes
from gql_api.record.model import NewTask
from gql_api.worker.store.tasks import Store

SCOPES = frozenset({Scope.TASKS_READ})
ALICE = Principal("alice", SCOPES, "acme")
BOB = Principal("bob", SCOPES, "acme")
CAROL = Principal("alice", SCOPES, "other")
ADMIN = Principal("root", frozenset(Scope))
ACME_ADMIN = Principal("boss", frozenset(Scope), "acme")
# A token of alice's for the tasks of one customer.
CUSTOMER = Principal("alice", SCOPES, "acme", TaskFilter(metadata=[MetadataCondition("customer", {Operator.EQ: 1})]))

# The live lists of administrators: of all tasks, and of those with some metadata.
EVERY_TASK = ListFilter(EVERYTHING, TaskFilter())
WITH_METADATA = ListFilter(EVERYTHING, TaskFilter(metadata=[MetadataCondition("a", {Operator.EQ: 1})]))


def create(worker: Store, owner: Principal | None = None, name: str = "add", **metadata: object) -> str:
    """Create the record of a task, as a worker does, and publish its event."""
    task = NewTask(
        id=str(uuid.uuid4()),
        name=name,
        metadata=metadata,
        owner=None if owner is None else owner.subject,
        tenant=None if owner is None else owner.tenant,
    )
    worker.change(writes.create(task), upsert=True)
    return task.id


def move(worker: Store, task_id: str, **metadata: object) -> None:
    """Replace the metadata of a task."""
    record = worker.find(task_id)
    assert record is not None
    assert worker.change(control.replace_metadata(task_id, metadata, record.metadata_revision)) is not None


class Subscriber:
    """A subscriber that keeps all results of its operation."""

    def __init__(self, services: Services, principal: Principal, document: str, **variables: Any) -> None:
        self.results: list[dict[str, Any]] = []
        context = Context(services, principal)
        self._stream = services.executions.subscribe(Operation(document, variables), context, principal)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with contextlib.aclosing(self._stream) as stream:
            async for payload in stream:
                self.results.append(json.loads(payload))

    @property
    def values(self) -> list[Any]:
        """The values of the root field that it has received."""
        return [value for result in self.results for value in result["data"].values()]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The kind and the task of each change that it has received."""
        return [(value["kind"], value["taskId"]) for value in self.values]

    async def until(self, value: Any) -> None:
        """Wait until a value is the last one."""

        async def has_come() -> bool:
            return bool(self.values) and self.values[-1] == value

        await wait_until_async(has_come, why=f"{value} to come")

    async def changed(self, kind: str, task_id: str) -> None:
        """Wait until a change has come."""

        async def has_come() -> bool:
            return (kind, task_id) in self.changes

        await wait_until_async(has_come, why=f"{kind} of {task_id} to come")

    async def ended(self) -> list[dict[str, Any]]:
        """Wait until the operation has ended, and return its results."""
        await asyncio.wait_for(self.task, 10)
        return self.results

    async def leave(self) -> None:
        """End the subscription."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
