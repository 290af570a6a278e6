"""The indexes for lists by metadata: conditions that the index of metadata answers alone, and walks of a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gql_api.query.lists import OrderField, PageRequest
from gql_api.record import fields as f
from gql_api.record.reads import Document

INDEX = [(f"{f.METADATA}.$**", 1)]
"""The key of the index of metadata."""

_BELOW = f"{f.METADATA}."
_INDEXED = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte", "$regex", "$exists"})
_MAX_ANCHORS = 3
# With a condition on one of these, MongoDB has an index that finds few tasks.
_SELECTIVE = frozenset({f.ID, f.PARENT_ID})


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk through a list by an index.

    Attributes:
        index: the key of the index.
        range: the query of the tasks that the walk may have to read, which the index answers alone; None for all tasks.
        is_in_order: whether the index has these tasks in the order of the list.
    """

    index: list[tuple[str, int]]
    range: Document | None
    is_in_order: bool


def anchors(query: Document) -> list[Document]:
    """Return queries, each of which finds all tasks that a query finds, and others.

    There are none for a query with ids or a parent, which finds few tasks by another index.
    """
    conditions = [*_conjuncts(query)]
    if any(name in _SELECTIVE for name, _ in conditions):
        return []
    return [anchor for name, value in conditions if (anchor := _anchor(name, value)) is not None][:_MAX_ANCHORS]


def walk_of(query: Document, request: PageRequest) -> Walk:
    """Return the walk through the list of a query.

    The indexes of the tasks of an owner, and of a tenant, are by the time of creation, whatever the status.
    """
    order, conditions = request.order, [*_conjuncts(query)]
    names = {name for name, _ in conditions}
    if f.TENANT not in names:
        index, is_in_order, listed = (
            [(f.STATUS, 1), (order.field, -1), (f.ID, -1)],
            f.OWNER not in names,
            [order.listed()],
        )
    else:
        index = [(f.TENANT, 1), *([(f.OWNER, 1)] if f.OWNER in names else []), *f.NEWEST_FIRST]
        is_in_order, listed = f.STATUS not in names and order.field is OrderField.CREATED_AT, []
    covered = {name for name, _ in index}
    own = [{name: value} for name, value in conditions if name in covered]
    return Walk(index, {"$and": [*listed, *own]} if own else None, is_in_order)


def _conjuncts(query: Document) -> Iterator[tuple[str, Any]]:
    for name, value in query.items():
        if name == "$and":
            for each in value:
                yield from _conjuncts(each)
        else:
            yield name, value


def _anchor(name: str, value: Any) -> Document | None:
    if name == "$or":
        found = [anchors(each)[:1] for each in value]
        return {"$or": [anchor for branch in found for anchor in branch]} if found and all(found) else None
    if name.startswith(_BELOW) and value.keys() <= _INDEXED:
        return {name: value}
    return None
