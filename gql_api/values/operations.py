"""Operations on a task's metadata, which the API and task functions apply alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gql_api import values
from gql_api.values import paths
from gql_api.values.problems import InvalidValueError, Path, Problem

Json = dict[str, Any] | list[Any]

MAX_OPERATIONS = 100


class MetadataOp(StrEnum):
    """The effect of an operation on the value at its path."""

    SET = "SET"
    UNSET = "UNSET"
    INCREMENT = "INCREMENT"
    APPEND = "APPEND"


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of the value at a path."""

    op: MetadataOp
    path: str
    value: Any = None


class MetadataError(InvalidValueError):
    """The operations cannot be applied, or their result cannot be stored.

    A class of its own, because task functions can catch it and failed tasks have its name as the type of their error.
    """


def apply_operations(
    metadata: dict[str, Any],
    operations: Sequence[Operation],
    max_bytes: int,
    *,
    max_depth: int = values.MAX_DEPTH,
    max_keys: int = values.MAX_KEYS,
) -> dict[str, Any]:
    """Return a copy of the metadata to which all operations were applied in their order.

    SET creates the missing objects of its path; in an array it takes an existing index. UNSET removes a key or an
    element, if there is one. INCREMENT adds to a number, and sets a missing one; APPEND adds to an array, and creates a
    missing one.

    Raises:
        MetadataError: an operation does not fit the metadata, or the result is not valid metadata.
    """
    if len(operations) > MAX_OPERATIONS:
        message = f"at most {MAX_OPERATIONS} allowed, got {len(operations)}"
        raise MetadataError(Problem(("operations",), message))
    result = copy.deepcopy(metadata)
    for number, operation in enumerate(operations):
        where: Path = ("operations", number)
        wrong = values.check(operation.value, (*where, "value"), max_bytes, max_depth=max_depth, max_keys=max_keys)
        if wrong:
            raise MetadataError(*wrong)
        try:
            keys = paths.parse(operation.path)
        except InvalidValueError as error:
            raise MetadataError(*error.below(*where, "path")) from error
        try:
            # A copy: a later operation may change it, and the caller may apply all of them again.
            _apply(result, keys, replace(operation, value=copy.deepcopy(operation.value)))
        except InvalidValueError as error:
            raise MetadataError(*error.below(*where)) from error
    problems = values.check(result, ("metadata",), max_bytes, max_depth=max_depth, max_keys=max_keys)
    if problems:
        raise MetadataError(*problems)
    return result


def _apply(metadata: dict[str, Any], keys: Sequence[str], operation: Operation) -> None:
    *parents, last = keys
    container: Any = metadata
    for key in parents:
        following = _get(container, key)
        if following is _MISSING:
            if operation.op is MetadataOp.UNSET:
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
    raise InvalidValueError.because(f"{key!r} would be inside a value that is neither an object nor an array")


def _put(container: Json, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
        return
    index = _index(key)
    if index >= len(container):
        raise InvalidValueError.because(f"the array has no element {key}")
    container[index] = value


def _index(key: str) -> int:
    index = paths.index(key)
    if index is None:
        raise InvalidValueError.because(f"{key!r} is not an index of an array")
    return index


def _set(container: Any, key: str, value: Any) -> None:
    _get(container, key)
    _put(container, key, value)


def _unset(container: Any, key: str, _value: Any) -> None:
    if _get(container, key) is not _MISSING:
        del container[key if isinstance(container, dict) else _index(key)]


def _increment(container: Any, key: str, by: Any) -> None:
    present = _get(container, key)
    if not values.is_number(by):
        raise InvalidValueError.because("INCREMENT needs a number")
    if present is _MISSING:
        _put(container, key, by)
    elif values.is_number(present):
        try:
            _put(container, key, present + by)
        except OverflowError as error:
            raise InvalidValueError.because("the sum is too large") from error
    else:
        raise InvalidValueError.because("INCREMENT needs a number to add to")


def _append(container: Any, key: str, value: Any) -> None:
    present = _get(container, key)
    if present is _MISSING:
        _put(container, key, [value])
    elif isinstance(present, list):
        present.append(value)
    else:
        raise InvalidValueError.because("APPEND needs an array to add to")


_OPERATIONS: dict[MetadataOp, Callable[[Any, str, Any], None]] = {
    MetadataOp.SET: _set,
    MetadataOp.UNSET: _unset,
    MetadataOp.INCREMENT: _increment,
    MetadataOp.APPEND: _append,
}
