"""Filters of tasks as values, with their limits and the check of a filter against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gql_api import values
from gql_api.record.fields import Status
from gql_api.values import InvalidValueError, Path, Problem, paths

# Of AND, OR and NOT within each other.
MAX_DEPTH = 8
# Filters within filters, and operators of metadata conditions, together.
MAX_CONDITIONS = 100
# In all lists together.
MAX_VALUES = 1000
# Of one text, in characters: MongoDB refuses patterns that are much longer.
MAX_LENGTH = 4096
# Of all texts together, in bytes.
MAX_BYTES = 256 * 1024


class Operator(StrEnum):
    """The comparison of a condition with the value at its path."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    STARTS_WITH = "startsWith"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class MetadataCondition:
    """A condition on the value at one path of the metadata; all of its operators have to match."""

    path: str
    operators: Mapping[Operator, Any]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of times, from ``gte`` on and before ``lt``."""

    gte: datetime | None = None
    lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """A filter of tasks. All of its fields have to match; None matches every task, an empty list of values no task."""

    ids: Sequence[str] | None = None
    names: Sequence[str] | None = None
    statuses: Sequence[Status] | None = None
    queues: Sequence[str] | None = None
    error_types: Sequence[str] | None = None
    metadata: Sequence[MetadataCondition] = ()
    created_at: TimeRange | None = None
    finished_at: TimeRange | None = None
    updated_at: TimeRange | None = None
    parent_id: str | None = None
    # The one condition that no event of a task tells: a filter with it has no live list.
    is_replayed: bool | None = None
    # None among these stands for tasks without an owner or a tenant.
    owners: Sequence[str | None] | None = None
    tenants: Sequence[str | None] | None = None
    all_of: Sequence[TaskFilter] = field(default=())
    any_of: Sequence[TaskFilter] | None = None
    none_of: TaskFilter | None = None


def check(filter_: TaskFilter) -> None:
    """Check a filter before it is compiled.

    Raises:
        InvalidValueError: it exceeds a limit, or has an invalid path or value. Paths of problems begin at the filter.
    """
    parts = [*_parts(filter_, (), 0)]
    # The operators of one condition share its path, and so the problems of that.
    problems = _too_large(parts) or [*dict.fromkeys(problem for part in parts for problem in part.problems())]
    if problems:
        raise InvalidValueError(*problems[: values.MAX_PROBLEMS])


def check_live(filter_: TaskFilter) -> None:
    """Check that a filter can be that of a live list.

    Raises:
        InvalidValueError: it has a condition on replays. A replay does not change the task that it repeats, so that no
            watcher would be notified.
    """
    message = "is not allowed in a live list: a replay is another task, and no change of the task that it repeats"
    wrong = [part.path for part in _parts(filter_, (), 0) if part.path[-1:] == ("isReplayed",)]
    if wrong:
        raise InvalidValueError(*[Problem(path, message) for path in wrong[: values.MAX_PROBLEMS]])


def check_path(path: str, where: Path) -> None:
    """Check the path of a facet: it must suit a filter and have no more keys than a caller's metadata has levels.

    Raises:
        InvalidValueError: the path is not valid.
    """
    problems = [*_wrong_path(path, where)]
    # Each key adds some levels to the facet's expression, and MongoDB limits the depth of those.
    if not problems and (keys := len(paths.parse(path))) > values.MAX_DEPTH:
        problems = [Problem(where, f"at most {values.MAX_DEPTH} keys allowed, got {keys}")]
    if problems:
        raise InvalidValueError(*problems)


@dataclass(frozen=True, slots=True)
class _Part:
    """One condition within a filter: its path in the filter, and the values it compares with."""

    path: Path
    values: Sequence[Any] = ()
    # The path of the metadata that it compares, if it does.
    metadata_path: str | None = None

    def problems(self) -> Iterator[Problem]:
        if self.metadata_path is not None:
            yield from _wrong_path(self.metadata_path, (*self.path[:-1], "path"))
        for value in self.values:
            yield from _wrong_value(value, self.path)

    def texts(self) -> Iterator[str]:
        yield self.metadata_path or ""
        yield from (value for value in self.values if isinstance(value, str))


def _parts(filter_: TaskFilter, path: Path, depth: int) -> Iterator[_Part]:
    if depth > MAX_DEPTH:
        raise InvalidValueError(Problem(path, f"is nested more than {MAX_DEPTH} levels deep"))
    yield _Part(path)
    lists: dict[str, Sequence[str | None] | None] = {
        "ids": filter_.ids,
        "names": filter_.names,
        "statuses": filter_.statuses,
        "queues": filter_.queues,
        "errorTypes": filter_.error_types,
        "owners": filter_.owners,
        "tenants": filter_.tenants,
    }
    yield from (_Part((*path, name), members) for name, members in lists.items() if members is not None)
    if filter_.parent_id is not None:
        yield _Part((*path, "parentId"), [filter_.parent_id])
    if filter_.is_replayed is not None:
        yield _Part((*path, "isReplayed"))
    for number, condition in enumerate(filter_.metadata):
        where = (*path, "metadata", number)
        for operator, value in condition.operators.items():
            compared = value or () if operator is Operator.IN else [value]
            yield _Part((*where, operator.value), compared, condition.path)
        if not condition.operators:
            yield _Part((*where, "path"), (), condition.path)
    within = {"AND": filter_.all_of, "OR": filter_.any_of or ()}
    for name, filters in within.items():
        for number, each in enumerate(filters):
            yield from _parts(each, (*path, name, number), depth + 1)
    if filter_.none_of is not None:
        yield from _parts(filter_.none_of, (*path, "NOT"), depth + 1)


def _too_large(parts: Sequence[_Part]) -> list[Problem]:
    counts = (
        (len(parts), MAX_CONDITIONS, "conditions"),
        (sum(len(part.values) for part in parts), MAX_VALUES, "values"),
        (
            sum(len(text.encode("utf-8", "surrogatepass")) for part in parts for text in part.texts()),
            MAX_BYTES,
            "bytes",
        ),
    )
    return [Problem((), f"at most {most} {what} allowed, got {count}") for count, most, what in counts if count > most]


def _wrong_path(path: str, where: Path) -> Iterator[Problem]:
    try:
        paths.parse(path)
    except InvalidValueError as error:
        yield from error.below(*where)
    yield from _wrong_text(path, where)
    if "\0" in path:
        yield Problem(where, "contains a NUL character, which no key can contain")


def _wrong_value(value: Any, where: Path) -> Iterator[Problem]:
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "an array"
        yield Problem(where, f"takes a single value, not {kind}; a path can reach into one")
    elif isinstance(value, str):
        yield from _wrong_text(value, where)
    else:
        yield from values.check(value, where, MAX_BYTES)


def _wrong_text(text: str, where: Path) -> Iterator[Problem]:
    if len(text) > MAX_LENGTH:
        yield Problem(where, f"at most {MAX_LENGTH} characters allowed, got {len(text)}")
    if not values.is_text(text):
        yield Problem(where, "contains a lone surrogate, which is not a Unicode character")
