"""Changes of a task's metadata, by path: what they make of a JSON object, for the API and for task functions alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gql_api import values
from gql_api.values import paths
from gql_api.values.encoding import Path, Problem

Json = dict[str, Any] | list[Any]

MAX_OPERATIONS = 100


class MetadataOp(StrEnum):
    """What an operation does to the value at its path."""

    SET = "SET"
    UNSET = "UNSET"
    INCREMENT = "INCREMENT"
    APPEND = "APPEND"


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one value."""

    op: MetadataOp
    path: str
    value: Any = None


class MetadataError(Exception):
    """The operations cannot be applied, or what they make cannot be kept."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in problems))
        self.problems = problems


class _CannotError(Exception):
    """This operation does not fit this object."""


def apply_operations(metadata: dict[str, Any], operations: Sequence[Operation], max_bytes: int) -> dict[str, Any]:
    """Apply operations in their order, all or none, to a copy.

    SET makes the objects on its way that are missing; in an array it takes an index that is there. UNSET takes a key
    or an element out, and is content when there is none. INCREMENT adds to a number, or to nothing; APPEND adds to
    the end of an array, or of nothing.

    Raises:
        MetadataError: one does not fit, or the result is none that metadata may be.
    """
    if len(operations) > MAX_OPERATIONS:
        raise MetadataError([Problem(("operations",), f"are more than {MAX_OPERATIONS}")])
    result = copy.deepcopy(metadata)
    for number, operation in enumerate(operations):
        where: Path = ("operations", number)
        wrong = values.check(operation.value, (*where, "value"), max_bytes)
        if wrong:
            raise MetadataError(wrong)
        try:
            # A copy: a later operation may change it, and all of them may have to be applied anew.
            _apply(result, replace(operation, value=copy.deepcopy(operation.value)))
        except paths.PathError as error:
            raise MetadataError([Problem((*where, "path"), str(error))]) from error
        except _CannotError as error:
            raise MetadataError([Problem(where, str(error))]) from error
    problems = values.check(result, ("metadata",), max_bytes)
    if problems:
        raise MetadataError(problems)
    return result


def _apply(metadata: dict[str, Any], operation: Operation) -> None:
    *way, last = paths.parse(operation.path)
    makes_way = operation.op is not MetadataOp.UNSET
    container: Any = metadata
    for key in way:
        following = _get(container, key)
        if following is _MISSING:
            if not makes_way:
                return
            following = {}
            _put(container, key, following)
        container = following
    _OPERATIONS[operation.op](container, last, operation.value)


_MISSING = object()


def _get(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        return container.get(key, _MISSING)
    if isinstance(container, list):
        index = _index(key)
        return container[index] if index < len(container) else _MISSING
    raise _CannotError(f"{key!r} would be inside a value that is neither an object nor an array")


def _put(container: Json, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
        return
    index = _index(key)
    if index >= len(container):
        raise _CannotError(f"the array has no element {key}")
    container[index] = value


def _index(key: str) -> int:
    index = paths.index(key)
    if index is None:
        raise _CannotError(f"{key!r} is no index of an array")
    return index


def _set(container: Any, key: str, value: Any) -> None:
    _get(container, key)
    _put(container, key, value)


def _unset(container: Any, key: str, _value: Any) -> None:
    if _get(container, key) is not _MISSING:
        del container[key if isinstance(container, dict) else _index(key)]


def _increment(container: Any, key: str, by: Any) -> None:
    present = _get(container, key)
    if not _is_number(by):
        raise _CannotError("INCREMENT needs a number")
    if present is _MISSING:
        _put(container, key, by)
    elif _is_number(present):
        try:
            _put(container, key, present + by)
        except OverflowError as error:
            raise _CannotError("the sum is too large") from error
    else:
        raise _CannotError("INCREMENT needs a number to add to")


def _append(container: Any, key: str, value: Any) -> None:
    present = _get(container, key)
    if present is _MISSING:
        _put(container, key, [value])
    elif isinstance(present, list):
        present.append(value)
    else:
        raise _CannotError("APPEND needs an array to add to")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_OPERATIONS: dict[MetadataOp, Callable[[Any, str, Any], None]] = {
    MetadataOp.SET: _set,
    MetadataOp.UNSET: _unset,
    MetadataOp.INCREMENT: _increment,
    MetadataOp.APPEND: _append,
}
