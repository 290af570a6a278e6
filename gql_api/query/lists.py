"""Lists of tasks: their orders, the place of a task in one, and the stretch between two places.

Pages begin at a place, ``(time, id)``, never at a number of tasks to skip: page 10,000 costs what page 1 costs, and a
list that grows neither repeats nor loses a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.reads import Document, TaskRecord

_ALL = sorted(Status)
_FIRST_TIME = datetime.min.replace(tzinfo=UTC)


class OrderField(StrEnum):
    """The times that tasks are listed by. FINISHED_AT lists finished tasks only."""

    CREATED_AT = f.CREATED_AT
    UPDATED_AT = f.UPDATED_AT
    FINISHED_AT = f.FINISHED_AT


@dataclass(frozen=True, slots=True)
class Order:
    """By a time, and by id where times are equal; the latest first when it is ``descending``."""

    field: OrderField = OrderField.CREATED_AT
    descending: bool = True

    def sort(self, *, backwards: bool = False) -> list[tuple[str, int]]:
        """What MongoDB is to sort by; ``backwards`` to read from the end."""
        direction = -1 if self.descending != backwards else 1
        return [(self.field, direction), (f.ID, direction)]

    def listed(self) -> Document:
        """The filter that every list in this order has.

        The indexes begin with the status. That all of those that can occur are named lets MongoDB merge their stretches
        of the index, each in order already, where it would have to sort otherwise. The index by FINISHED_AT has only
        tasks with such a time: MongoDB uses it for a query that asks for one.
        """
        if self.field is OrderField.FINISHED_AT:
            return {f.STATUS: {"$in": FINAL_NAMES}, f.FINISHED_AT: {"$gte": _FIRST_TIME}}
        return {f.STATUS: {"$in": _ALL}}


OLDEST_FIRST = Order(descending=False)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a task stands in an order."""

    at: datetime
    task_id: str

    @classmethod
    def of(cls, record: TaskRecord, order: Order) -> Self:
        """The place of a task.

        Raises:
            ValueError: the order does not list it.
        """
        at = getattr(record, order.field)
        if at is None:
            raise ValueError(f"task {record.id} has no {order.field}")
        return cls(at, record.id)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most ``limit`` tasks between two places of an order: the first ones, or, ``backwards``, the last ones."""

    order: Order
    limit: int
    after: Position | None = None
    before: Position | None = None
    backwards: bool = False

    def query(self) -> Document:
        """The filter that finds what is between the places."""
        bounds = [self.order.listed()]
        if self.after is not None:
            bounds.append(self._beyond(self.after, "$lt" if self.order.descending else "$gt"))
        if self.before is not None:
            bounds.append(self._beyond(self.before, "$gt" if self.order.descending else "$lt"))
        return {"$and": bounds}

    def sort(self) -> list[tuple[str, int]]:
        """The order in which what is found has to be read, until there are enough."""
        return self.order.sort(backwards=self.backwards)

    def _beyond(self, place: Position, bound: str) -> Document:
        # The first bound lets MongoDB enter the index right at the place; the rest settles equal times by id.
        return {
            self.order.field: {f"{bound}e": place.at},
            "$or": [{self.order.field: {bound: place.at}}, {f.ID: {bound: place.task_id}}],
        }


def children(parent_ids: list[str], stretch: PageRequest) -> list[dict[str, Any]]:
    """The aggregation over TASKS that reads the same stretch of the children of each of some tasks, a child a row.

    It begins at the parents, and enters the index of children once for each. All children of one parent together may
    be larger than a document can be; MongoDB unwinds them as it finds them.
    """
    below = {
        "from": f.TASKS,
        "localField": f.ID,
        "foreignField": f.PARENT_ID,
        "pipeline": [{"$match": stretch.query()}, {"$sort": dict(stretch.sort())}, {"$limit": stretch.limit}],
        "as": f.CHILDREN,
    }
    return [
        {"$match": {f.ID: {"$in": parent_ids}}},
        {"$project": {f.ID: 1}},
        {"$lookup": below},
        {"$unwind": f"${f.CHILDREN}"},
    ]


def child_from(document: Document) -> tuple[str, TaskRecord]:
    """Read one row of :func:`children`: the parent's id, and the child."""
    return document[f.ID], TaskRecord(document[f.CHILDREN])
