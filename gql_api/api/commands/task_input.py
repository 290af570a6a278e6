"""What a caller asks for when it creates a task, and everything that can be wrong with that."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gql_api import values
from gql_api.dispatch import PRIORITIES, can_carry, time_limited
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.values import Problem

_MAX_KEY = 255
_MAX_SECONDS = 10 * 366 * 86400
_NO_CONTENT = {"idempotency_key", "task_id"}


@dataclass(frozen=True)
class TaskInput:
    """The input of createTask, before anything is known to be right about it."""

    name: str
    args: Any = field(default_factory=list)
    kwargs: Any = field(default_factory=dict)
    metadata: Any = field(default_factory=dict)
    scheduled_for: datetime | None = None
    delay_seconds: float | None = None
    expires_in_seconds: float | None = None
    time_limit_seconds: float | None = None
    priority: int | None = None
    queue: str | None = None
    parent_id: str | None = None
    replay_of: str | None = None
    idempotency_key: str | None = None
    # One of its own unless it is given.
    task_id: str | None = None

    def digest(self) -> str:
        """Tell this input from others under the same key."""
        content = {name: value for name, value in asdict(self).items() if name not in _NO_CONTENT}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def task(self, task_id: str, definition: TaskDefinition, parent: TaskRecord | None) -> NewTask:
        """The task that is to be made of it, when nothing is wrong with it."""
        key = self.idempotency_key
        return NewTask(
            id=task_id,
            name=self.name,
            args=self.args,
            kwargs=self.kwargs,
            metadata=self.metadata,
            queue=self.queue or definition.queue,
            priority=self.priority or 0,
            parent_id=self.parent_id,
            root_id=None if parent is None else parent.root_id,
            message=time_limited(self.time_limit_seconds),
            scheduled_for=self.scheduled_for,
            delay=self.delay_seconds,
            expires_in=self.expires_in_seconds,
            idempotency_key=key,
            input_digest=None if key is None else self.digest(),
            replay_of=self.replay_of,
        )


def first_problems(
    wanted: TaskInput, definition: TaskDefinition, parent: TaskRecord | None, settings: Settings
) -> list[Problem]:
    """Say what is wrong with an input; an empty list when nothing is."""
    found = list(itertools.islice(_wrong_kinds(wanted), values.MAX_PROBLEMS))
    found = found or list(_wrong_values(wanted, settings))
    if not found:
        found = [*_uncarried(wanted), *definition.check(wanted.args, wanted.kwargs)]
    return [*found, *_wrong_options(wanted, definition, parent)][: values.MAX_PROBLEMS]


def _wrong_kinds(wanted: TaskInput) -> Iterator[Problem]:
    if not isinstance(wanted.args, list):
        yield Problem(("args",), "must be a JSON array")
    if not isinstance(wanted.kwargs, dict):
        yield Problem(("kwargs",), "must be a JSON object")
    if not isinstance(wanted.metadata, dict):
        yield Problem(("metadata",), "must be a JSON object")


def _wrong_values(wanted: TaskInput, settings: Settings) -> Iterator[Problem]:
    yield from values.check(wanted.metadata, ("metadata",), settings.metadata_max_bytes)
    yield from values.check(wanted.args, ("args",), settings.arguments_max_bytes)
    yield from values.check(wanted.kwargs, ("kwargs",), settings.arguments_max_bytes)


def _uncarried(wanted: TaskInput) -> Iterator[Problem]:
    for name, value in (("args", wanted.args), ("kwargs", wanted.kwargs)):
        if not can_carry(value):
            yield Problem((name,), "holds a __type__ with a __value__ that Celery cannot read")


def _wrong_options(wanted: TaskInput, definition: TaskDefinition, parent: TaskRecord | None) -> Iterator[Problem]:
    yield from _wrong_times(wanted)
    if wanted.priority is not None and wanted.priority not in PRIORITIES:
        yield Problem(("priority",), f"must be from {PRIORITIES[0]}, first, to {PRIORITIES[-1]}, last")
    served = {definition.queue, *definition.queues}
    # What repeats a task goes where that went.
    if wanted.queue is not None and wanted.queue not in served and wanted.replay_of is None:
        names = ", ".join(sorted(served))
        yield Problem(("queue",), f"no worker that can run {wanted.name} serves it; those served are {names}")
    if wanted.parent_id is not None and parent is None:
        yield Problem(("parentId",), "there is no such task")
    key = wanted.idempotency_key
    if key is not None and not (0 < len(key) <= _MAX_KEY and values.is_text(key)):
        yield Problem(("idempotencyKey",), f"must be a text of 1 to {_MAX_KEY} characters")


def too_late(time: datetime) -> str | None:
    """Say why a time cannot be waited for; None when it can."""
    last = datetime.now(UTC) + timedelta(seconds=_MAX_SECONDS)
    return None if time <= last else f"must be before {last:%Y-%m-%d}, ten years from now"


def _wrong_times(wanted: TaskInput) -> Iterator[Problem]:
    problem = None if wanted.scheduled_for is None else too_late(wanted.scheduled_for)
    if problem is not None:
        yield Problem(("scheduledFor",), problem)
    if wanted.scheduled_for is not None and wanted.delay_seconds is not None:
        yield Problem(("delaySeconds",), "cannot be given together with scheduledFor")
    for name, seconds, least in (
        ("delaySeconds", wanted.delay_seconds, 0.0),
        ("expiresInSeconds", wanted.expires_in_seconds, 0.001),
        ("timeLimitSeconds", wanted.time_limit_seconds, 0.001),
    ):
        if seconds is not None and not (math.isfinite(seconds) and least <= seconds <= _MAX_SECONDS):
            yield Problem((name,), f"must be from {least:g} to {_MAX_SECONDS}")
