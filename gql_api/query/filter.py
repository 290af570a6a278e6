"""What a filter of tasks consists of, how large it may be, and what may stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gql_api import values
from gql_api.record.fields import Status
from gql_api.values import Path, Problem, paths

# Of AND, OR and NOT within each other.
MAX_DEPTH = 8
# Filters within filters, and operators of metadata conditions, together.
MAX_CONDITIONS = 100
# In all lists together.
MAX_VALUES = 1000
# Of one text, in characters: MongoDB takes no pattern that is much longer.
MAX_LENGTH = 4096
# Of all texts together, in bytes.
MAX_BYTES = 256 * 1024


class Operator(StrEnum):
    """What a condition asks of the value at its path."""

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
    """What has to be so at one path of the metadata. An operator that is not in the mapping is no condition."""

    path: str
    operators: Mapping[Operator, Any]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From ``gte`` on, and before ``lt``."""

    gte: datetime | None = None
    lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """All of its fields have to hold. None is no condition; an empty list of values holds for no task."""

    ids: Sequence[str] | None = None
    names: Sequence[str] | None = None
    statuses: Sequence[Status] | None = None
    queues: Sequence[str] | None = None
    metadata: Sequence[MetadataCondition] = ()
    created_at: TimeRange | None = None
    finished_at: TimeRange | None = None
    updated_at: TimeRange | None = None
    parent_id: str | None = None
    all_of: Sequence[TaskFilter] = field(default=())
    any_of: Sequence[TaskFilter] | None = None
    none_of: TaskFilter | None = None


class FilterError(Exception):
    """A filter cannot be used. Each problem's path begins at the filter."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in problems))
        self.problems = problems


def check(wanted: TaskFilter) -> None:
    """Look at a filter before anything is made of it.

    Raises:
        FilterError: it is larger than a filter may be, or has a path or a value that cannot be.
    """
    parts = [*_parts(wanted, (), 0)]
    # The operators of one condition have its path in common.
    problems = _too_large(parts) or [*dict.fromkeys(problem for part in parts for problem in part.problems())]
    if problems:
        raise FilterError(problems[: values.MAX_PROBLEMS])


def check_path(path: str, where: Path) -> None:
    """Look at the path of a facet: one that a filter may have, no longer than a caller's metadata is deep.

    Each key is some levels of the facet's expression, and MongoDB takes no expression of very many.

    Raises:
        FilterError: it cannot be.
    """
    problems = [*_wrong_path(path, where)]
    if not problems and len(paths.parse(path)) > values.MAX_DEPTH:
        problems = [Problem(where, f"has more than {values.MAX_DEPTH} keys")]
    if problems:
        raise FilterError(problems)


@dataclass(frozen=True, slots=True)
class _Part:
    """One condition within a filter: where it stands, and the values it compares with."""

    path: Path
    values: Sequence[Any] = ()
    # Of what it compares a text in the metadata with, where it does.
    metadata_path: str | None = None

    def problems(self) -> Iterator[Problem]:
        if self.metadata_path is not None:
            yield from _wrong_path(self.metadata_path, (*self.path[:-1], "path"))
        for value in self.values:
            yield from _wrong_value(value, self.path)

    def texts(self) -> Iterator[str]:
        yield self.metadata_path or ""
        yield from (value for value in self.values if isinstance(value, str))


def _parts(wanted: TaskFilter, path: Path, depth: int) -> Iterator[_Part]:
    if depth > MAX_DEPTH:
        raise FilterError([Problem(path, f"is nested more than {MAX_DEPTH} levels deep")])
    yield _Part(path)
    lists = {"ids": wanted.ids, "names": wanted.names, "statuses": wanted.statuses, "queues": wanted.queues}
    yield from (_Part((*path, name), members) for name, members in lists.items() if members is not None)
    if wanted.parent_id is not None:
        yield _Part((*path, "parentId"), [wanted.parent_id])
    for number, condition in enumerate(wanted.metadata):
        where = (*path, "metadata", number)
        for operator, value in condition.operators.items():
            compared = value or () if operator is Operator.IN else [value]
            yield _Part((*where, operator.value), compared, condition.path)
        if not condition.operators:
            yield _Part((*where, "path"), (), condition.path)
    within = {"AND": wanted.all_of, "OR": wanted.any_of or ()}
    for name, filters in within.items():
        for number, each in enumerate(filters):
            yield from _parts(each, (*path, name, number), depth + 1)
    if wanted.none_of is not None:
        yield from _parts(wanted.none_of, (*path, "NOT"), depth + 1)


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
    return [Problem((), f"has {count} {what}, more than {most}") for count, most, what in counts if count > most]


def _wrong_path(path: str, where: Path) -> Iterator[Problem]:
    try:
        paths.parse(path)
    except paths.PathError as error:
        yield Problem(where, str(error))
    yield from _wrong_text(path, where)
    if "\0" in path:
        yield Problem(where, "holds a NUL character, which no key has")


def _wrong_value(value: Any, where: Path) -> Iterator[Problem]:
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "an array"
        yield Problem(where, f"compares with single values, not with {kind}; a path can reach into one")
    elif isinstance(value, str):
        yield from _wrong_text(value, where)
    else:
        yield from values.check(value, where, MAX_BYTES)


def _wrong_text(text: str, where: Path) -> Iterator[Problem]:
    if len(text) > MAX_LENGTH:
        yield Problem(where, f"is longer than {MAX_LENGTH} characters")
    if not values.is_text(text):
        yield Problem(where, "holds a lone surrogate, which is no Unicode character")
