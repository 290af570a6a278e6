"""The field taskStats, its types, and its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import UNSET

from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError, MutationRefusedError
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.scalars import JSON, or_default
from gql_api.query.facets import FacetField
from gql_api.query.filter import TaskFilter as QueryFilter
from gql_api.query.statistics import StatisticsQuery
from gql_api.record.fields import Status
from gql_api.record.statistics import cells
from gql_api.record.statistics.histogram import Histogram
from gql_api.record.statistics.slots import SlotCounts
from gql_api.values import InvalidValueError


@strawberry.type(
    description="How long tasks took, in seconds: the times that 50, 95 and 99 percent of them did not exceed, within "
    "19 percent, and the longest time, which is exact. All are null without such a task."
)
class Percentiles:
    """Percentiles of a histogram."""

    histogram: strawberry.Private[Histogram]

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram

    @strawberry.field(description="The median: half of the tasks took no longer.")
    def p50(self) -> float | None:
        """Compute the median."""
        return self.histogram.percentile(0.5)

    @strawberry.field(description="95 percent of the tasks took no longer.")
    def p95(self) -> float | None:
        """Compute the 95th percentile."""
        return self.histogram.percentile(0.95)

    @strawberry.field(description="99 percent of the tasks took no longer.")
    def p99(self) -> float | None:
        """Compute the 99th percentile."""
        return self.histogram.percentile(0.99)

    @strawberry.field(description="The longest time.")
    def max(self) -> float | None:
        """Return the longest time."""
        return self.histogram.longest


@strawberry.type(
    description="The tasks that were created, and that ended, within a bucket of time; with by, those that have one "
    "value."
)
class TaskStatsBucket:
    """A row of statistics."""

    at: datetime = strawberry.field(description="The beginning of the bucket.")
    value: JSON | None = strawberry.field(
        description="The value that by asks for. null without by, and for tasks without a value: by STATUS, WORKER and "
        "ERROR_TYPE, that is where created tasks are counted."
    )
    created: int = strawberry.field(
        description="How many tasks were created. 0 if the filter has statuses, errorTypes or finishedAt, which are "
        "about the end of tasks."
    )
    succeeded: int = strawberry.field(description="How many tasks ended with SUCCESS.")
    failed: int = strawberry.field(description="How many tasks ended with FAILURE.")
    revoked: int = strawberry.field(description="How many tasks ended with REVOKED.")
    queue_seconds: Percentiles = strawberry.field(
        description="How long the tasks that ended while they ran had waited: from the moment at which they could run "
        "to the start of their last attempt."
    )
    run_seconds: Percentiles = strawberry.field(
        description="How long the last attempts of these tasks ran: from their start to the end of the task."
    )

    @classmethod
    def of(cls, counts: SlotCounts) -> Self:
        """Convert a row of the store."""
        numbers = counts.numbers
        return cls(
            at=counts.at,
            value=None if counts.value is None else JSON(counts.value),
            created=numbers.get(cells.CREATED, 0),
            succeeded=numbers.get(Status.SUCCESS, 0),
            failed=numbers.get(Status.FAILURE, 0),
            revoked=numbers.get(Status.REVOKED, 0),
            queue_seconds=Percentiles(counts.queued),
            run_seconds=Percentiles(counts.ran),
        )


async def task_stats(
    info: Info,
    *,
    filter: Annotated[
        TaskFilter | None, strawberry.argument(description="Which tasks to count; all tasks by default.")
    ] = UNSET,
    from_: Annotated[
        datetime,
        strawberry.argument(
            name="from",
            description="The beginning of the first bucket, rounded down to a whole minute, or to a quarter of an hour "
            "if bucketSeconds is a multiple of 900.",
        ),
    ],
    to: Annotated[
        datetime | None,
        strawberry.argument(
            description="The end of the last bucket, itself not included, rounded up to a whole minute; now by default."
        ),
    ] = UNSET,
    bucket_seconds: Annotated[
        int, strawberry.argument(description="The length of a bucket: a multiple of 60. At most 500 buckets.")
    ],
    by: Annotated[
        FacetField | None,
        strawberry.argument(description="The property by whose values to count the tasks. METADATA is not supported."),
    ] = UNSET,
) -> list[TaskStatsBucket]:
    """Count tasks by slots of time.

    Raises:
        ClientError: an argument is invalid, or the question needs too much.
    """
    given, statistics = or_default(filter, None), info.context.services.statistics
    query = StatisticsQuery(
        since=from_,
        until=to if isinstance(to, datetime) else await statistics.now(),
        seconds=bucket_seconds,
        by=or_default(by, None),
        filter=QueryFilter() if given is None else given.task_filter(),
    )
    try:
        query.check()
    except InvalidValueError as error:
        raise _bad_input(error) from error
    try:
        rows = await statistics.read(query, info.context.visibility)
    except InvalidValueError as error:
        raise _bad_input(error, "filter") from error
    return [TaskStatsBucket.of(each) for each in (rows if query.by is not None else _with_empty(query, rows))]


def _with_empty(query: StatisticsQuery, rows: list[SlotCounts]) -> Iterator[SlotCounts]:
    """Yield a row for each slot."""
    found = {row.at: row for row in rows}
    for number in range(query.count):
        at = query.slots.at(number)
        yield found.get(at) or SlotCounts(at)


def _bad_input(error: InvalidValueError, *prefix: str) -> ClientError:
    problems = [replace(problem, path=(*prefix, *problem.path)) for problem in error.problems]
    return ClientError(str(MutationRefusedError.for_problems(problems)), BAD_INPUT)
