"""The grant of a new token: what its maker asks for, never wider than the maker's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gql_api import values
from gql_api.access.grants import Grant
from gql_api.access.principal import Restrictions, Scope
from gql_api.access.token_filter import both, check_token_filter
from gql_api.limits import LimitSettings
from gql_api.query.filter import TaskFilter, check
from gql_api.values import InvalidValueError, Path, Problem

N = TypeVar("N", int, float)

_PRIORITIES = range(10)


@dataclass(frozen=True, slots=True)
class GrantInput:
    """The permissions that the maker of a token asks for. None asks for as much as the maker has."""

    scopes: Sequence[Scope]
    filter: TaskFilter | None = None
    names: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    min_priority: int | None = None
    max_time_limit_seconds: float | None = None
    metadata: Any = None


def narrowed(own: Grant, asked: GrantInput, limits: LimitSettings) -> Grant:
    """Return what a new token may be granted: what was asked for, as far as the maker has it itself.

    Raises:
        InvalidValueError: a scope is not the maker's, or nothing is left of the names or queues, or a value is invalid.
            The paths of problems begin with the GraphQL name of the field.
    """
    problems = [
        *_wrong_scopes(own, asked),
        *_wrong_lists(asked),
        *_wrong_numbers(asked),
        *_wrong_metadata(asked.metadata, limits),
    ]
    if asked.filter is not None:
        problems += _wrong_filter(asked.filter)
    filter_ = both(own.filter, asked.filter)
    if filter_ is not None:
        # The maker's own may come from a function of the deployment, which may use any condition.
        problems = problems or _wrong_filter(filter_)
    mine = own.restrictions
    names, queues = _common(mine.names, asked.names), _common(mine.queues, asked.queues)
    for name, left, given in (("names", names, asked.names), ("queues", queues, asked.queues)):
        if given and not left:
            problems.append(Problem((name,), "your own token allows none of these"))
    if problems:
        raise InvalidValueError(*problems[: values.MAX_PROBLEMS])
    restrictions = Restrictions(
        names=names,
        queues=queues,
        min_priority=_narrower(max, mine.min_priority, asked.min_priority),
        max_time_limit_seconds=_narrower(min, mine.max_time_limit_seconds, asked.max_time_limit_seconds),
        metadata=_merged(asked.metadata or {}, mine.metadata),
    )
    return Grant(frozenset(asked.scopes), filter_, restrictions)


def _wrong_scopes(own: Grant, asked: GrantInput) -> Iterator[Problem]:
    if not asked.scopes:
        yield Problem(("scopes",), "at least one scope is needed")
    for scope in sorted(set(asked.scopes) - own.scopes):
        yield Problem(("scopes",), f"your own token does not have the scope {scope}")


def _wrong_numbers(asked: GrantInput) -> Iterator[Problem]:
    if asked.min_priority is not None and asked.min_priority not in _PRIORITIES:
        yield Problem(("minPriority",), f"must be from 0 to 9, got {asked.min_priority}")
    seconds = asked.max_time_limit_seconds
    if seconds is not None and not seconds > 0:
        yield Problem(("maxTimeLimitSeconds",), f"must be greater than 0, got {seconds:g}")


def _wrong_metadata(metadata: object, limits: LimitSettings) -> list[Problem]:
    if metadata is None:
        return []
    path: Path = ("metadata",)
    if not isinstance(metadata, dict):
        return [Problem(path, "must be an object")]
    return values.check(
        metadata,
        path,
        limits.metadata_max_bytes,
        max_depth=limits.metadata_max_depth,
        max_keys=limits.metadata_max_keys,
    )


def _wrong_filter(filter_: TaskFilter) -> list[Problem]:
    try:
        check_token_filter(filter_)
    except InvalidValueError as error:
        return [*error.below("filter")]
    return []


def _wrong_lists(asked: GrantInput) -> Sequence[Problem]:
    try:
        check(TaskFilter(names=asked.names, queues=asked.queues))
    except InvalidValueError as error:
        return error.problems
    return []


def _merged(asked: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the values of both, key by key; where both have a value, that of ``mine``."""
    merged = {**asked, **mine}
    for key, value in mine.items():
        other = asked.get(key)
        if isinstance(value, Mapping) and value and isinstance(other, Mapping):
            merged[key] = _merged(other, value)
    return merged


def _common(mine: frozenset[str] | None, asked: Sequence[str] | None) -> frozenset[str] | None:
    if asked is None:
        return mine
    return frozenset(asked) if mine is None else mine & frozenset(asked)


def _narrower(narrowest: Callable[[N, N], N], mine: N | None, asked: N | None) -> N | None:
    if mine is None or asked is None:
        return asked if mine is None else mine
    return narrowest(mine, asked)
