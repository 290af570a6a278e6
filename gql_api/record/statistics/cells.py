"""The cells of statistics: how many tasks of one kind were created or ended in a minute, counted from the records.

A cell is a document of the aggregations that count. It has the minute, the properties by which it can be found, under
the names that the record has for them, its kind, and its number. Of the times of ended tasks there is a cell for each
bin of a histogram, with the shortest and the longest time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.reads import Document
from gql_api.record.statistics import durations
from gql_api.record.statistics.histogram import bin_expression

AT = "at"
KIND = "kind"
BIN = "bin"
COUNT = "count"
SHORTEST = "shortest"
LONGEST = "longest"
VALUE = "value"

# The kinds of cells. Those of ended tasks are their statuses.
CREATED = "CREATED"
QUEUED = "queued"
RAN = "ran"

# The properties of a task by which its cells are found.
PROPERTIES = (f.TENANT, f.OWNER, f.NAME, f.QUEUE)

ALL_STATUSES = sorted(Status)
_QUEUED_BIN, _RAN_BIN = "queued_bin", "ran_bin"
_TIMES = ((QUEUED, _QUEUED_BIN, durations.QUEUED_MS), (RAN, _RAN_BIN, durations.RAN_MS))

Pipeline = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, from ``since`` on and before ``until``."""

    since: datetime
    until: datetime

    def condition(self) -> Document:
        """Return the condition that a time lies in the span."""
        return {"$gte": self.since, "$lt": self.until}


@dataclass(frozen=True, slots=True)
class Counted:
    """The records that are counted.

    Attributes:
        span: when they were created or have ended.
        query: a filter of them.
        value: the name of one more property to group by, if any.
        limit: the number of records that are read at most; None for all.
    """

    span: Span
    query: Document
    value: str | None = None
    limit: int | None = None

    def match(self, condition: Document) -> Pipeline:
        """Return the stages that find the records that meet a condition."""
        matching: Pipeline = [{"$match": {"$and": [condition, self.query]} if self.query else condition}]
        return matching if self.limit is None else [*matching, {"$limit": self.limit}]

    def key(self, at: str) -> dict[str, Any]:
        """Return the properties by which records with a time are counted together."""
        minute = {"$dateTrunc": {"date": f"${at}", "unit": "minute"}}
        value = {} if self.value is None else {VALUE: f"${self.value}"}
        return {AT: minute, **{name: f"${name}" for name in PROPERTIES}, **value}


def ranges(span: Span) -> dict[str, Document]:
    """Return the query of the tasks that were created in a span, and of those that ended in it, by the field."""
    # The indexes begin with the status.
    return {
        f.CREATED_AT: {f.STATUS: {"$in": ALL_STATUSES}, f.CREATED_AT: span.condition()},
        f.FINISHED_AT: {f.STATUS: {"$in": FINAL_NAMES}, f.FINISHED_AT: span.condition()},
    }


def of_created(counted: Counted) -> Pipeline:
    """Return the pipeline over TASKS that makes the cells of created tasks."""
    return [*counted.match(ranges(counted.span)[f.CREATED_AT]), *_created(counted)]


def of_ended(counted: Counted) -> Pipeline:
    """Return the pipeline over TASKS that makes the cells of ended tasks."""
    end = {**counted.key(f.FINISHED_AT), f.STATUS: f"${f.STATUS}"}
    return [
        *counted.match(ranges(counted.span)[f.FINISHED_AT]),
        {"$project": {f.ID: 0, **end, durations.QUEUED_MS: durations.QUEUED, durations.RAN_MS: durations.RAN}},
        *_ended(counted),
    ]


def of_deleted_created(counted: Counted, deleted_since: datetime) -> Pipeline:
    """Return the pipeline over TOMBSTONES that makes the cells of created tasks that were deleted since a time."""
    condition = {f.DELETED_AT: {"$gte": deleted_since}, f.CREATED_AT: counted.span.condition()}
    return [*counted.match(condition), *_WITHOUT_RECORD, *_created(counted)]


