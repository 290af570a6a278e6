"""The depths of queues, counted in the records and not in the broker, which may be away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.registry import workers

_DEPTH = "depth"
_OLDEST = "oldest"

# The time since which a task has waited: the first of the QUEUED entries that its history ends with. A task that was
# rescheduled in its queue has several, and has kept its place; updated_at also rises when the metadata changes. A later
# step of a chain was not in its queue before it was sent.
_QUEUED_AT = {
    "$reduce": {
        "input": f"${f.HISTORY}",
        "initialValue": None,
        "in": {
            "$cond": [
                {
                    "$and": [
                        {"$eq": [f"$$this.{f.STATUS}", Status.QUEUED]},
                        {"$ne": [f"$$this.{f.MESSAGE}", f.WAITS_FOR_STEP]},
                    ]
                },
                {"$ifNull": ["$$value", f"$$this.{f.AT}"]},
                None,
            ]
        },
    }
}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with the number of its waiting tasks and the time since which the oldest has waited."""

    name: str
    depth: int
    oldest_queued_at: datetime | None


def depths() -> list[dict[str, Any]]:
    """Return the aggregation over TASKS that reads the queues by name.

    They are the queues in which tasks wait, those that live workers serve, and those of announced tasks.
    """
    return [
        # A later step of a chain is due when it is sent. One record of another type would fail the aggregation, or have
        # no name to show.
        {
            "$match": {
                f.STATUS: Status.QUEUED,
                f.DUE_AT: {"$exists": True},
                f.QUEUE: {"$type": "string"},
                f.HISTORY: {"$type": "array"},
            }
        },
        {"$group": {f.ID: f"${f.QUEUE}", _DEPTH: {"$sum": 1}, _OLDEST: {"$min": _QUEUED_AT}}},
        {"$unionWith": {"coll": f.WORKERS, "pipeline": workers.queues_served()}},
        {"$unionWith": {"coll": f.DEFINITIONS, "pipeline": [{"$project": {f.ID: f"${f.QUEUE}"}}]}},
        {"$group": {f.ID: f"${f.ID}", _DEPTH: {"$sum": f"${_DEPTH}"}, _OLDEST: {"$min": f"${_OLDEST}"}}},
        {"$sort": {f.ID: 1}},
    ]


def queue_from(document: Document) -> Queue:
    """Read one row of :func:`depths`."""
    return Queue(document[f.ID], document[_DEPTH], document[_OLDEST])
