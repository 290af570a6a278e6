"""Which tasks are meant: a filter, and its two readings, a MongoDB query and a predicate on a record in memory.

The two have to agree on every record, so each rule states both side by side. What an operator means is told in
docs/filters.md; MongoDB's own operators differ in places (missing against null, null under ``$gte``), and are only used
where they mean the same. Values of a filter stand under operators of ours, never in the place of one.
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
    """One filter, twice: ``query`` for MongoDB, ``holds`` for a record at hand.

    ``holds`` raises :class:`LookupError` when it depends on something that the record does not tell, for instance on
    metadata that an event left out.
    """

    query: Document
    holds: Callable[[TaskRecord], bool]


def read(wanted: TaskFilter) -> CompiledFilter:
    """Make both readings of a filter.

    Raises:
        FilterError: it is larger than a filter may be, or has a path or a value that cannot be.
    """
    check(wanted)
    return _filter(wanted)


def _filter(wanted: TaskFilter) -> CompiledFilter:
    readings = [
        *_members(f.ID, wanted.ids, operator.attrgetter("id")),
        *_members(f.NAME, wanted.names, operator.attrgetter("name")),
        *_members(f.STATUS, wanted.statuses, operator.attrgetter("status")),
        *_members(f.QUEUE, wanted.queues, operator.attrgetter("queue")),
        *_within(f.CREATED_AT, wanted.created_at, operator.attrgetter("created_at")),
        *_within(f.FINISHED_AT, wanted.finished_at, operator.attrgetter("finished_at")),
        *_within(f.UPDATED_AT, wanted.updated_at, operator.attrgetter("updated_at")),
        *_members(
            f.PARENT_ID, None if wanted.parent_id is None else [wanted.parent_id], operator.attrgetter("parent_id")
        ),
        *(reading for condition in wanted.metadata for reading in _conditions(condition)),
        *map(_filter, wanted.all_of),
    ]
    if wanted.any_of is not None:
        readings.append(_any([_filter(each) for each in wanted.any_of]))
    if wanted.none_of is not None:
        readings.append(_not(_filter(wanted.none_of)))
    return _all(readings)


_NOTHING = CompiledFilter({f.ID: {"$in": []}}, lambda _record: False)


def _all(readings: Sequence[CompiledFilter]) -> CompiledFilter:
    if len(readings) == 1:
        return readings[0]
    queries = [reading.query for reading in readings if reading.query]
    return CompiledFilter({"$and": queries} if queries else {}, lambda record: _decided(readings, record, by=False))


def _any(readings: Sequence[CompiledFilter]) -> CompiledFilter:
    if not readings:
        return _NOTHING
    queries = [reading.query for reading in readings]
    return CompiledFilter({"$or": queries}, lambda record: _decided(readings, record, by=True))


def _decided(readings: Sequence[CompiledFilter], record: TaskRecord, *, by: bool) -> bool:
    """Ask one after the other. What cannot be known of a record counts only if none of the others decides."""
    unknown = None
    for reading in readings:
        try:
            if reading.holds(record) is by:
                return by
        except LookupError as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return not by


def _not(reading: CompiledFilter) -> CompiledFilter:
    return CompiledFilter({"$nor": [reading.query]}, lambda record: not reading.holds(record))


def _members(name: str, wanted: Sequence[str] | None, get: Callable[[TaskRecord], Any]) -> Iterator[CompiledFilter]:
    if wanted is not None:
        members = frozenset(wanted)
        yield CompiledFilter({name: {"$in": sorted(members)}}, lambda record: get(record) in members)


def _within(
    name: str, wanted: TimeRange | None, get: Callable[[TaskRecord], datetime | None]
) -> Iterator[CompiledFilter]:
    if wanted is None:
        return
    for bound, time, compare in (("$gte", wanted.gte, operator.ge), ("$lt", wanted.lt, operator.lt)):
        if time is not None:
            yield _compared(name, bound, _whole_millisecond(time), compare, get)


def _compared(
    name: str,
    bound: str,
    time: datetime,
    compare: Callable[[Any, Any], bool],
    get: Callable[[TaskRecord], datetime | None],
) -> CompiledFilter:
    def holds(record: TaskRecord) -> bool:
        stored = get(record)
        return stored is not None and compare(stored, time)

    return CompiledFilter({name: {bound: time}}, holds)


def _whole_millisecond(time: datetime) -> datetime:
    """The next time that MongoDB can tell: for whole milliseconds, both bounds mean the same with it."""
    below = time.microsecond % 1000
    try:
        return time + timedelta(microseconds=1000 - below) if below else time
    except OverflowError:
        return time.replace(microsecond=time.microsecond - below)


def _conditions(condition: MetadataCondition) -> Iterator[CompiledFilter]:
    keys = [values.escape_key(key) for key in paths.parse(condition.path)]
    for asked, value in condition.operators.items():
        yield OPERATORS[asked](_Place(keys), value)


class _Place:
    """A path into stored metadata: to what MongoDB reaches by it, and to the same in memory."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._path = ".".join([f.METADATA, *keys])

    def any_value(self, query: Document, holds: Callable[[Any], bool]) -> CompiledFilter:
        """Ask that one value is so: the one at the path, or, where that is an array, one of its elements."""
        asked = self._asked(query)
        if paths.index(self._keys[-1]) is not None:
            # MongoDB looks into no array that is itself the element of one.
            asked = {"$or": [asked, {self._path: {"$elemMatch": query}}]}
        return CompiledFilter(
            asked,
            lambda record: any(holds(value) for value in _with_elements(_reached(record.stored_metadata, self._keys))),
        )

    def is_there(self) -> CompiledFilter:
        """Ask that there is a value, be it null."""
        return CompiledFilter(
            self._asked({"$exists": True}),
            lambda record: bool(_reached(record.stored_metadata, self._keys)),
        )

    def _asked(self, query: Document) -> Document:
        asked = {self._path: query}
        if all(paths.index(key) is None for key in self._keys[:-1]):
            return asked
        # A wildcard index misses what is in an array within an array, and MongoDB does not mind; no index serves this.
        return {"$nor": [{"$nor": [asked]}]}


