"""Facets: the number of tasks for each value of a field, or for each value at a path of their metadata.

A task counts for a value at a path exactly when the filter ``eq`` with that value finds it: each element of an array
counts once for a task, and a task without a value at the path counts for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.values import paths

_COUNT = "count"
_VALUES = "values"


class FacetField(StrEnum):
    """A field that tasks can be counted by."""

    STATUS = f.STATUS
    NAME = f.NAME
    QUEUE = f.QUEUE
    WORKER = f.WORKER
    METADATA = f.METADATA
    ERROR_TYPE = f.ERROR_TYPE


@dataclass(frozen=True, slots=True)
class Bucket:
    """A value and the number of tasks that have it."""

    value: Any
    count: int


def statuses_in(query: Document) -> list[Status] | None:
    """Return the statuses of a query without any other condition: the index counts them, each by itself."""
    if not set(query) <= {f.STATUS}:
        return None
    statuses: list[Status] = query[f.STATUS]["$in"] if query else sorted(Status)
    return statuses


def of_status(status: Status) -> Document:
    """Return the filter that finds the tasks in one status."""
    return {f.STATUS: status}


def by_field(query: Document, field: FacetField, first: int) -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that counts by a field; tasks without a value are left out."""
    has_value = {f.ID: {"$ne": None}}
    if field is FacetField.ERROR_TYPE:
        # MongoDB uses the index of the tasks with an error only for a query that requires one.
        query = {"$and": [query, {f.ERROR_TYPE: {"$gte": ""}}]}
    return [{"$match": query}, _counted(f"${field}"), {"$match": has_value}, *_largest(first)]


def by_parent(parent_ids: list[str], matching: Document) -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that counts the matching children of some tasks, a row for each with any."""
    return [{"$match": {"$and": [{f.PARENT_ID: {"$in": parent_ids}}, matching]}}, _counted(f"${f.PARENT_ID}")]


def by_metadata(query: Document, path: str, first: int) -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that counts by the values at a path of the metadata.

    Raises:
        InvalidValueError: it is not a path.
    """
    keys = [values.escape_key(key) for key in paths.parse(path)]
    return [
        {"$match": query},
        {"$project": {f.ID: 0, _VALUES: _value_or_values(keys)}},
        {"$unwind": f"${_VALUES}"},
        _counted(f"${_VALUES}"),
        {"$match": {f.ID: {"$not": {"$type": ["object", "array"]}}}},
        *_largest(first),
    ]


def bucket_from(document: Document) -> Bucket:
    """Read one row."""
    return Bucket(values.load_finite(document[f.ID]), document[_COUNT])


def _counted(by: str) -> dict[str, Any]:
    return {"$group": {f.ID: by, _COUNT: {"$sum": 1}}}


def _largest(first: int) -> list[dict[str, Any]]:
    return [{"$sort": {_COUNT: -1, f.ID: 1}}, {"$limit": first}]


def _value_or_values(keys: list[str]) -> Any:
    """Return the expression for the value at a path without arrays, and for an array of all values otherwise."""
    # MongoDB's own paths are fast, but do not take indexes of arrays, and mix up the values of arrays within arrays. In
    # both cases the expression goes key by key, as the filter does.
    found = "$" + ".".join([f.METADATA, *keys])
    if any(paths.index(key) is not None for key in keys):
        prefixes = ["$" + ".".join([f.METADATA, *keys[:length]]) for length in range(1, len(keys) + 1)]
        has_array: dict[str, Any] = {"$or": [{"$isArray": prefix} for prefix in prefixes]}
        several = _all_values(keys)
    else:
        nested = {"$anyElementTrue": [{"$map": {"input": found, "in": {"$isArray": "$$this"}}}]}
        has_array = {"$isArray": found}
        several = {"$cond": [nested, _all_values(keys), {"$setUnion": [found]}]}
    single: Any = {"$cond": [{"$eq": [found, None]}, [None], found]}  # taking arrays apart, MongoDB drops null
    return {"$cond": [has_array, several, single]}


def _all_values(keys: list[str]) -> Any:
    """Return the expression for the values that a filter reaches; it goes like ``gql_api.query.compile._reached``."""
    reached = reduce(_one_step, keys, [f"${f.METADATA}"])
    return {"$setUnion": [_each_of(reached, {"$cond": [{"$isArray": "$$this"}, "$$this", ["$$this"]]})]}


def _one_step(reached: Any, key: str) -> Any:
    index = paths.index(key)
    element = [] if index is None else {"$slice": ["$$this", index, 1]}
    inside = {
        "$map": {
            "input": {"$filter": {"input": "$$this", "cond": _has_key("$$this", key)}},
            "in": {"$getField": {"field": key, "input": "$$this"}},
        }
    }
    of_object = {"$cond": [_has_key("$$this", key), [{"$getField": {"field": key, "input": "$$this"}}], []]}
    of_array = {"$concatArrays": [element, inside]}
    return _each_of(reached, {"$cond": [{"$isArray": "$$this"}, of_array, of_object]})


def _has_key(value: Any, key: str) -> Any:
    there = {"$ne": [{"$type": {"$getField": {"field": key, "input": value}}}, "missing"]}
    return {"$and": [{"$eq": [{"$type": value}, "object"]}, there]}


def _each_of(reached: Any, found: Any) -> Any:
    """Return the expression that concatenates the values found in each reached value, ``$$this``."""
    each = {"$map": {"input": reached, "in": found}}
    return {"$reduce": {"input": each, "initialValue": [], "in": {"$concatArrays": ["$$value", "$$this"]}}}
