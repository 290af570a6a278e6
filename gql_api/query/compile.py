"""The compiler of filters: a filter becomes a MongoDB query and a predicate on a record in memory.

The two have to agree on every record, so each rule states both side by side. docs/filters.md defines the operators;
MongoDB's own differ in places (missing against null, null under ``$gte``), and are only used where they mean the same.
A value of a filter always stands under an operator chosen here, never in the place of one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gql_api import values
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter, TimeRange, check
from gql_api.record import fields as f
from gql_api.record.reads import Document, TaskRecord
from gql_api.values import paths


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A filter in two forms: ``query`` for MongoDB, ``matches`` for a record in memory.

    ``matches`` raises :class:`LookupError` when it depends on a field that the record does not know, for instance on
    metadata that an event left out.
    """

    query: Document
    matches: Callable[[TaskRecord], bool]


def compile_filter(filter_: TaskFilter) -> CompiledFilter:
    """Compile a filter.

    Raises:
        InvalidValueError: it exceeds a limit, or has an invalid path or value.
    """
    check(filter_)
    return _compile(filter_)


def _compile(filter_: TaskFilter) -> CompiledFilter:
    parts = [
        *_members(f.ID, filter_.ids, operator.attrgetter("id")),
        *_members(f.NAME, filter_.names, operator.attrgetter("name")),
        *_members(f.STATUS, filter_.statuses, operator.attrgetter("status")),
        *_members(f.QUEUE, filter_.queues, operator.attrgetter("queue")),
        *_members(f.ERROR_TYPE, filter_.error_types, operator.attrgetter("error_type")),
        *_within(f.CREATED_AT, filter_.created_at, operator.attrgetter("created_at")),
        *_within(f.FINISHED_AT, filter_.finished_at, operator.attrgetter("finished_at")),
        *_within(f.UPDATED_AT, filter_.updated_at, operator.attrgetter("updated_at")),
        *_members(
            f.PARENT_ID, None if filter_.parent_id is None else [filter_.parent_id], operator.attrgetter("parent_id")
        ),
        *_replayed(filter_.is_replayed),
        *_members(f.OWNER, filter_.owners, operator.attrgetter("owner")),
        *_members(f.TENANT, filter_.tenants, operator.attrgetter("tenant")),
        *(part for condition in filter_.metadata for part in _conditions(condition)),
        *map(_compile, filter_.all_of),
    ]
    if filter_.any_of is not None:
        parts.append(_any([_compile(each) for each in filter_.any_of]))
    if filter_.none_of is not None:
        parts.append(_not(_compile(filter_.none_of)))
    return _all(parts)


_NOTHING = CompiledFilter({f.ID: {"$in": []}}, lambda _record: False)


def _all(parts: Sequence[CompiledFilter]) -> CompiledFilter:
    if len(parts) == 1:
        return parts[0]
    queries = [part.query for part in parts if part.query]
    return CompiledFilter({"$and": queries} if queries else {}, lambda record: _decide(parts, record, by=False))


def _any(parts: Sequence[CompiledFilter]) -> CompiledFilter:
    if not parts:
        return _NOTHING
    queries = [part.query for part in parts]
    return CompiledFilter({"$or": queries}, lambda record: _decide(parts, record, by=True))


def _decide(parts: Sequence[CompiledFilter], record: TaskRecord, *, by: bool) -> bool:
    # A part that depends on an unknown field counts only if none of the others decides.
    unknown = None
    for part in parts:
        try:
            if part.matches(record) is by:
                return by
        except LookupError as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return not by


def _not(part: CompiledFilter) -> CompiledFilter:
    return CompiledFilter({"$nor": [part.query]}, lambda record: not part.matches(record))


def _members(
    name: str, values_: Sequence[str | None] | None, get: Callable[[TaskRecord], Any]
) -> Iterator[CompiledFilter]:
    if values_ is None:
        return
    members = frozenset(values_)
    # For MongoDB null is equal to a field that is missing, as in a record.
    listed = sorted(members, key=lambda member: (member is not None, member))
    yield CompiledFilter({name: {"$in": listed}}, lambda record: get(record) in members)


def _replayed(wanted: bool | None) -> Iterator[CompiledFilter]:
    if wanted is not None:
        # Only tasks that were replayed have the field.
        query = {f.REPLAYED: True if wanted else {"$ne": True}}
        yield CompiledFilter(query, lambda record: record.is_replayed is wanted)


def _within(
    name: str, range_: TimeRange | None, get: Callable[[TaskRecord], datetime | None]
) -> Iterator[CompiledFilter]:
    if range_ is None:
        return
    for bound, time, compare in (("$gte", range_.gte, operator.ge), ("$lt", range_.lt, operator.lt)):
        if time is not None:
            yield _compared(name, bound, _whole_millisecond(time), compare, get)


def _compared(
    name: str,
    bound: str,
    time: datetime,
    compare: Callable[[Any, Any], bool],
    get: Callable[[TaskRecord], datetime | None],
) -> CompiledFilter:
    def matches(record: TaskRecord) -> bool:
        stored = get(record)
        return stored is not None and compare(stored, time)

    return CompiledFilter({name: {bound: time}}, matches)


def _whole_millisecond(time: datetime) -> datetime:
    """Return the next time that MongoDB can store: compared with stored times, both bounds mean the same with it."""
    below = time.microsecond % 1000
    try:
        return time + timedelta(microseconds=1000 - below) if below else time
    except OverflowError:
        return time.replace(microsecond=time.microsecond - below)


