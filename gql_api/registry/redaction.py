"""Redaction: the arguments of a task function that records, events, logs and the API show as hidden.

A function lists them by ``redact``. An entry is the name of a parameter, ``password``; a path below one,
``card.number``, which also leads through the elements of arrays; ``*args`` or ``**options``, for all arguments that
such a parameter takes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from typing import Any, Self

from gql_api.record.model import Arguments
from gql_api.values import InvalidValueError, Path, paths
from gql_api.values.plain import is_tagged

HIDDEN_VALUE = "[REDACTED]"
"""The text in place of a hidden value."""

_EXTRA_ARGS = "*"
_EXTRA_KWARGS = "**"
_BY_POSITION = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
_STARS = {Parameter.VAR_POSITIONAL: _EXTRA_ARGS, Parameter.VAR_KEYWORD: _EXTRA_KWARGS}


@dataclass(frozen=True)
class Redaction:
    """The hidden arguments of a task function.

    ``positional`` names the parameters that can be given by position, in order; ``named`` all that have a name.
    """

    entries: tuple[str, ...]
    positional: tuple[str, ...]
    named: frozenset[str]

    @classmethod
    def of(cls, entries: Any, signature: inspect.Signature) -> Self | None:
        """Return the redaction that a function's ``redact`` stands for; None if that is empty.

        Raises:
            ValueError: it is not a list of names and paths of the function's parameters.
        """
        if isinstance(entries, str) or not isinstance(entries, Sequence | set | frozenset):
            raise ValueError(f"redact: must be a list of names of parameters, got {entries!r}")  # noqa: TRY004 - as for wrong entries
        parameters = signature.parameters.values()
        for entry in entries:
            _check(entry, parameters)
        if not entries:
            return None
        return cls(
            tuple(entries),
            tuple(p.name for p in parameters if p.kind in _BY_POSITION),
            frozenset(p.name for p in parameters if p.kind not in _STARS),
        )

    def apply(self, args: list[Any], kwargs: dict[str, Any], shifts: Collection[int] = (0,)) -> Arguments:
        """Return JSON arguments with hidden values replaced.

        ``shifts`` are the numbers of arguments that may still come before those in ``args``.
        """
        return Arguments(
            [_without(value, self._below_positions(number, shifts)) for number, value in enumerate(args)],
            {name: _without(value, self._below_name(name)) for name, value in kwargs.items()},
        )

    def touches(self, path: Path) -> bool:
        """Return whether a value of a call is hidden, or has or belongs to a hidden one. Paths begin with the part."""
        part, *rest = path
        if not rest:
            return True
        first, *below = rest
        hidden = self._below_positions(int(first), (0,)) if part == "args" else self._below_name(str(first))
        keys = [key for key in below if isinstance(key, str)]
        return any(all(one == other for one, other in zip(each, keys, strict=False)) for each in hidden)

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        for entry in self.entries:
            name, *below = [entry.replace(entry.strip("*"), "")] if entry.startswith("*") else paths.parse(entry)
            found.setdefault(name, []).append(tuple(below))
        return found

    def _below_positions(self, number: int, shifts: Collection[int]) -> list[tuple[str, ...]]:
        places = [number + shift for shift in shifts]
        names = [self.positional[place] if place < len(self.positional) else _EXTRA_ARGS for place in places]
        return [path for name in names for path in self._by_name.get(name, ())]

    def _below_name(self, name: str) -> list[tuple[str, ...]]:
        extra = [] if name in self.named else self._by_name.get(_EXTRA_KWARGS, [])
        return [*self._by_name.get(name, ()), *extra]


def _check(entry: Any, parameters: Collection[Parameter]) -> None:
    """Check an entry of ``redact``.

    Raises:
        ValueError: it is wrong.
    """
    starred = {p.name: f"{_STARS[p.kind]}{p.name}" for p in parameters if p.kind in _STARS}
    named = [p.name for p in parameters if p.kind not in _STARS]
    known = ", ".join(json.dumps(name) for name in [*named, *starred.values()]) or "none"
    if not isinstance(entry, str) or not entry:
        raise ValueError(f"redact: each entry must be the name of a parameter, got {entry!r}")
    if entry in starred.values():
        return
    try:
        name, *below = paths.parse(entry)
    except InvalidValueError as error:
        raise ValueError(f"redact: {entry!r}: {error}") from None
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    if "" in below or (name not in named and (name in starred or not takes_any or not name.isidentifier())):
        raise ValueError(f"redact: {entry!r} is not a parameter of the function, nor a path below one; it has {known}")


def _without(value: Any, hidden: list[tuple[str, ...]]) -> Any:
    """Return a JSON value without those below some paths.

    A value in whose place an object was expected is hidden as a whole, except null.
    """
    if not hidden:
        return value
    if () in hidden:
        return HIDDEN_VALUE
    if value is None:
        return None
    if isinstance(value, list):
        return [_without(item, hidden) for item in value]
    if isinstance(value, dict) and not is_tagged(value):
        return {key: _without(item, [path[1:] for path in hidden if path[0] == key]) for key, item in value.items()}
    return HIDDEN_VALUE
