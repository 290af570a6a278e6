"""Lists of tasks: their orders, the position of a task in an order, and pages between two positions.

A page begins at a position, ``(time, id)``, never at a number of tasks to skip: page 10,000 costs as much as page 1,
and a list that grows neither repeats nor loses a task.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """A time that tasks are listed by. FINISHED_AT lists finished tasks only."""

    CREATED_AT = f.CREATED_AT
    UPDATED_AT = f.UPDATED_AT
    FINISHED_AT = f.FINISHED_AT


@dataclass(frozen=True, slots=True)
class Order:
    """An order of tasks by a time, and by id where times are equal; the latest first if ``descending``."""

    field: OrderField = OrderField.CREATED_AT
    descending: bool = True

    def sort(self, *, backwards: bool = False) -> list[tuple[str, int]]:
        """Return the sort keys for MongoDB; ``backwards`` reads from the end."""
        direction = -1 if self.descending != backwards else 1
        return [(self.field, direction), (f.ID, direction)]

    def listed(self) -> Document:
        """Return the filter that every list in this order needs."""
        # The indexes begin with the status. A query that names all statuses lets MongoDB merge the range of the index
        # for each, which is in order already, instead of sorting. The index by FINISHED_AT has only tasks with such a
        # time, so MongoDB uses it only for a query that requires one.
        if self.field is OrderField.FINISHED_AT:
            return {f.STATUS: {"$in": FINAL_NAMES}, f.FINISHED_AT: {"$gte": _FIRST_TIME}}
        return {f.STATUS: {"$in": _ALL}}


OLDEST_FIRST = Order(descending=False)


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a task in an order."""

    at: datetime
    task_id: str

    @classmethod
    def of(cls, record: TaskRecord, order: Order) -> Self:
        """Return the position of a task.

        Raises:
            ValueError: the order does not list it.
        """
        at = getattr(record, order.field)
        if at is None:
            raise ValueError(f"task {record.id} has no {order.field}")
        return cls(at, record.id)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page of at most ``limit`` tasks between two positions: the first ones or, if ``backwards``, the last ones."""

    order: Order
    limit: int
    after: Position | None = None
    before: Position | None = None
    backwards: bool = False

    def query(self) -> Document:
        """Return the filter that finds the tasks between the positions."""
        bounds = [self.order.listed()]
        if self.after is not None:
            bounds.append(self._beyond(self.after, "$lt" if self.order.descending else "$gt"))
        if self.before is not None:
            bounds.append(self._beyond(self.before, "$gt" if self.order.descending else "$lt"))
        return {"$and": bounds}

    def sort(self) -> list[tuple[str, int]]:
        """Return the sort keys by which MongoDB finds the tasks of the page first."""
        return self.order.sort(backwards=self.backwards)

    def _beyond(self, position: Position, bound: str) -> Document:
        # The first bound lets MongoDB enter the index right at the position; the rest decides equal times by id.
        return {
            self.order.field: {f"{bound}e": position.at},
            "$or": [{self.order.field: {bound: position.at}}, {f.ID: {bound: position.task_id}}],
        }


def children(
    parent_ids: list[str],
    page: PageRequest,
    projection: Mapping[str, int] | None = None,
    matching: Document | None = None,
) -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that reads the same page of the children of each of some tasks, a child a row.

    It begins at the parents and enters the index of children once for each. ``matching`` is one more filter.
    """
    query = {"$and": [page.query(), matching or {}]}
    # The children of one parent together may exceed the size of a document. MongoDB joins $lookup and $unwind, so that
    # it never makes that document.
    projected = [] if projection is None else [{"$project": projection}]
    below = {
        "from": f.TASKS,
        "localField": f.ID,
        "foreignField": f.PARENT_ID,
        "pipeline": [{"$match": query}, {"$sort": dict(page.sort())}, {"$limit": page.limit}, *projected],
        "as": f.CHILDREN,
    }
    return [
        {"$match": {f.ID: {"$in": parent_ids}}},
        {"$project": {f.ID: 1}},
        {"$lookup": below},
        {"$unwind": f"${f.CHILDREN}"},
    ]


def child_from(document: Document) -> tuple[str, Document]:
    """Read one row of :func:`children`: the parent's id, and the document of the child."""
    return document[f.ID], document[f.CHILDREN]
