"""Questions for statistics: their limits, their slots, and what the buckets answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gql_api.query.facets import FacetField
from gql_api.query.filter import MetadataCondition, TaskFilter, TimeRange
from gql_api.query.statistics import StatisticsQuery, are_held
from gql_api.record.fields import Status
from gql_api.record.statistics.cells import Span
from gql_api.values import InvalidValueError

_NOON = datetime(2026, 5, 4, 12, 7, 30, tzinfo=UTC)
_HOUR = StatisticsQuery(_NOON, _NOON + timedelta(hours=1), 60)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (replace(_HOUR, seconds=0), "bucketSeconds: must be a multiple of 60, got 0"),
        (replace(_HOUR, seconds=-60), "bucketSeconds: must be a multiple of 60, got -60"),
        (replace(_HOUR, seconds=90), "bucketSeconds: must be a multiple of 60, got 90"),
        (replace(_HOUR, until=_NOON), "from: must be before to"),
        (replace(_HOUR, until=_NOON - timedelta(days=1)), "from: must be before to"),
        (
            replace(_HOUR, until=_NOON + timedelta(days=1)),
            "bucketSeconds: at most 500 buckets between from and to allowed, got 1441",
        ),
        (replace(_HOUR, by=FacetField.METADATA), "by: must be one of STATUS, NAME, QUEUE, WORKER, ERROR_TYPE, got MET"),
    ],
)
def test_a_question_that_cannot_be_is_refused(query: StatisticsQuery, message: str) -> None:
    """The message names the argument, and has the figures."""
    with pytest.raises(InvalidValueError) as raised:
        query.check()
    assert message in str([f"{'.'.join(map(str, each.path))}: {each.message}" for each in raised.value.problems])


def test_the_largest_question_is_allowed() -> None:
    """500 slots are, from the first to the last minute that Python has."""
    whole = timedelta(minutes=500)
    replace(_HOUR, since=_NOON.replace(second=0), until=_NOON.replace(second=0) + whole).check()
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    query = replace(_HOUR, since=first, until=last, seconds=60 * 2 * 10**7)
    query.check()
    assert query.slots.at(query.count - 1) < last


def test_slots_begin_with_a_minute_or_a_quarter_of_an_hour() -> None:
    """The first contains the beginning, and the last the end."""
    assert _HOUR.span == Span(_NOON.replace(second=0), _NOON.replace(hour=13, minute=8, second=0))
    assert (_HOUR.count, _HOUR.slots.at(60)) == (61, _NOON.replace(hour=13, second=0))
    by_quarters = replace(_HOUR, seconds=1800)
    assert by_quarters.span == Span(_NOON.replace(minute=0, second=0), _HOUR.span.until)
    assert by_quarters.count == 3
    elsewhere = replace(_HOUR, since=datetime.fromisoformat("2026-05-04T17:37:30+05:30"))
    assert (elsewhere.span, elsewhere.slots.since.tzinfo) == (_HOUR.span, UTC)


def test_buckets_of_quarters_of_an_hour_answer_what_is_rolled_up() -> None:
    """They do so for slots of that length, until the last whole one."""
    query, noon = replace(_HOUR, seconds=900), _NOON.replace(minute=0, second=0)
    assert query.by_quarters(noon + timedelta(hours=5)) == Span(noon, noon + timedelta(hours=1))
    assert query.by_quarters(noon + timedelta(minutes=15)) == Span(noon, noon + timedelta(minutes=15))
    for until in (None, noon, noon - timedelta(days=1)):
        assert query.by_quarters(until) == Span(noon, noon)
    assert _HOUR.by_quarters(noon + timedelta(hours=5)) == Span(_HOUR.span.since, _HOUR.span.since)


_HELD = TaskFilter(names=["a"], queues=["q"], statuses=[Status.FAILURE], owners=["o"], tenants=[None])


@pytest.mark.parametrize(
    ("filter_", "is_held"),
    [
        (TaskFilter(), True),
        (TaskFilter(metadata=[]), True),
        (_HELD, True),
        (TaskFilter(all_of=[_HELD], any_of=[_HELD, TaskFilter()], none_of=_HELD), True),
        (TaskFilter(ids=[]), False),
        (TaskFilter(error_types=["E"]), False),
        (TaskFilter(parent_id="p"), False),
        (TaskFilter(created_at=TimeRange()), False),
        (TaskFilter(metadata=[MetadataCondition("a", {})]), False),
        (TaskFilter(any_of=[_HELD, TaskFilter(none_of=TaskFilter(updated_at=TimeRange()))]), False),
    ],
)
def test_buckets_hold_names_queues_statuses_and_owners(filter_: TaskFilter, *, is_held: bool) -> None:
    """Whatever else a filter reads, at any depth, is in the records only."""
    assert are_held(filter_) is is_held


def test_creations_are_not_counted_by_how_tasks_end() -> None:
    """A condition on the end, at any depth, is none that a task can meet when it is created."""
    for filter_ in (_HELD, TaskFilter(error_types=[]), TaskFilter(none_of=TaskFilter(finished_at=TimeRange()))):
        assert not replace(_HOUR, filter=filter_).counts_creations
    assert replace(_HOUR, filter=TaskFilter(names=["a"], any_of=[TaskFilter(queues=["q"])])).counts_creations
