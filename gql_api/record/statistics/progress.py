"""The progress of counting: until when the buckets are counted, checked and rolled up."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.statistics import cells

PROGRESS = "statistics_progress"
THE_PROGRESS: Document = {f.ID: "progress"}
"""The filter of the only document."""


class Step(StrEnum):
    """A step of counting, by the field with the time until which it is done."""

    COUNTED = "counted_until"
    """Minutes are counted from the records."""
    CHECKED = "checked_until"
    """They were compared with the records once more."""
    ROLLED_UP = "rolled_up_until"
    """Their buckets are added up in those of quarters of an hour."""


def done_until(document: Document | None, step: Step) -> datetime | None:
    """Read until when a step is done; None if counting has not begun."""
    return None if document is None else document.get(step)


def done(step: Step, until: datetime) -> Document:
    """Return the update that a step is done until a time. It never goes back."""
    return {"$max": {step: until}}


def begin(time: datetime) -> Document:
    """Return the update, an upsert, with which the counting begins at a time, unless it has begun."""
    return {"$setOnInsert": dict.fromkeys(Step, time)}


OLDEST = [(f.CREATED_AT, 1)]
"""The order in which the oldest task comes first."""


def every_task() -> Document:
    """Return the query of all tasks, in a form for which an index has them in the order of their creation."""
    return {f.STATUS: {"$in": cells.ALL_STATUSES}}


def created_at_of(document: Document | None) -> datetime | None:
    """Read the time of the creation of a task; None without a task, and for one whose record does not fit."""
    created_at = None if document is None else document.get(f.CREATED_AT)
    return created_at if isinstance(created_at, datetime) else None
