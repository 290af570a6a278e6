"""The restrictions of a token on the tasks that it creates, and on the metadata that it changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gql_api.access.principal import Restrictions
from gql_api.api.commands.task_input import TaskInput
from gql_api.registry.definitions import TaskDefinition
from gql_api.values import Path, Problem

_MISSING = object()


def restricted(task_input: TaskInput, definition: TaskDefinition, restrictions: Restrictions) -> TaskInput:
    """Return the input of a task as the token lets it be: with the token's metadata, and within its bounds.

    Only what the caller left out changes, and what the token's metadata replaces. :func:`problems_of` refuses the rest.
    """
    metadata, priority = task_input.metadata, task_input.priority
    if not restrictions.metadata and restrictions.min_priority is None and restrictions.max_time_limit_seconds is None:
        return task_input
    if restrictions.metadata and isinstance(metadata, dict):
        metadata = _merged(metadata, restrictions.metadata)
    # The priority of a replay is that of the repeated task, which its caller did not choose either.
    if restrictions.min_priority is not None and (priority is None or task_input.replay_of is not None):
        priority = max(definition.priority if priority is None else priority, restrictions.min_priority)
    most, own = restrictions.max_time_limit_seconds, definition.time_limit
    forced = task_input.time_limit_seconds is None and most is not None and (own is None or own > most)
    return replace(
        task_input,
        metadata=metadata,
        priority=priority,
        time_limit_seconds=most if forced else task_input.time_limit_seconds,
        has_forced_time_limit=forced,
    )


def problems_of(task_input: TaskInput, definition: TaskDefinition, restrictions: Restrictions) -> Iterator[Problem]:
    """Yield what a token does not allow of an input."""
    queue = task_input.queue or definition.queue
    if restrictions.queues is not None and queue not in restrictions.queues:
        names = ", ".join(sorted(restrictions.queues)) or "none"
        yield Problem(("queue",), f"must be a queue that the token allows ({names}), got {queue!r}")
    least, priority = restrictions.min_priority, task_input.priority
    if least is not None and priority is not None and priority < least:
        yield Problem(("priority",), f"must be at least {least} with this token, got {priority}")
    most, seconds = restrictions.max_time_limit_seconds, task_input.time_limit_seconds
    if most is not None and seconds is not None and seconds > most:
        yield Problem(("timeLimitSeconds",), f"must be at most {most:g} with this token, got {seconds:g}")


def allows_name(restrictions: Restrictions, name: str) -> bool:
    """Return whether a token may create the tasks of a function."""
    return restrictions.names is None or name in restrictions.names


def changed_values(
    before: Mapping[str, Any], after: Mapping[str, Any], restrictions: Restrictions
) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to a value of the token's metadata which a change of a task's metadata would change."""
    for keys in _leaves(restrictions.metadata, ()):
        if _text(_at(before, keys)) != _text(_at(after, keys)):
            yield tuple(map(str, keys))


def _merged(given: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the values of both, key by key; where both have a value, that of ``forced``."""
    merged = {**given, **forced}
    for key, value in forced.items():
        own = given.get(key)
        # An empty object has no value that could stay beside those of the caller: it is one itself, as in a change.
        if isinstance(value, Mapping) and value and isinstance(own, Mapping):
            merged[key] = _merged(own, value)
    return merged


def _leaves(metadata: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, value in metadata.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _at(metadata: Any, keys: Path) -> Any:
    for key in keys:
        if not isinstance(metadata, Mapping) or key not in metadata:
            return _MISSING
        metadata = metadata[key]
    return metadata


def _text(value: Any) -> str:
    """Return the text by which two values are compared: for Python, 1 is equal to True."""
    return "" if value is _MISSING else json.dumps(value, sort_keys=True)
