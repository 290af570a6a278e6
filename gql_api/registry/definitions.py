"""Task definitions: the signature of a task as its workers announced it, and the check of a call against it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from gql_api.registry import formats, quick_checks, schemas
from gql_api.registry.redaction import Redaction
from gql_api.values import MAX_PROBLEMS, Path, Problem

# Between the name of a function and the digest of its signature.
VERSION_SEPARATOR = "#"


@dataclass(frozen=True)
class TaskDefinition:
    """A task function as the API knows it, without importing it.

    ``input_schema`` is the JSON Schema (2020-12) of the parameters as one object; ``positional`` names those that can
    be given by position, in order, the first ``positional_only`` of them in no other way; ``extra_args`` is whether
    there is an ``*args``. Limits are in seconds. ``queues`` are the queues of the live workers that can run the task,
    ``unlimited`` those of them whose workers do not enforce time limits, with their pools. ``priority`` is that of its
    tasks by default. ``transport`` has the options of the broker that decide which lists of Redis are its queues, and
    ``brokers`` the ids of the brokers of the live workers. Tasks that are not ``recorded`` cannot be created here.
    ``redact`` has the entries of the function's redaction.

    ``digest`` is that of the signature. ``versions`` are the announced ones of the function, the newest first, each
    with the number of its live workers. Of the ``workers``, ``unversioned`` have announced none.
    """

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    positional: tuple[str, ...] = ()
    positional_only: int = 0
    extra_args: bool = False
    queue: str = "celery"
    max_retries: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    workers: int = 0
    queues: tuple[str, ...] = ()
    unlimited: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    transport: tuple[tuple[str, str], ...] = ()
    brokers: frozenset[str] = frozenset()
    recorded: bool = True
    redact: tuple[str, ...] = ()
    digest: str | None = None
    versions: tuple[TaskDefinition, ...] = ()
    unversioned: int = 0

    @property
    def version(self) -> str | None:
        """The text for the function with this signature; None when its workers announced no digest."""
        return None if self.digest is None else f"{self.name}{VERSION_SEPARATOR}{self.digest}"

    @property
    def takes_everything(self) -> bool:
        """True for a function with ``*args, **kwargs``."""
        return self.extra_args and bool(self.input_schema.get("additionalProperties"))

    @cached_property
    def _validator(self) -> Draft202012Validator:
        validator: Draft202012Validator = schemas.validator_of(self.input_schema)
        return validator

    @cached_property
    def _accepts(self) -> quick_checks.Accepts | None:
        return quick_checks.predicate_of(self.input_schema)

    @cached_property
    def redaction(self) -> Redaction | None:
        """The arguments that clients do not see; None if they see all."""
        if not self.redact:
            return None
        return Redaction(self.redact, self.positional, frozenset(self.input_schema.get("properties", {})))

    def typed(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a valid call with the types of the function's annotations, in kombu's JSON form."""
        formats.begin()
        try:
            return self._typed(args, kwargs)
        except Exception as error:  # noqa: BLE001 - a schema may be anything
            schemas.skipped(self.name, error)
            return args, kwargs

    def _typed(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        named = self.input_schema.get("properties", {})
        names = itertools.chain(self.positional, itertools.repeat(None))
        return (
            [formats.typed(value, named.get(name), self._validator) for name, value in zip(names, args, strict=False)],
            {name: formats.typed(value, named.get(name), self._validator) for name, value in kwargs.items()},
        )

    def check(self, args: list[Any], kwargs: dict[str, Any], unchecked: Collection[str] = frozenset()) -> list[Problem]:
        """Return the problems of a call; their paths begin with ``args`` or ``kwargs``.

        Types are JSON's: ``"3"`` is not an integer. ``unchecked`` names those of ``args`` and ``kwargs`` whose values
        another task was given: a function that has taken them may take them again. A schema that cannot be used is not
        checked.
        """
        formats.begin()
        try:
            return self._check(args, kwargs, unchecked)
        except Exception as error:  # noqa: BLE001 - a schema may be anything
            schemas.skipped(self.name, error)
            return []

    def _check(self, args: list[Any], kwargs: dict[str, Any], unchecked: Collection[str]) -> list[Problem]:
        if len(args) > len(self.positional) and not self.extra_args:
            count = len(self.positional)
            message = f"{self.name} takes at most {count} positional argument{'' if count == 1 else 's'}"
            return [Problem(("args",), f"{message}, got {len(args)}")]
        by_position = dict(zip(self.positional, args, strict=False))
        misplaced = [*self._misplaced(by_position, kwargs)]
        if misplaced:
            return misplaced[:MAX_PROBLEMS]
        # A ``**kwargs`` takes the name of a positional-only parameter as any other.
        named = {name: value for name, value in kwargs.items() if name not in self.positional[: self.positional_only]}
        call = {**by_position, **named}
        if self._accepts is not None and self._accepts(call):
            return []
        errors = self._validator.iter_errors(call)
        found = (
            problem
            for error in errors
            for problem in self._explain(error, tuple(by_position))
            if problem.path[0] not in unchecked or not error.absolute_path
        )
        return list(itertools.islice(found, MAX_PROBLEMS))

    def _misplaced(self, by_position: dict[str, Any], kwargs: dict[str, Any]) -> Iterator[Problem]:
        """Yield the problems of arguments that are in the wrong place, given twice or missing, as Python has them."""
        only = self.positional[: self.positional_only]
        for name in only:
            if name in kwargs and not self.input_schema.get("additionalProperties"):
                yield Problem(("kwargs", name), "is a positional-only parameter: give it in args")
            elif name not in by_position and name in self.input_schema.get("required", []):
                yield Problem(("args",), f"the positional-only parameter {name!r} is required")
        for name in by_position:
            if name in kwargs and name not in only:
                yield Problem(("kwargs", name), "is already given in args")

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
        else:
            place = by_position.index(str(path[0])) if path and path[0] in by_position else None
            problem_path: Path = ("kwargs", *path) if place is None else ("args", place, *path[1:])
            # The messages quote values.
            is_hidden = self.redaction is not None and self.redaction.touches(problem_path)
            yield Problem(problem_path, _without_value(error) if is_hidden else _brief(error))


def _without_value(error: ValidationError) -> str:
    """Return a message that quotes no part of the value."""
    if error.validator == "type":
        return _expected_type(error.validator_value)
    expected = formats.describe(error.schema)
    if expected is not None:
        return f"expected {expected}"
    if error.validator in {"anyOf", "oneOf"}:
        return _expected_kinds(error.validator_value)
    return f"does not satisfy {error.validator!r}"


def _expected_type(rule: Any) -> str:
    return f"expected {rule if isinstance(rule, str) else ' or '.join(rule)}"


def _expected_kinds(options: Any) -> str:
    kinds = [formats.describe(option) or str(option.get("type", "another form")) for option in options]
    return f"expected {' or '.join(kinds)}"


def _brief(error: ValidationError) -> str:
    """Return the validator's own message, unless it may quote a value of any size."""
    rule: Any = error.validator_value
    expected = formats.describe(error.schema)
    if isinstance(error.instance, str) and expected is not None:
        return f"expected {expected}, got {_brief_value(error.instance)}"
    if error.validator == "type":
        return _expected_type(rule)
    if error.validator in {"anyOf", "oneOf"}:
        # The value has the type of an option, and violates its other rules.
        for option in error.context or ():
            if option.validator != "type" and not option.path:
                return _brief(option)
        if expected is not None:
            return f"expected {expected}, got {_brief_value(error.instance)}"
        return _expected_kinds(rule)
    return error.message if len(error.message) <= _MAX_MESSAGE else f"does not satisfy {error.validator!r}"


def _brief_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"


_MAX_MESSAGE = 200
_MAX_VALUE = 50
