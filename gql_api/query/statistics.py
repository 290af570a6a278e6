"""Questions for statistics: their limits, and which of them the stored buckets answer. Others need the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gql_api.query.facets import FacetField
from gql_api.query.filter import TaskFilter
from gql_api.record import fields as f
from gql_api.record.statistics import cells
from gql_api.record.statistics.buckets import QUARTER
from gql_api.record.statistics.cells import Span
from gql_api.record.statistics.slots import Slots
from gql_api.values import InvalidValueError, Problem

MINUTE_SECONDS = 60
MAX_SLOTS = 500
_LAST_MINUTE = datetime.max.replace(second=0, microsecond=0, tzinfo=UTC)
# The fields of the cells by which tasks can be counted.
_BY: dict[FacetField | None, str | None] = {
    None: None,
    FacetField.STATUS: f.STATUS,
    FacetField.NAME: f.NAME,
    FacetField.QUEUE: f.QUEUE,
    FacetField.WORKER: cells.VALUE,
    FacetField.ERROR_TYPE: cells.VALUE,
}


@dataclass(frozen=True, slots=True)
class StatisticsQuery:
    """A question for statistics: the tasks that a filter matches, by slots from ``since`` on and before ``until``."""

    since: datetime
    until: datetime
    seconds: int
    by: FacetField | None = None
    filter: TaskFilter = field(default_factory=TaskFilter)

    def check(self) -> None:
        """Check the times.

        Raises:
            InvalidValueError: they are invalid, or there are too many slots. Paths begin at the arguments of the field.
        """
        if problems := [*self._problems()]:
            raise InvalidValueError(*problems)

    def _problems(self) -> Iterator[Problem]:
        if self.by is not None and self.by not in _BY:
            allowed = ", ".join(each.name for each in _BY if each is not None)
            yield Problem(("by",), f"must be one of {allowed}, got {self.by.name}")
        if self.seconds < MINUTE_SECONDS or self.seconds % MINUTE_SECONDS:
            yield Problem(("bucketSeconds",), f"must be a multiple of {MINUTE_SECONDS}, got {self.seconds}")
        elif self.since >= self.until:
            yield Problem(("from",), f"must be before to, which is {self.until.isoformat()}")
        elif self.count > MAX_SLOTS:
            yield Problem(
                ("bucketSeconds",), f"at most {MAX_SLOTS} buckets between from and to allowed, got {self.count}"
            )

    @property
    def span(self) -> Span:
        """The whole minutes in which the times lie; slots of quarters of an hour begin with one."""
        since = floor_quarter(self.since) if self._has_quarters else floor_minute(self.since)
        return Span(since, _ceil_minute(self.until))

    @property
    def _has_quarters(self) -> bool:
        return self.seconds % QUARTER.seconds == 0

    @property
    def slots(self) -> Slots:
        """The slots."""
        return Slots(self.span.since, self.seconds)

    def by_quarters(self, until: datetime | None) -> Span:
        """Return the part of the span that the buckets of quarters of an hour answer, which are made until a time."""
        since = self.span.since
        if until is None or not self._has_quarters:
            return Span(since, since)
        return Span(since, max(since, min(until, floor_quarter(self.span.until))))

    @property
    def count(self) -> int:
        """The number of slots."""
        return -((self.span.since - self.span.until) // timedelta(seconds=self.seconds))

    @property
    def value(self) -> str | None:
        """The field of the cells by which the tasks are counted; None for no such field."""
        return _BY[self.by]

    @property
    def needs_value(self) -> FacetField | None:
        """The field of the records that the buckets do not hold, and by which the tasks are counted."""
        return self.by if self.value == cells.VALUE else None

    @property
    def counts_creations(self) -> bool:
        """True if created tasks are counted: the filter has no condition on how tasks end."""
        return not _depends_on_end(self.filter)


def floor_minute(time: datetime) -> datetime:
    """Return the beginning of the minute of a time."""
    return time.astimezone(UTC).replace(second=0, microsecond=0)


def _ceil_minute(time: datetime) -> datetime:
    floor = floor_minute(time)
    return floor if floor in {time, _LAST_MINUTE} else floor + timedelta(seconds=MINUTE_SECONDS)


def floor_quarter(time: datetime) -> datetime:
    """Return the beginning of the quarter of an hour of a time."""
    minute = floor_minute(time)
    return minute - timedelta(minutes=minute.minute % (QUARTER.seconds // MINUTE_SECONDS))


def are_held(filter_: TaskFilter) -> bool:
    """Return whether the stored buckets hold all that a filter reads."""
    own = replace(
        filter_, names=None, queues=None, statuses=None, owners=None, tenants=None,
        metadata=filter_.metadata or (), all_of=(), any_of=None, none_of=None,
    )  # fmt: skip
    return own == TaskFilter() and all(map(are_held, _within(filter_)))


def _depends_on_end(filter_: TaskFilter) -> bool:
    own = (filter_.statuses, filter_.error_types, filter_.finished_at)
    return any(each is not None for each in own) or any(map(_depends_on_end, _within(filter_)))


def _within(filter_: TaskFilter) -> list[TaskFilter]:
    none_of = [] if filter_.none_of is None else [filter_.none_of]
    return [*filter_.all_of, *(filter_.any_of or ()), *none_of]
