"""Filters of tokens: their form in JSON, which is that of the GraphQL input TaskFilter, and the check of one.

A token's filter narrows what its holder sees for as long as the token is valid. It must therefore not depend on what
every task changes while it runs: conditions on statuses, errors, the end, the last change and the replays of a task
are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from gql_api.query.filter import MAX_DEPTH, MetadataCondition, Operator, TaskFilter, TimeRange, check
from gql_api.values import MAX_PROBLEMS, InvalidValueError, Path, Problem

T = TypeVar("T")

# RFC 3339, as the scalar DateTime reads it.
_TIME = re.compile(r"[0-9]{4}(-[0-9]{2}){2}[T ][0-9]{2}(:[0-9]{2}){2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-5][0-9])")
_REFUSED = "is not allowed in the filter of a token; use ids, names, queues, parentId, createdAt or metadata"
# A visibility consists of the owner's filter and that of the token.
_OWNERS = TaskFilter(owners=[""], tenants=[""])
_SHOWN = 100


def read_token_filter(value: object) -> TaskFilter:
    """Read the filter of a token from its form in JSON. A field that is null counts as left out, as in GraphQL.

    Raises:
        InvalidValueError: it is not a filter, or not one for a token, or exceeds a limit. Paths begin at the filter.
    """
    filter_ = _filter(value, (), 0)
    check_token_filter(filter_)
    return filter_


def filter_as_json(filter_: TaskFilter) -> dict[str, Any]:
    """Return the form in JSON of a filter of a token.

    Raises:
        InvalidValueError: it has conditions that such a filter must not have, and that its form in JSON has not.
    """
    _check_lasting(filter_)
    return _as_json(filter_)


def _as_json(filter_: TaskFilter) -> dict[str, Any]:
    within = filter_.none_of
    fields: dict[str, Any] = {
        "ids": _listed(filter_.ids),
        "names": _listed(filter_.names),
        "queues": _listed(filter_.queues),
        "parentId": filter_.parent_id,
        "createdAt": None if filter_.created_at is None else _range_as_json(filter_.created_at),
        "metadata": [_condition_as_json(each) for each in filter_.metadata] or None,
        "AND": [_as_json(each) for each in filter_.all_of] or None,
        "OR": None if filter_.any_of is None else [_as_json(each) for each in filter_.any_of],
        "NOT": None if within is None else _as_json(within),
    }
    return {name: value for name, value in fields.items() if value is not None}


def check_token_filter(filter_: TaskFilter) -> None:
    """Check that a filter may be that of a token, together with the filter of an owner.

    Raises:
        InvalidValueError: it is not, or exceeds a limit. Paths begin at the filter.
    """
    try:
        check(TaskFilter(all_of=[_OWNERS, filter_]))
    except InvalidValueError as error:
        raise InvalidValueError(*map(_below_owners, error.problems)) from None
    _check_lasting(filter_)


def both(first: TaskFilter | None, second: TaskFilter | None) -> TaskFilter | None:
    """Return the filter of the tasks that two filters match; None matches all."""
    if first is None or second is None:
        return second if first is None else first
    # A filter that was combined before does not become deeper.
    others = replace(first, all_of=(), metadata=first.metadata or ())
    parts = first.all_of if others == TaskFilter() else [first]
    return TaskFilter(all_of=[*parts, second])


def _check_lasting(filter_: TaskFilter) -> None:
    if problems := [*_changing(filter_, ())]:
        raise InvalidValueError(*problems[:MAX_PROBLEMS])


def _below_owners(problem: Problem) -> Problem:
    return replace(problem, path=problem.path[2:])


def _changing(filter_: TaskFilter, path: Path) -> Iterator[Problem]:
    """Yield a problem for each condition that a token must not have."""
    conditions = {
        "statuses": filter_.statuses,
        "errorTypes": filter_.error_types,
        "finishedAt": filter_.finished_at,
        "updatedAt": filter_.updated_at,
        "isReplayed": filter_.is_replayed,
        "owners": filter_.owners,
        "tenants": filter_.tenants,
    }
    yield from (Problem((*path, name), _REFUSED) for name, value in conditions.items() if value is not None)
    for name, filters in {"AND": filter_.all_of, "OR": filter_.any_of or ()}.items():
        for number, each in enumerate(filters):
            yield from _changing(each, (*path, name, number))
    if filter_.none_of is not None:
        yield from _changing(filter_.none_of, (*path, "NOT"))


def _filter(value: object, path: Path, depth: int) -> TaskFilter:
    if depth > MAX_DEPTH:
        raise _wrong(path, f"is nested more than {MAX_DEPTH} levels deep")

    def within(value: object, path: Path) -> TaskFilter:
        return _filter(value, path, depth + 1)

    fields = {name: given for name, given in _object(value, path).items() if given is not None}
    for name in fields:
        if name not in _READERS and name not in _WITHIN:
            raise _wrong((*path, _shown(name)), _REFUSED)
    read = {_READERS[name][0]: _READERS[name][1](fields[name], (*path, name)) for name in _READERS if name in fields}
    for name, attribute in _WITHIN.items():
        if name in fields:
            where = (*path, name)
            read[attribute] = within(fields[name], where) if name == "NOT" else _list(within)(fields[name], where)
    # As the GraphQL input has them when they are left out.
    return TaskFilter(**{"metadata": [], "all_of": [], **read})


def _condition(value: object, path: Path) -> MetadataCondition:
    fields = dict(_object(value, path))
    metadata_path = _text(fields.pop("path", None), (*path, "path"))
    operators: dict[Operator, Any] = {}
    for name, operand in fields.items():
        if name not in _OPERATORS:
            raise _wrong((*path, _shown(name)), f"is not an operator; use one of {', '.join(_OPERATORS)}")
        operators[Operator(name)] = _operand(Operator(name), operand, (*path, name))
    return MetadataCondition(metadata_path, operators)


def _operand(operator: Operator, value: object, path: Path) -> object:
    if operator is Operator.IN and value is not None and not isinstance(value, list):
        raise _wrong(path, "must be a list or null")
    if operator is Operator.STARTS_WITH and value is not None:
        return _text(value, path)
    if operator is Operator.EXISTS and not isinstance(value, bool | None):
        raise _wrong(path, "must be true, false or null")
    return value


def _range(value: object, path: Path) -> TimeRange:
    fields = _object(value, path)
    for name in fields:
        if name not in {"gte", "lt"}:
            raise _wrong((*path, _shown(name)), "is not a bound; use gte and lt")
    bounds = (_time(fields.get(name), (*path, name)) for name in ("gte", "lt"))
    return TimeRange(*bounds)


def _time(value: object, path: Path) -> datetime | None:
    if value is None:
        return None
    text = _text(value, path).upper()
    wrong = _wrong(path, 'must be a time with an offset, like "2030-01-01T06:00:00+01:00"')
    if not _TIME.fullmatch(text):
        raise wrong
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None


def _condition_as_json(condition: MetadataCondition) -> dict[str, Any]:
    return {"path": condition.path, **{operator.value: operand for operator, operand in condition.operators.items()}}


def _range_as_json(range_: TimeRange) -> dict[str, str]:
    bounds = {"gte": range_.gte, "lt": range_.lt}
    return {name: time.astimezone(UTC).isoformat() for name, time in bounds.items() if time is not None}


def _object(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(path, "must be an object")
    return value


def _text(value: object, path: Path) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "must be a text")
    return value


def _list(read: Callable[[object, Path], T]) -> Callable[[object, Path], list[T]]:
    def read_list(value: object, path: Path) -> list[T]:
        if not isinstance(value, list):
            raise _wrong(path, "must be a list")
        return [read(each, (*path, number)) for number, each in enumerate(value)]

    return read_list


def _listed(members: Sequence[str] | None) -> list[str] | None:
    return None if members is None else list(members)


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() and len(name) <= _SHOWN else ascii(name)[:_SHOWN]


def _wrong(path: Path, message: str) -> InvalidValueError:
    return InvalidValueError(Problem(path, message))


# The attribute of each field of a filter, and its reader.
_READERS: dict[str, tuple[str, Callable[[object, Path], Any]]] = {
    "ids": ("ids", _list(_text)),
    "names": ("names", _list(_text)),
    "queues": ("queues", _list(_text)),
    "parentId": ("parent_id", _text),
    "createdAt": ("created_at", _range),
    "metadata": ("metadata", _list(_condition)),
}
_WITHIN = {"AND": "all_of", "OR": "any_of", "NOT": "none_of"}
_OPERATORS = [operator.value for operator in Operator]