def of_deleted_ended(counted: Counted, deleted_since: datetime) -> Pipeline:
    """Return the pipeline over TOMBSTONES that makes the cells of ended tasks that were deleted since a time."""
    at, status = f"{durations.ENDED}.{f.AT}", f"{durations.ENDED}.{f.STATUS}"
    times = {name: f"${durations.ENDED}.{name}" for name in (durations.QUEUED_MS, durations.RAN_MS)}
    return [
        {"$match": {f.DELETED_AT: {"$gte": deleted_since}, at: counted.span.condition()}},
        *_WITHOUT_RECORD,
        {"$project": {f.ID: 0, **counted.key(at), f.STATUS: f"${status}", **times}},
        *([{"$match": counted.query}] if counted.query else []),
        *_ended(counted),
    ]


# The tombstone is stored before the record is deleted.
_WITHOUT_RECORD: Pipeline = [
    {"$lookup": {"from": f.TASKS, "localField": f.ID, "foreignField": f.ID, "as": "record", "pipeline": [
        {"$project": {f.ID: 1}},
    ]}},
    {"$match": {"record": []}},
]  # fmt: skip


def _created(counted: Counted) -> Pipeline:
    return [
        {"$group": {f.ID: counted.key(f.CREATED_AT), COUNT: {"$sum": 1}}},
        {"$replaceWith": {"$mergeObjects": [f"${f.ID}", {KIND: CREATED, COUNT: f"${COUNT}"}]}},
    ]


def _ended(counted: Counted) -> Pipeline:
    """Return the stages that make cells of rows with the properties of ended tasks, their minutes and times."""
    names = [AT, *PROPERTIES, f.STATUS, *([] if counted.value is None else [VALUE])]
    own = {name: f"${name}" for name in names}
    bins = {bin_: bin_expression(f"${milliseconds}") for _, bin_, milliseconds in _TIMES}
    extremes: dict[str, Any] = {}
    for kind, _, milliseconds in _TIMES:
        extremes |= {f"{kind}_{SHORTEST}": {"$min": f"${milliseconds}"}}
        extremes |= {f"{kind}_{LONGEST}": {"$max": f"${milliseconds}"}}
    row = {name: f"${f.ID}.{name}" for name in names}
    cells = [_cell(f"${f.ID}.{f.STATUS}"), *(_cell_of_time(kind, bin_) for kind, bin_, _ in _TIMES)]
    return [
        {"$group": {f.ID: {**own, **bins}, COUNT: {"$sum": 1}, **extremes}},
        {"$project": {f.ID: 0, "row": row, "cells": cells}},
        {"$unwind": "$cells"},
        {"$match": {f"cells.{COUNT}": {"$gt": 0}}},
        merged({"row": "$row", KIND: f"$cells.{KIND}", BIN: f"$cells.{BIN}"}, "cells."),
        {
            "$replaceWith": {
                "$mergeObjects": [f"${f.ID}.row", {KIND: f"${f.ID}.{KIND}", BIN: f"${f.ID}.{BIN}"}, _NUMBERS]
            }
        },
    ]


_NUMBERS = {name: f"${name}" for name in (COUNT, SHORTEST, LONGEST)}


def merged(key: Any, prefix: str = "") -> dict[str, Any]:
    """Return the stage that makes one cell of all with the same key; ``prefix`` leads to their fields."""
    numbers = {COUNT: "$sum", SHORTEST: "$min", LONGEST: "$max"}
    return {"$group": {f.ID: key, **{name: {how: f"${prefix}{name}"} for name, how in numbers.items()}}}


def _cell(kind: Any) -> dict[str, Any]:
    return {KIND: kind, COUNT: f"${COUNT}"}


def _cell_of_time(kind: str, bin_: str) -> Mapping[str, Any]:
    """Return the cell of a bin; its number is 0 for tasks without that time."""
    number = {"$cond": [{"$eq": [{"$type": f"${f.ID}.{bin_}"}, "int"]}, f"${COUNT}", 0]}
    extremes = {SHORTEST: f"${kind}_{SHORTEST}", LONGEST: f"${kind}_{LONGEST}"}
    return {KIND: kind, BIN: f"${f.ID}.{bin_}", COUNT: number, **extremes}