def _reached(value: Any, keys: Sequence[str]) -> list[Any]:
    """What MongoDB finds by a path, step by step.

    Each is kept once: in arrays there may be so many ways to the same value that to go them all would take seconds.
    """
    reached = [value]
    for key in keys:
        reached = [*{id(found): found for each in reached for found in _one_step(each, key)}.values()]
    return reached


def _one_step(value: Any, key: str) -> Iterator[Any]:
    """In an array a key is an index, and a key of each object among the elements too."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
    elif isinstance(value, list):
        index = paths.index(key)
        if index is not None and index < len(value):
            yield value[index]
        yield from (item[key] for item in value if isinstance(item, dict) and key in item)


def _with_elements(reached: Sequence[Any]) -> Iterator[Any]:
    for value in reached:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_alike(one: Any, other: Any) -> bool:
    """Whether two values are of kinds that can be compared by size."""
    return (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))


def _equal(place: _Place, wanted: Any) -> CompiledFilter:
    if wanted is None:
        # {"$eq": None} would find what is missing too.
        return place.any_value({"$type": "null"}, lambda value: value is None)
    if isinstance(wanted, bool):
        return place.any_value({"$eq": wanted}, lambda value: value is wanted)
    return place.any_value({"$eq": wanted}, lambda value: _are_alike(value, wanted) and value == wanted)


def _one_of(place: _Place, wanted: Sequence[Any] | None) -> CompiledFilter:
    return _any([_equal(place, each) for each in wanted or ()])


def _ordered(bound: str, compare: Callable[[Any, Any], bool]) -> Callable[[_Place, Any], CompiledFilter]:
    def reading(place: _Place, wanted: Any) -> CompiledFilter:
        # MongoDB would let null be at least null, and false be less than true.
        if not _are_alike(wanted, wanted):
            return _NOTHING
        return place.any_value({bound: wanted}, lambda value: _are_alike(value, wanted) and compare(value, wanted))

    return reading


def _starting(place: _Place, prefix: str | None) -> CompiledFilter:
    if prefix is None:
        return _NOTHING
    # A BSON pattern ends at its first NUL.
    pattern = "^" + re.escape(prefix).replace("\0", r"\x00")
    return place.any_value({"$regex": pattern}, lambda value: isinstance(value, str) and value.startswith(prefix))


def _existing(place: _Place, wanted: bool | None) -> CompiledFilter:
    if wanted is None:
        return _NOTHING
    return place.is_there() if wanted else _not(place.is_there())


OPERATORS: dict[Operator, Callable[[_Place, Any], CompiledFilter]] = {
    Operator.EQ: _equal,
    Operator.NE: lambda place, wanted: _not(_equal(place, wanted)),
    Operator.IN: _one_of,
    Operator.GT: _ordered("$gt", operator.gt),
    Operator.GTE: _ordered("$gte", operator.ge),
    Operator.LT: _ordered("$lt", operator.lt),
    Operator.LTE: _ordered("$lte", operator.le),
    Operator.STARTS_WITH: _starting,
    Operator.EXISTS: _existing,
}
