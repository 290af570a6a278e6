"""Tasks that several callers create at the same time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from front import Front

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal
from gql_api.api.commands.task_input import TaskInput
from gql_api.api.creation.groups import Stored
from gql_api.record.model import NewTask

ALICE = Principal("alice", ALL_SCOPES)


async def create(front: Front, *inputs: TaskInput, principals: tuple[Principal, ...] = (ANONYMOUS,)) -> list[Any]:
    """Create tasks at the same time, by turns as these principals, and return each one's outcome or error."""
    creator = front.services.creator
    calls = [creator.create(each, principals[n % len(principals)]) for n, each in enumerate(inputs)]
    return [*await asyncio.gather(*calls, return_exceptions=True)]


def input_of(number: int = 1, **values: Any) -> TaskInput:
    """Return the input of a task."""
    return TaskInput("add", [number], {"y.z": "s"}, **values)


def new_task(**values: Any) -> NewTask:
    """Return a task with an id of its own."""
    return NewTask(id=str(uuid.uuid4()), name="add", **values)


async def send_nothing(stored: Sequence[Stored]) -> list[None]:
    """Take the tasks of a group that were stored, as if they had been sent."""
    return [None] * len(stored)
