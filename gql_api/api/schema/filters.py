"""What lists, facets and bulk mutations take to say which tasks are meant, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

import strawberry
from strawberry import UNSET

from gql_api.api.errors import BAD_INPUT, ClientError, RefusedError
from gql_api.api.schema.scalars import JSON, given
from gql_api.api.schema.types import TaskStatus
from gql_api.query.compile import CompiledFilter, compile_filter
from gql_api.query.filter import MetadataCondition as QueryCondition
from gql_api.query.filter import Operator, TimeRange, check_path
from gql_api.query.filter import TaskFilter as QueryFilter
from gql_api.query.lists import Order, OrderField
from gql_api.record.reads import Document
from gql_api.values import InvalidValueError

strawberry.enum(OrderField, name="TaskOrderField", description="FINISHED_AT lists finished tasks only.")


@strawberry.enum
class OrderDirection(StrEnum):
    """Which end comes first."""

    ASC = "asc"
    DESC = "desc"


@strawberry.input(description="A stretch of time.")
class DateTimeRange:
    """Bounds that may be left out."""

    gte: datetime | None = strawberry.field(default=UNSET, description="At this time or later.")
    lt: datetime | None = strawberry.field(default=UNSET, description="Before this time.")

    def range(self) -> TimeRange:
        """The same, as the record's half knows it."""
        return TimeRange(given(self.gte, None), given(self.lt, None))


@strawberry.input(
    description="What has to be so at one path of the metadata. An operator that is left out is no condition, one that "
    "is null is. On an array a condition holds when it does for any element."
)
class MetadataCondition:
    """Operators at a path."""

    path: str = strawberry.field(
        description='Keys and array indexes between dots, like "items.0.sku"; a backslash escapes a dot within a key.'
    )
    eq: JSON | None = strawberry.field(default=UNSET, description="Equal: 1 is 1.0; null is a null that is there.")
    ne: JSON | None = strawberry.field(default=UNSET, description="Exactly not eq: holds where nothing is, too.")
    in_: list[JSON | None] | None = strawberry.field(default=UNSET, name="in", description="Equal to any of these.")
    gt: JSON | None = strawberry.field(default=UNSET, description="Greater: a number than a number, or text than text.")
    gte: JSON | None = UNSET
    lt: JSON | None = UNSET
    lte: JSON | None = UNSET
    starts_with: str | None = UNSET
    exists: bool | None = strawberry.field(default=UNSET, description="Whether there is a value, be it null.")

    def condition(self) -> QueryCondition:
        """The same, as the record's half knows it."""
        asked = {
            Operator.EQ: self.eq,
            Operator.NE: self.ne,
            Operator.IN: self.in_,
            Operator.GT: self.gt,
            Operator.GTE: self.gte,
            Operator.LT: self.lt,
            Operator.LTE: self.lte,
            Operator.STARTS_WITH: self.starts_with,
            Operator.EXISTS: self.exists,
        }
        return QueryCondition(self.path, {operator: value for operator, value in asked.items() if value is not UNSET})


@strawberry.input(
    description="All of its fields have to hold; one that is left out or null is no condition. An empty AND holds, an "
    "empty OR or list matches nothing."
)
class TaskFilter:
    """Which tasks are meant."""

    ids: list[strawberry.ID] | None = UNSET
    names: list[str] | None = UNSET
    statuses: list[TaskStatus] | None = UNSET
    queues: list[str] | None = UNSET
    metadata: list[MetadataCondition] | None = strawberry.field(default=UNSET, description="All of these hold.")
    created_at: DateTimeRange | None = UNSET
    finished_at: DateTimeRange | None = UNSET
    updated_at: DateTimeRange | None = UNSET
    parent_id: strawberry.ID | None = UNSET
    all_of: list[TaskFilter] | None = strawberry.field(default=UNSET, name="AND")
    any_of: list[TaskFilter] | None = strawberry.field(default=UNSET, name="OR")
    none_of: TaskFilter | None = strawberry.field(default=UNSET, name="NOT")

    def wanted(self) -> QueryFilter:
        """The same, as the record's half knows it."""
        any_of, none_of = given(self.any_of, None), given(self.none_of, None)
        return QueryFilter(
            ids=given(self.ids, None),
            names=given(self.names, None),
            statuses=given(self.statuses, None),
            queues=given(self.queues, None),
            metadata=[each.condition() for each in given(self.metadata, [])],
            created_at=_range(self.created_at),
            finished_at=_range(self.finished_at),
            updated_at=_range(self.updated_at),
            parent_id=given(self.parent_id, None),
            all_of=[each.wanted() for each in given(self.all_of, [])],
            any_of=None if any_of is None else [each.wanted() for each in any_of],
            none_of=None if none_of is None else none_of.wanted(),
        )


@strawberry.input(description="By which time, and which end comes first. Equal times are in the order of the ids.")
class TaskOrder:
    """The order of a list."""

    field: OrderField = OrderField.CREATED_AT
    direction: OrderDirection = OrderDirection.DESC

    def order(self) -> Order:
        """The same, as the record's half knows it."""
        return Order(self.field, descending=self.direction is OrderDirection.DESC)


def compiled_filter(wanted: TaskFilter | None) -> CompiledFilter:
    """Make both readings of a filter; one that is left out holds for every task.

    Raises:
        ClientError: the filter cannot be used.
    """
    try:
        return compile_filter(QueryFilter() if wanted is None else wanted.wanted())
    except InvalidValueError as error:
        raise _refused(error, "filter") from error


def query_of(wanted: TaskFilter | None, order: Order) -> Document:
    """What MongoDB is asked for a list in an order.

    Raises:
        ClientError: the filter cannot be used.
    """
    query = compiled_filter(wanted).query
    return {"$and": [order.listed(), query]} if order.field is OrderField.FINISHED_AT else query


def check_metadata_path(path: str) -> None:
    """Look at the path of a facet.

    Raises:
        ClientError: it cannot be.
    """
    try:
        check_path(path, ("metadataPath",))
    except InvalidValueError as error:
        raise _refused(error) from error


def _refused(error: InvalidValueError, *prefix: str) -> ClientError:
    problems = [replace(problem, path=(*prefix, *problem.path)) for problem in error.problems]
    return ClientError(str(RefusedError.for_problems(problems)), BAD_INPUT)


def _range(wanted: DateTimeRange | None) -> TimeRange | None:
    return wanted.range() if isinstance(wanted, DateTimeRange) else None
