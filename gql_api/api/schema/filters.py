"""The filter and the order that lists, facets, subscriptions and bulk mutations take."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import Enum

import strawberry
from strawberry import UNSET

from gql_api.access.visibility import Visibility
from gql_api.api.errors import BAD_INPUT, ClientError, MutationRefusedError
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.schema.scalars import JSON, expose_enum, or_default
from gql_api.api.schema.types import TaskStatus
from gql_api.query.compile import CompiledFilter, compile_filter
from gql_api.query.filter import MetadataCondition as QueryCondition
from gql_api.query.filter import Operator, TimeRange, check_live, check_path
from gql_api.query.filter import TaskFilter as QueryFilter
from gql_api.query.lists import Order, OrderField
from gql_api.record.reads import Document
from gql_api.values import InvalidValueError

expose_enum(
    OrderField,
    {
        OrderField.CREATED_AT: "By the time of creation. A task never moves in this order.",
        OrderField.UPDATED_AT: "By the time of the last change. A task that changes moves to the newest end.",
        OrderField.FINISHED_AT: "By the time of the end. Lists finished tasks only.",
    },
    name="TaskOrderField",
    description="The time by which a list of tasks is ordered.",
)


@strawberry.enum(description="Whether a list begins with the oldest or with the newest task.")
class OrderDirection(Enum):
    """The two directions of an order."""

    ASC = strawberry.enum_value("asc", description="Oldest first, by the time of the order's field.")
    DESC = strawberry.enum_value("desc", description="Newest first, by the time of the order's field.")


@strawberry.input(description="A range of time, open at an end whose bound is left out or null.")
class DateTimeRange:
    """Two optional bounds."""

    gte: datetime | None = strawberry.field(default=UNSET, description="The earliest time in the range.")
    lt: datetime | None = strawberry.field(default=UNSET, description="The end of the range, itself not included.")

    def time_range(self) -> TimeRange:
        """Convert the input."""
        return TimeRange(or_default(self.gte, None), or_default(self.lt, None))


@strawberry.input(
    description="A condition on the value at one path of a task's metadata. All operators that are given must hold; "
    "an operator that is left out has no effect, but null is a value: eq and ne compare with it, and all other "
    "operators match nothing. Operators compare with single values, not with objects or arrays: numbers with numbers "
    "(1 equals 1.0), text with text. On an array an operator holds if any element satisfies it."
)
class MetadataCondition:
    """The operators at one path."""

    path: str = strawberry.field(
        description='Keys and array indexes separated by dots, like "customer.tier" or "items.0.sku". A backslash '
        "escapes a dot or a backslash in a key. Without an index, a path reaches into every object of an array. At "
        "most 4,096 characters and 64 keys."
    )
    eq: JSON | None = strawberry.field(
        default=UNSET, description="The value is equal. null finds a null that is stored, not a missing value."
    )
    ne: JSON | None = strawberry.field(
        default=UNSET,
        description="The opposite of eq: also holds where there is no value, and on an array only if no element is "
        "equal.",
    )
    in_: list[JSON | None] | None = strawberry.field(
        default=UNSET, name="in", description="The value equals any of these. An empty list matches no task."
    )
    gt: JSON | None = strawberry.field(
        default=UNSET, description="The value is greater than this number, or sorts after this text by code point."
    )
    gte: JSON | None = strawberry.field(
        default=UNSET, description="The value is greater than or equal to this number or text."
    )
    lt: JSON | None = strawberry.field(
        default=UNSET, description="The value is less than this number, or sorts before this text by code point."
    )
    lte: JSON | None = strawberry.field(
        default=UNSET, description="The value is less than or equal to this number or text."
    )
    starts_with: str | None = strawberry.field(
        default=UNSET, description="The value is text with this prefix. Upper and lower case differ."
    )
    exists: bool | None = strawberry.field(
        default=UNSET, description="true: there is a value at the path, null included. false: there is none."
    )

    def condition(self) -> QueryCondition:
        """Convert the input."""
        operators = {
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
        return QueryCondition(
            self.path, {operator: value for operator, value in operators.items() if value is not UNSET}
        )


@strawberry.input(
    description="Which tasks to find. All fields that are given must match; a field that is left out or null is no "
    "condition, so an empty filter matches every task. At most 100 conditions, 1,000 values, 256 KiB of text and 8 "
    "levels of AND, OR and NOT."
)
class TaskFilter:
    """The conditions on a task."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description="The task has one of these ids. An empty list matches no task."
    )
    names: list[str] | None = strawberry.field(
        default=UNSET, description="The task has one of these Celery task names. An empty list matches no task."
    )
    statuses: list[TaskStatus] | None = strawberry.field(
        default=UNSET, description="The task is in one of these statuses. An empty list matches no task."
    )
    queues: list[str] | None = strawberry.field(
        default=UNSET, description="The task belongs to one of these queues. An empty list matches no task."
    )
    error_types: list[str] | None = strawberry.field(
        default=UNSET,
        description="The task has an error of one of these types, like ValueError: the reason why it failed, was "
        "revoked or is to be retried. An empty list matches no task.",
    )
    metadata: list[MetadataCondition] | None = strawberry.field(
        default=UNSET, description="All of these conditions on the metadata hold. An empty list matches every task."
    )
    created_at: DateTimeRange | None = strawberry.field(
        default=UNSET, description="The task was created within this range."
    )
    finished_at: DateTimeRange | None = strawberry.field(
        default=UNSET, description="The task ended within this range. Matches finished tasks only."
    )
    updated_at: DateTimeRange | None = strawberry.field(
        default=UNSET, description="The last change of the task is within this range."
    )
    parent_id: strawberry.ID | None = strawberry.field(
        default=UNSET,
        description="The task was sent by the function of the task with this id, or created with it as parentId.",
    )
    is_replayed: bool | None = strawberry.field(
        default=UNSET,
        description="true: replayTask or replayTasks has repeated the task. false: neither has. Not allowed in "
        "taskChanges, because a replay is another task and does not change the one that it repeats.",
    )
    all_of: list[TaskFilter] | None = strawberry.field(
        default=UNSET, name="AND", description="All of these filters match. An empty list matches every task."
    )
    any_of: list[TaskFilter] | None = strawberry.field(
        default=UNSET, name="OR", description="At least one of these filters matches. An empty list matches no task."
    )
    none_of: TaskFilter | None = strawberry.field(
        default=UNSET, name="NOT", description="This filter does not match the task."
    )

    def task_filter(self) -> QueryFilter:
        """Convert the input."""
        any_of, none_of = or_default(self.any_of, None), or_default(self.none_of, None)
        return QueryFilter(
            ids=or_default(self.ids, None),
            names=or_default(self.names, None),
            statuses=or_default(self.statuses, None),
            queues=or_default(self.queues, None),
            error_types=or_default(self.error_types, None),
            metadata=[each.condition() for each in or_default(self.metadata, [])],
            created_at=_time_range(self.created_at),
            finished_at=_time_range(self.finished_at),
            updated_at=_time_range(self.updated_at),
            parent_id=or_default(self.parent_id, None),
            is_replayed=or_default(self.is_replayed, None),
            all_of=[each.task_filter() for each in or_default(self.all_of, [])],
            any_of=None if any_of is None else [each.task_filter() for each in any_of],
            none_of=None if none_of is None else none_of.task_filter(),
        )


