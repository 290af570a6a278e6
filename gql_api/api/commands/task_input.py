"""The input of a new task, and all checks of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from gql_api import values
from gql_api.access.principal import Principal
from gql_api.dispatch import PRIORITIES, can_carry, for_version, hiding, time_limited
from gql_api.record.model import Arguments, NewTask
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings
from gql_api.values import Problem

_MAX_KEY = 255
# In characters and values.
_SMALL = 2_000
_MAX_SECONDS = 10 * 366 * 86400
_NOT_CONTENT = {"idempotency_key", "task_id", "as_stored", "shown", "owner", "tenant", "has_forced_time_limit"}


@dataclass(frozen=True)
class TaskInput:
    """The input of createTask, before it is checked."""

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
    # Random when it is None.
    task_id: str | None = None
    # Those of args and kwargs that are another task's, as its record has them.
    as_stored: frozenset[str] = frozenset()
    # What clients see of that task's arguments, if some are hidden from them.
    shown: Arguments | None = None
    # True if the time limit is the longest that the token allows, not the caller's choice.
    has_forced_time_limit: bool = False
    # Those of that task; the caller is the owner of any other that has no parent.
    owner: str | None = None
    tenant: str | None = None

    @cached_property
    def is_small(self) -> bool:
        """True if the values are so small that they are checked and encoded in no time."""
        return are_small([self.args, self.kwargs, self.metadata])

    def digest(self) -> str:
        """Return a hash by which inputs with the same idempotency key are compared."""
        content = {name: value for name, value in asdict(self).items() if name not in _NOT_CONTENT}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def new_task(
        self, task_id: str, definition: TaskDefinition, parent: TaskRecord | None, principal: Principal
    ) -> NewTask:
        """Return the task of an input that was checked.

        It belongs to the caller, a replay to the owner of the repeated task, and a child to the owner of its parent.
        """
        key = self.idempotency_key
        # Those of another task may have any form, whatever the annotations are.
        given = dict(_given(self))
        args, kwargs = definition.typed(given.get("args", []), given.get("kwargs", {}))
        real = Arguments(
            self.args if "args" in self.as_stored else args, self.kwargs if "kwargs" in self.as_stored else kwargs
        )
        shown = self.shown or real
        if definition.redaction is not None:
            shown = definition.redaction.apply(shown.args, shown.kwargs)
        limited = time_limited(self.time_limit_seconds)
        owner, tenant = self._owner_and_tenant(parent, principal)
        return NewTask(
            id=task_id,
            name=self.name,
            args=real.args,
            kwargs=real.kwargs,
            shown=None if shown == real else shown,
            metadata=self.metadata,
            queue=self.queue or definition.queue,
            priority=definition.priority if self.priority is None else self.priority,
            parent_id=self.parent_id,
            root_id=None if parent is None else parent.root_id,
            message=for_version(limited if shown == real else hiding(limited), definition.version),
            scheduled_for=self.scheduled_for,
            delay=self.delay_seconds,
            expires_in=self.expires_in_seconds,
            idempotency_key=key,
            input_digest=None if key is None else self.digest(),
            replay_of=self.replay_of,
            owner=owner,
            tenant=tenant,
            actor=principal.subject,
            key_space=None if key is None else principal.key_space,
        )

    def _owner_and_tenant(self, parent: TaskRecord | None, principal: Principal) -> tuple[str | None, str | None]:
        if self.replay_of is not None:
            return self.owner, self.tenant
        # An administrator may name a parent that belongs to somebody else.
        return (principal.subject, principal.tenant) if parent is None else (parent.owner, parent.tenant)


def are_small(parts: Iterable[Any]) -> bool:
    """Return whether JSON values have, all together, few characters and few values in them."""
    left = _SMALL
    parts = [*parts]
    for part in parts:  # which grows
        if isinstance(part, str | list | dict):
            left -= len(part) + (sum(map(len, part)) if isinstance(part, dict) else 0)
            if left < 0:
                return False
            parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return True


def check(
    task_input: TaskInput, definition: TaskDefinition, parent: TaskRecord | None, settings: Settings
) -> list[Problem]:
    """Return the problems of an input; an empty list for a valid one."""
    has_ordinary_values = _has_ordinary_values(task_input, settings)
    found = [] if has_ordinary_values else [*_wrong_kinds(task_input)] or [*_wrong_values(task_input, settings)]
    if not found:
        checked = definition.check(task_input.args, task_input.kwargs, task_input.as_stored)
        found = checked if has_ordinary_values else [*_not_serializable(task_input), *checked]
    found += _wrong_time_limit(task_input, settings)
    return [*found, *_wrong_options(task_input, definition, parent)][: values.MAX_PROBLEMS]


def _has_ordinary_values(task_input: TaskInput, settings: Settings) -> bool:
    """Return whether nothing is wrong with the values themselves, for certain."""
    if (
        type(task_input.args) is not list
        or type(task_input.kwargs) is not dict
        or type(task_input.metadata) is not dict
    ):
        return False
    depth, keys = settings.metadata_max_depth, settings.metadata_max_keys
    return all(
        values.is_ordinary(value, max_bytes, max_depth=depth, max_keys=keys)
        for value, max_bytes in (
            (task_input.metadata, settings.metadata_max_bytes),
            (task_input.args, settings.arguments_max_bytes),
            (task_input.kwargs, settings.arguments_max_bytes),
        )
    )


def _wrong_kinds(task_input: TaskInput) -> Iterator[Problem]:
    if not isinstance(task_input.args, list):
        yield Problem(("args",), "must be a JSON array")
    if not isinstance(task_input.kwargs, dict):
        yield Problem(("kwargs",), "must be a JSON object")
    if not isinstance(task_input.metadata, dict):
        yield Problem(("metadata",), "must be a JSON object")


def _wrong_values(task_input: TaskInput, settings: Settings) -> Iterator[Problem]:
    depth, keys = settings.metadata_max_depth, settings.metadata_max_keys
    yield from values.check(
        task_input.metadata, ("metadata",), settings.metadata_max_bytes, max_depth=depth, max_keys=keys
    )
    for name, value in _given(task_input):
        yield from values.check(value, (name,), settings.arguments_max_bytes, max_depth=depth, max_keys=keys)


def _given(task_input: TaskInput) -> list[tuple[str, Any]]:
    """Return the arguments that a client has sent. A record may have values that no client can send, like NaN."""
    parts = [("args", task_input.args), ("kwargs", task_input.kwargs)]
    return [(name, value) for name, value in parts if name not in task_input.as_stored]


def _not_serializable(task_input: TaskInput) -> Iterator[Problem]:
    for name, value in _given(task_input):
        if not can_carry(value):
            yield Problem((name,), "has an object with the keys __type__ and __value__ that Celery cannot read")


def _wrong_options(task_input: TaskInput, definition: TaskDefinition, parent: TaskRecord | None) -> Iterator[Problem]:
    yield from _wrong_times(task_input)
    yield from _unenforceable_limit(task_input, definition)
    if task_input.priority is not None and task_input.priority not in PRIORITIES:
        bounds = f"from {PRIORITIES[0]} (runs first) to {PRIORITIES[-1]} (runs last)"
        yield Problem(("priority",), f"must be {bounds}, got {task_input.priority}")
    served = {definition.queue, *definition.queues}
    # A replay goes to the queue of the repeated task, whether it is consumed or not.
    if task_input.queue is not None and task_input.queue not in served and task_input.replay_of is None:
        names = ", ".join(sorted(served))
        yield Problem(
            ("queue",), f"must be a queue of a worker that runs {task_input.name} ({names}), got {task_input.queue!r}"
        )
    if task_input.parent_id is not None and parent is None:
        yield Problem(("parentId",), f"no task with id {task_input.parent_id!r}")
    key = task_input.idempotency_key
    if key is not None and not 0 < len(key) <= _MAX_KEY:
        yield Problem(("idempotencyKey",), f"must have from 1 to {_MAX_KEY} characters, got {len(key)}")
    elif key is not None and not values.is_text(key):
        yield Problem(("idempotencyKey",), "must be valid Unicode, got a lone surrogate")


def _unenforceable_limit(task_input: TaskInput, definition: TaskDefinition) -> Iterator[Problem]:
    queue = task_input.queue or definition.queue
    pools = [pool for name, pool in definition.unlimited if name == queue]
    if task_input.time_limit_seconds is not None and pools:
        forced = task_input.has_forced_time_limit
        advice = (
            "the token requires a limit, so name another queue" if forced else "leave it out, or name another queue"
        )
        yield Problem(
            ("timeLimitSeconds",),
            f"needs workers with the pool prefork or gevent, but a worker of queue {queue!r} has the pool {pools[0]}: "
            f"{advice}",
        )


def _wrong_time_limit(task_input: TaskInput, settings: Settings) -> Iterator[Problem]:
    seconds, minimum = task_input.time_limit_seconds, settings.time_limit_min_seconds
    maximum = settings.time_limit_max_seconds or _MAX_SECONDS
    # A replay has the limit of the repeated task, which the worker keeps within the bounds.
    if seconds is None or task_input.replay_of is not None:
        return
    if not (math.isfinite(seconds) and minimum <= seconds <= maximum):
        yield Problem(("timeLimitSeconds",), f"must be from {minimum:g} to {maximum:g}, got {seconds:g}")


def time_problem(time: datetime) -> str | None:
    """Return why a start time is not allowed; None for an allowed one."""
    last = datetime.now(UTC) + timedelta(seconds=_MAX_SECONDS)
    return None if time <= last else f"must be before {last:%Y-%m-%d}, ten years from now, got {time:%Y-%m-%d}"


def _wrong_times(task_input: TaskInput) -> Iterator[Problem]:
    problem = None if task_input.scheduled_for is None else time_problem(task_input.scheduled_for)
    if problem is not None:
        yield Problem(("scheduledFor",), problem)
    if task_input.scheduled_for is not None and task_input.delay_seconds is not None:
        yield Problem(("delaySeconds",), "cannot be given together with scheduledFor")
    for name, seconds, minimum in (
        ("delaySeconds", task_input.delay_seconds, 0.0),
        ("expiresInSeconds", task_input.expires_in_seconds, 0.001),
    ):
        if seconds is not None and not (math.isfinite(seconds) and minimum <= seconds <= _MAX_SECONDS):
            yield Problem((name,), f"must be from {minimum:g} to {_MAX_SECONDS}, got {seconds}")