def _conditions(condition: MetadataCondition) -> Iterator[CompiledFilter]:
    keys = [values.escape_key(key) for key in paths.parse(condition.path)]
    for name, operand in condition.operators.items():
        yield OPERATORS[name](_MetadataPath(keys), operand)


class _MetadataPath:
    """A path into stored metadata, with conditions on the values that MongoDB reaches by it."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._path = ".".join([f.METADATA, *keys])

    def any_value(self, condition: Document, matches: Callable[[Any], bool]) -> CompiledFilter:
        """Require that one value matches: the value at the path or, where that is an array, one of its elements."""
        query = self._query(condition)
        if paths.index(self._keys[-1]) is not None:
            # MongoDB does not look into an array that is itself the element of an array.
            query = {"$or": [query, {self._path: {"$elemMatch": condition}}]}
        keys = self._keys

        def matches_any(record: TaskRecord) -> bool:
            # A loop takes a third less time than any() does, and live lists compare every event.
            for value in values_at(record.stored_metadata, keys):  # noqa: SIM110 - as above
                if matches(value):
                    return True
            return False

        return CompiledFilter(query, matches_any)

    def exists(self) -> CompiledFilter:
        """Require that there is a value, which may be null."""
        return CompiledFilter(
            self._query({"$exists": True}),
            lambda record: bool(_reached(record.stored_metadata, self._keys)),
        )

    def _query(self, condition: Document) -> Document:
        query = {self._path: condition}
        if all(paths.index(key) is None for key in self._keys[:-1]):
            return query
        # A wildcard index does not have the values in an array within an array, and MongoDB would use it all the same.
        # The double negation keeps it from using an index.
        return {"$nor": [{"$nor": [query]}]}


def values_at(metadata: Any, keys: Sequence[str]) -> list[Any]:
    """Return the values that a condition at a path compares: those that MongoDB finds, and the elements of arrays."""
    return _with_elements(_reached(metadata, keys))


def _reached(value: Any, keys: Sequence[str]) -> list[Any]:
    """Return the values that MongoDB finds by a path, step by step."""
    remaining = iter(keys)
    for key in remaining:
        if not isinstance(value, dict):
            return _reached_in_array(value, [key, *remaining])
        if key not in value:
            return []
        value = value[key]
    return [value]


def _reached_in_array(value: Any, keys: Sequence[str]) -> list[Any]:
    # Each value once: in arrays there may be so many ways to the same value that following all of them takes seconds.
    reached = [value]
    for key in keys:
        reached = [*{id(found): found for each in reached for found in _one_step(each, key)}.values()]
    return reached


def _one_step(value: Any, key: str) -> Iterator[Any]:
    # In an array, a key is an index, and also a key of each object among the elements.
    if isinstance(value, dict):
        if key in value:
            yield value[key]
    elif isinstance(value, list):
        index = paths.index(key)
        if index is not None and index < len(value):
            yield value[index]
        yield from (item[key] for item in value if isinstance(item, dict) and key in item)


def _with_elements(reached: list[Any]) -> list[Any]:
    elements = list[Any]()
    for value in reached:
        if isinstance(value, list):
            elements += value
        else:
            elements.append(value)
    return elements


def _are_alike(one: Any, other: Any) -> bool:
    """Return whether two values are of kinds that can be compared by size."""
    return (values.is_number(one) and values.is_number(other)) or (isinstance(one, str) and isinstance(other, str))


def _equal(path: _MetadataPath, operand: Any) -> CompiledFilter:
    if operand is None:
        # {"$eq": None} would find what is missing too.
        return path.any_value({"$type": "null"}, lambda value: value is None)
    if isinstance(operand, bool):
        return path.any_value({"$eq": operand}, lambda value: value is operand)
    return path.any_value({"$eq": operand}, lambda value: _are_alike(value, operand) and value == operand)


def _one_of(path: _MetadataPath, operand: Sequence[Any] | None) -> CompiledFilter:
    return _any([_equal(path, each) for each in operand or ()])


def _ordered(bound: str, compare: Callable[[Any, Any], bool]) -> Callable[[_MetadataPath, Any], CompiledFilter]:
    def compare_values(path: _MetadataPath, operand: Any) -> CompiledFilter:
        # MongoDB would let null be at least null, and false be less than true.
        if not _are_alike(operand, operand):
            return _NOTHING
        return path.any_value({bound: operand}, lambda value: _are_alike(value, operand) and compare(value, operand))

    return compare_values


def _starting(path: _MetadataPath, prefix: str | None) -> CompiledFilter:
    if prefix is None:
        return _NOTHING
    # A BSON pattern ends at its first NUL.
    pattern = "^" + re.escape(prefix).replace("\0", r"\x00")
    return path.any_value({"$regex": pattern}, lambda value: isinstance(value, str) and value.startswith(prefix))


def _existing(path: _MetadataPath, operand: bool | None) -> CompiledFilter:
    if operand is None:
        return _NOTHING
    return path.exists() if operand else _not(path.exists())


OPERATORS: dict[Operator, Callable[[_MetadataPath, Any], CompiledFilter]] = {
    Operator.EQ: _equal,
    Operator.NE: lambda path, operand: _not(_equal(path, operand)),
    Operator.IN: _one_of,
    Operator.GT: _ordered("$gt", operator.gt),
    Operator.GTE: _ordered("$gte", operator.ge),
    Operator.LT: _ordered("$lt", operator.lt),
    Operator.LTE: _ordered("$lte", operator.le),
    Operator.STARTS_WITH: _starting,
    Operator.EXISTS: _existing,
}