@strawberry.input(description="The order of a list. Tasks with equal times are ordered by id.")
class TaskOrder:
    """A field and a direction."""

    field: OrderField = strawberry.field(
        default=OrderField.CREATED_AT, description="The time that decides. FINISHED_AT lists finished tasks only."
    )
    direction: OrderDirection = strawberry.field(
        default=OrderDirection.DESC, description="DESC lists the newest task first, ASC the oldest."
    )

    def order(self) -> Order:
        """Convert the input."""
        return Order(self.field, descending=self.direction is OrderDirection.DESC)


def compiled_filter(filter_: TaskFilter | None) -> CompiledFilter:
    """Compile a filter for MongoDB and for records in memory; without a filter every task matches.

    Raises:
        ClientError: the filter has a bad path or value, or is too large.
    """
    try:
        return compile_filter(QueryFilter() if filter_ is None else filter_.task_filter())
    except InvalidValueError as error:
        raise _bad_input(error, "filter") from error


def list_filter(filter_: TaskFilter | None, visibility: Visibility) -> ListFilter:
    """Compile the filter of a live list for its watcher; without a filter every visible task is in the list.

    Raises:
        ClientError: the filter has a bad path or value, is too large, or has a condition on replays.
    """
    try:
        converted = QueryFilter() if filter_ is None else filter_.task_filter()
        list_ = ListFilter(visibility, converted)
        check_live(converted)
    except InvalidValueError as error:
        raise _bad_input(error, "filter") from error
    return list_


def query_of(filter_: TaskFilter | None, order: Order) -> Document:
    """Return the MongoDB query for a list in an order.

    Raises:
        ClientError: the filter has a bad path or value, or is too large.
    """
    query = compiled_filter(filter_).query
    return {"$and": [order.listed(), query]} if order.field is OrderField.FINISHED_AT else query


def check_metadata_path(path: str) -> None:
    """Check the path of a facet.

    Raises:
        ClientError: the path is malformed or too long.
    """
    try:
        check_path(path, ("metadataPath",))
    except InvalidValueError as error:
        raise _bad_input(error) from error


def _bad_input(error: InvalidValueError, *prefix: str) -> ClientError:
    problems = [replace(problem, path=(*prefix, *problem.path)) for problem in error.problems]
    return ClientError(str(MutationRefusedError.for_problems(problems)), BAD_INPUT)


def _time_range(input_: DateTimeRange | None) -> TimeRange | None:
    return input_.time_range() if isinstance(input_, DateTimeRange) else None
