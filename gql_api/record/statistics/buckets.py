"""The buckets of statistics: a document for each minute, kind of task and outcome, which the cells are kept in.

A bucket is counted from the records when its minute is over, and replaced when it is counted again, so that it does not
matter how often, or by how many processes, that is done.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pymongo import IndexModel

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.record.statistics import cells, durations
from gql_api.record.statistics.cells import Counted, Pipeline, Span
from gql_api.record.writes import Filter

STATISTICS = "statistics"
PROGRESS = "statistics_progress"

_CELLS = "cells"
_COUNTED_AT = "counted_at"
_COUNTED_UNTIL = "counted_until"
_CHECKED_UNTIL = "checked_until"
_KEY = (cells.AT, *cells.PROPERTIES, f.STATUS)
_IN_CELL = (cells.KIND, cells.BIN, cells.COUNT, cells.SHORTEST, cells.LONGEST)

INDEXES = [
    IndexModel([(cells.AT, 1)]),
    IndexModel([(f.TENANT, 1), (f.OWNER, 1), (cells.AT, 1)]),  # of a principal that sees the tasks of one owner
]


def count(span: Span, counted_at: datetime) -> Pipeline:
    """Return the pipeline over TOMBSTONES that counts the minutes of a span and stores their buckets.

    The tasks that were deleted come first: one that is deleted meanwhile is then not counted twice. A process that has
    counted earlier and stores its buckets later replaces none.
    """
    counted = Counted(span, {})
    stored = {name: f"$cell.{name}" for name in _IN_CELL}
    newer = {"$gte": [f"$$new.{_COUNTED_AT}", f"${_COUNTED_AT}"]}
    return [
        *of_records(counted, deleted_since=span.since),
        cells.merged({**{name: f"${name}" for name in _KEY}, **{name: f"${name}" for name in _IN_CELL[:2]}}),
        {"$project": {f.ID: 0, "key": f"${f.ID}", "cell": _cell_of_group()}},
        {"$group": {f.ID: {name: f"$key.{name}" for name in _KEY}, _CELLS: {"$push": stored}}},
        {"$replaceWith": {"$mergeObjects": [f"${f.ID}", {f.ID: f"${f.ID}", _CELLS: f"${_CELLS}"}]}},
        {"$set": {_COUNTED_AT: counted_at}},
        {
            "$merge": {
                "into": STATISTICS,
                "whenMatched": [{"$replaceWith": {"$cond": [newer, "$$new", "$$ROOT"]}}],
                "whenNotMatched": "insert",
            }
        },
    ]


def _cell_of_group() -> Document:
    numbers = {name: f"${name}" for name in _IN_CELL[2:]}
    return {**{name: f"${f.ID}.{name}" for name in _IN_CELL[:2]}, **numbers}


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
    """Return the pipeline over STATISTICS that reads the cells of the buckets of a span that match a query."""
    return [
        {"$match": {"$and": [{cells.AT: span.condition()}, query]}},
        {"$unwind": f"${_CELLS}"},
        {"$replaceWith": {"$mergeObjects": ["$$ROOT", f"${_CELLS}"]}},
        {"$unset": [_CELLS, _COUNTED_AT]},
    ]


def of_ended_tasks() -> Document:
    """Return the query that finds ended tasks, in records and in buckets."""
    return {f.STATUS: {"$in": FINAL_NAMES}}


def number_stored(span: Span) -> Pipeline:
    """Return the pipeline over STATISTICS that adds up the creations and ends in the buckets of a span."""
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


OLDEST = [(f.CREATED_AT, 1)]
"""The order in which the oldest task comes first."""


def every_task() -> Document:
    """Return the query of all tasks, in a form for which an index has them in the order of their creation."""
    return {f.STATUS: {"$in": cells.ALL_STATUSES}}


def created_at_of(document: Document | None) -> datetime | None:
    """Read the time of the creation of a task."""
    created_at = None if document is None else document.get(f.CREATED_AT)
    return created_at if isinstance(created_at, datetime) else None


THE_PROGRESS: Document = {f.ID: "progress"}
"""The filter of the document that says how far the minutes are counted."""


def progress_from(document: Document | None) -> tuple[datetime | None, datetime | None]:
    """Read until when the minutes are counted, and until when they were compared with the records again."""
    return (None, None) if document is None else (document.get(_COUNTED_UNTIL), document.get(_CHECKED_UNTIL))


def progressed(*, counted_until: datetime | None = None, checked_until: datetime | None = None) -> Document:
    """Return the update of the progress, which never goes back."""
    until = {_COUNTED_UNTIL: counted_until, _CHECKED_UNTIL: checked_until}
    return {"$max": {name: time for name, time in until.items() if time is not None}}


def progress_since(time: datetime) -> Document:
    """Return the update, an upsert, with which the counting begins at a time, unless it has begun."""
    return {"$setOnInsert": {_COUNTED_UNTIL: time, _CHECKED_UNTIL: time}}
