"""The buckets of statistics: a document for each minute, kind of task and outcome, which the cells are kept in.

A bucket is counted from the records when its minute is over, and replaced when it is counted again, so that it does not
matter how often, or by how many processes, that is done. Those of minutes are added up in buckets of a quarter of an
hour, for questions about days: in every time zone, days begin with a quarter of an hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pymongo import IndexModel

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.record.statistics import cells, durations
from gql_api.record.statistics.cells import Counted, Pipeline, Span
from gql_api.record.writes import Filter

MINUTES = "statistics"
QUARTERS = "statistics_quarter_hours"
QUARTER = timedelta(minutes=15)

_CELLS = "cells"
_COUNTED_AT = "counted_at"
_KEY = (cells.AT, *cells.PROPERTIES, f.STATUS)
_ID_OF_CELL = (cells.KIND, cells.BIN)
_NUMBERS = (cells.COUNT, cells.SHORTEST, cells.LONGEST)

INDEXES = [
    IndexModel([(cells.AT, 1)]),
    IndexModel([(f.TENANT, 1), (f.OWNER, 1), (cells.AT, 1)]),  # of a principal that sees the tasks of one owner
]
"""The indexes of both collections."""


def count(span: Span, counted_at: datetime) -> Pipeline:
    """Return the pipeline over TOMBSTONES that counts the minutes of a span and stores their buckets.

    The tasks that were deleted come first: one that is deleted meanwhile is then not counted twice.
    """
    cells_ = of_records(Counted(span, {}), deleted_since=span.since)
    return [*cells_, *_stored(MINUTES, f"${cells.AT}", counted_at)]


def roll_up(span: Span, counted_at: datetime) -> Pipeline:
    """Return the pipeline over MINUTES that makes the buckets of the quarters of an hour of a span."""
    quarter = {"$dateTrunc": {"date": f"${cells.AT}", "unit": "minute", "binSize": QUARTER.seconds // 60}}
    return [*stored_cells(span, {}), *_stored(QUARTERS, quarter, counted_at)]


def _stored(collection: str, at: Any, counted_at: datetime) -> Pipeline:
    """Return the stages that store cells in buckets.

    They replace no bucket of a process that has begun to count later, and has stored its buckets earlier.
    """
    key = {name: f"${name}" for name in (*_KEY, *_ID_OF_CELL)} | {cells.AT: at}
    newer = {"$gte": [f"$$new.{_COUNTED_AT}", f"${_COUNTED_AT}"]}
    cell = {name: f"${f.ID}.{name}" for name in _ID_OF_CELL} | {name: f"${name}" for name in _NUMBERS}
    return [
        cells.merged(key),
        {"$group": {f.ID: {name: f"${f.ID}.{name}" for name in _KEY}, _CELLS: {"$push": cell}}},
        {"$replaceWith": {"$mergeObjects": [f"${f.ID}", {f.ID: f"${f.ID}", _CELLS: f"${_CELLS}"}]}},
        {"$set": {_COUNTED_AT: counted_at}},
        {
            "$merge": {
                "into": collection,
                "whenMatched": [{"$replaceWith": {"$cond": [newer, "$$new", "$$ROOT"]}}],
                "whenNotMatched": "insert",
            }
        },
    ]


def of_records(counted: Counted, deleted_since: datetime, *, created: bool = True) -> Pipeline:
    """Return the pipeline over TOMBSTONES that makes the cells of records, and of those deleted since a time."""
    others = [(f.TASKS, cells.of_ended(counted))]
    if created:
        deleted = (f.TOMBSTONES, cells.of_deleted_created(counted, deleted_since))
        others = [deleted, *others, (f.TASKS, cells.of_created(counted))]
    return [*cells.of_deleted_ended(counted, deleted_since), *(and_(name, each) for name, each in others)]


def and_(collection: str, pipeline: Pipeline) -> dict[str, Any]:
    """Return the stage that adds the cells that a pipeline makes of another collection."""
    return {"$unionWith": {"coll": collection, "pipeline": pipeline}}


def outdated(span: Span, counted_at: datetime) -> Filter:
    """Return the filter that finds the buckets of a span that have no tasks any more, since they were counted again."""
    return {cells.AT: span.condition(), _COUNTED_AT: {"$lt": counted_at}}


def older_than(time: datetime) -> Filter:
    """Return the filter that finds the buckets before a time."""
    return {cells.AT: {"$lt": time}}


def stored_cells(span: Span, query: Document) -> Pipeline:
    """Return the pipeline over buckets that reads the cells of those of a span that match a query."""
    properties = dict.fromkeys(_KEY, 1)
    cell = {name: f"${_CELLS}.{name}" for name in (*_ID_OF_CELL, *_NUMBERS)}
    return [
        {"$match": {"$and": [{cells.AT: span.condition()}, query]}},
        {"$unwind": f"${_CELLS}"},
        {"$project": {f.ID: 0, **properties, **cell}},
    ]


def of_ended_tasks() -> Document:
    """Return the query that finds ended tasks, in records and in buckets."""
    return {f.STATUS: {"$in": FINAL_NAMES}}


def number_stored(span: Span) -> Pipeline:
    """Return the pipeline over MINUTES that adds up the creations and ends in the buckets of a span."""
    return [
        *stored_cells(span, {}),
        {"$match": {cells.KIND: {"$nin": [cells.QUEUED, cells.RAN]}}},
        {"$group": {f.ID: None, cells.COUNT: {"$sum": f"${cells.COUNT}"}}},
    ]


def number_deleted(span: Span) -> list[Document]:
    """Return the queries over TOMBSTONES that find the creations and the ends of a span among deleted tasks."""
    ended_at = f"{durations.ENDED}.{f.AT}"
    return [{f.DELETED_AT: {"$gte": span.since}, name: span.condition()} for name in (f.CREATED_AT, ended_at)]


def number_from(rows: list[Document]) -> int:
    """Read the row of :func:`number_stored`."""
    return sum(row[cells.COUNT] for row in rows)
