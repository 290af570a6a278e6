"""The equalities that a filter requires: a task without any of their values does not match, whatever else it has.

An index of filters by these values finds all filters that a task may match. Values that a filter takes for equal have
the same key here; that values with the same key are equal is not promised, and each filter found has to be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from bson import Int64

from gql_api import values
from gql_api.query.compile import values_at
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record.reads import TaskRecord
from gql_api.values import paths

# The types of the values that equal a value of a filter. Others, like bson's Code, equal none, or are not hashable.
_COMPARABLE = frozenset({NoneType, bool, int, Int64, float, str})


@dataclass(frozen=True, slots=True)
class Subject:
    """A field of tasks, or a path into their metadata.

    Attributes:
        name: the field, by its name in :class:`TaskRecord`.
        is_lasting: whether a task has the same value for as long as it exists.
        share: about how many of a thousand tasks have the same value, to choose between equalities.
        keys: the keys of a path into the metadata, as they are stored.
    """

    name: str
    is_lasting: bool
    share: int
    keys: tuple[str, ...] = ()

    def keys_in(self, record: TaskRecord) -> Collection[Hashable]:
        """Return the keys of the values that a task has there.

        Raises:
            LookupError: the record does not know them.
        """
        if not self.keys:
            return (getattr(record, self.name),)
        found = values_at(record.stored_metadata, self.keys)
        return {_key(value) for value in found if type(value) in _COMPARABLE}


Equality = Mapping[Subject, frozenset[Hashable]]
"""The keys of the values of which a task has at least one, by subject."""

_ID = Subject("id", is_lasting=True, share=1)
_NAME = Subject("name", is_lasting=True, share=50)
_OWNER = Subject("owner", is_lasting=True, share=20)
_TENANT = Subject("tenant", is_lasting=True, share=200)
_PARENT = Subject("parent_id", is_lasting=False, share=5)
_QUEUE = Subject("queue", is_lasting=False, share=300)
_STATUS = Subject("status", is_lasting=False, share=400)
_ERROR_TYPE = Subject("error_type", is_lasting=False, share=10)


def required(filter_: TaskFilter) -> list[Equality]:
    """Return equalities of which a task has to meet each to match a valid filter; there may be none."""
    found = [{subject: frozenset(listed)} for subject, listed in _lists(filter_) if listed is not None]
    found += [equality for condition in filter_.metadata for equality in _of_condition(condition)]
    equalities: list[Equality] = [*found, *(equality for each in filter_.all_of for equality in required(each))]
    if filter_.any_of is not None:
        branches = [min(required(each), key=_share, default=None) for each in filter_.any_of]
        known = [branch for branch in branches if branch is not None]
        if len(known) == len(branches):
            equalities.append(_one_of(known))
    return equalities


def _lists(filter_: TaskFilter) -> Iterator[tuple[Subject, Iterable[Hashable] | None]]:
    yield _ID, filter_.ids
    yield _NAME, filter_.names
    yield _OWNER, filter_.owners
    yield _TENANT, filter_.tenants
    yield _PARENT, None if filter_.parent_id is None else [filter_.parent_id]
    yield _QUEUE, filter_.queues
    yield _STATUS, filter_.statuses
    yield _ERROR_TYPE, filter_.error_types


def _of_condition(condition: MetadataCondition) -> Iterator[dict[Subject, frozenset[Hashable]]]:
    keys = tuple(map(values.escape_key, paths.parse(condition.path)))
    subject = Subject("stored_metadata", is_lasting=False, share=5, keys=keys)
    for operator, operand in condition.operators.items():
        if operator is Operator.EQ:
            yield {subject: frozenset([_key(operand)])}
        elif operator is Operator.IN:
            yield {subject: frozenset(map(_key, operand or ()))}


def _key(value: Any) -> Hashable:
    # In Python, True equals 1. Numbers of different types are equal there too, and have the same hash.
    key: Hashable = (value,) if isinstance(value, bool) else value
    return key


def _share(equality: Equality) -> int:
    return sum(subject.share * len(keys) for subject, keys in equality.items())


def _one_of(branches: Iterable[Equality]) -> Equality:
    united: dict[Subject, frozenset[Hashable]] = {}
    for branch in branches:
        for subject, keys in branch.items():
            united[subject] = united.get(subject, frozenset()) | keys
    return united
