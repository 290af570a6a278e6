"""Task definitions: the signature of a task as its workers announced it, and the check of a call against it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from gql_api.values import MAX_PROBLEMS, Problem


@dataclass(frozen=True)
class TaskDefinition:
    """A task function as the API knows it, without importing it.

    ``input_schema`` is the JSON Schema (2020-12) of the parameters as one object; ``positional`` names those that can
    be given by position, in order; ``extra_args`` is whether there is an ``*args``. Limits are in seconds. ``queues``
    are the queues of the live workers that can run the task. ``priority`` is that of its tasks by default, and
    ``transport`` has the options of the broker that decide which lists of Redis are its queues. ``brokers``
    are the ids of the brokers of the live workers.
    """

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    positional: tuple[str, ...] = ()
    extra_args: bool = False
    queue: str = "celery"
    max_retries: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    workers: int = 0
    queues: tuple[str, ...] = ()
    priority: int = 0
    transport: tuple[tuple[str, str], ...] = ()
    brokers: frozenset[str] = frozenset()

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return Draft202012Validator(self.input_schema)

    def check(self, args: list[Any], kwargs: dict[str, Any]) -> list[Problem]:
        """Return the problems of a call; their paths begin with ``args`` or ``kwargs``.

        Types are JSON's, because the worker receives the values as they were sent: ``"3"`` is not an integer.
        """
        if len(args) > len(self.positional) and not self.extra_args:
            count = len(self.positional)
            message = f"{self.name} takes at most {count} positional argument{'' if count == 1 else 's'}"
            return [Problem(("args",), f"{message}, got {len(args)}")]
        by_position = dict(zip(self.positional, args, strict=False))
        twice = [name for name in by_position if name in kwargs]
        if twice:
            return [Problem(("kwargs", name), "is already given in args") for name in twice]
        errors = self._validator.iter_errors({**by_position, **kwargs})
        found = (problem for error in errors for problem in self._explain(error, tuple(by_position)))
        return list(itertools.islice(found, MAX_PROBLEMS))

    def _explain(self, error: ValidationError, by_position: tuple[str, ...]) -> Iterator[Problem]:
        path = tuple(error.absolute_path)
        if not path and error.validator == "required":
            # jsonschema reports each missing name by an error of its own, whose message quotes it.
            required: list[str] = self.input_schema["required"]
            missing = [name for name in required if error.message.startswith(repr(name))]
            yield from (Problem(("kwargs", name), "is required") for name in missing)
        elif not path and error.validator == "additionalProperties":
            known = self.input_schema.get("properties", {})
            given: Any = error.instance
            yield from (
                Problem(("kwargs", name), f"is not a parameter of {self.name}") for name in given if name not in known
            )
        elif path and path[0] in by_position:
            position = by_position.index(str(path[0]))
            yield Problem(("args", position, *path[1:]), _brief(error))
        else:
            yield Problem(("kwargs", *path), _brief(error))


def _brief(error: ValidationError) -> str:
    """Return the validator's own message, unless it may quote a value of any size."""
    rule: Any = error.validator_value
    if error.validator == "type":
        return f"expected {rule if isinstance(rule, str) else ' or '.join(rule)}"
    if error.validator in {"anyOf", "oneOf"}:
        kinds = [str(option.get("type", "another form")) for option in rule]
        return f"expected {' or '.join(kinds)}"
    return error.message if len(error.message) <= _MAX_MESSAGE else f"does not satisfy {error.validator!r}"


_MAX_MESSAGE = 200
