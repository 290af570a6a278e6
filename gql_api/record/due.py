"""The queries and writes of recovery: tasks that are due, expired or lost. Each query has an index of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gql_api.record import claims
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write


def before(status: Status, time: datetime, names: list[str]) -> Document:
    """Return the filter that finds tasks in a state that were due before a time; see ``fields.DUE_AT``."""
    return {f.STATUS: status, f.DUE_AT: {"$lt": time}, f.NAME: {"$in": names}}


def take(task_ids: list[str], by: str) -> Write:
    """Queue those of some tasks that are due, and record which process took them. Run over many.

    Several processes may try at the same time; the one that took a task has to send its message.
    """
    return claims.enqueue(task_ids, taken_by=by)


def taken(task_ids: list[str], by: str) -> Document:
    """Return the filter that finds the tasks that :func:`take` took."""
    return {f.ID: {"$in": task_ids}, f.TAKEN_BY: by, f.STATUS: Status.QUEUED}


def expired(now: datetime) -> Document:
    """Return the filter that finds the tasks that were not started in time."""
    return {**claims.waiting(), f.EXPIRES_AT: {"$lte": now}}


def take_leader_lock(name: str, now: datetime, seconds: float) -> Write:
    """Take a lock that one of all processes should have at a time. Run as an upsert.

    A duplicate key error means that another process took it less than ``seconds`` ago.
    """
    return {f.ID: name, f.AT: {"$lte": now - timedelta(seconds=seconds)}}, [{"$set": {f.AT: now}}]


def sent_again(task_ids: list[str]) -> Write:
    """Record that the messages of some tasks, if they are queued, are sent again. Run over many."""
    filter_ = {f.ID: {"$in": task_ids}, f.STATUS: Status.QUEUED, f.DUE_AT: {"$exists": True}}
    return filter_, [{"$set": {f.DUE_AT: NOW}}]


def sent_again_among(task_ids: list[str]) -> tuple[Document, dict[str, int]]:
    """Return the query, with its projection, for what :func:`is_over` and :func:`sent_at_from` read."""
    return {f.ID: {"$in": task_ids}}, {f.STATUS: 1, f.DUE_AT: 1}


def is_over(document: Document) -> bool:
    """Return whether a task has ended."""
    return Status(document[f.STATUS]).is_final


def sent_at_from(document: Document) -> datetime | None:
    """Return the time at which the message of a queued task was last sent; None if recovery does not go by it."""
    return document.get(f.DUE_AT) if document[f.STATUS] == Status.QUEUED else None


def queued_before(time: datetime, queue: str, priority: int, names: list[str]) -> Document:
    """Return the filter that finds the tasks that have waited in a queue since before a time."""
    return {**before(Status.QUEUED, time, names), f.QUEUE: queue, f.PRIORITY: priority}


def queues_waiting(time: datetime, names: list[str]) -> list[dict[str, Any]]:
    """Return the aggregation over the queues and priorities in which a task has waited since before a time."""
    return [
        {"$match": before(Status.QUEUED, time, names)},
        {"$group": {f.ID: {f.QUEUE: f"${f.QUEUE}", f.PRIORITY: f"${f.PRIORITY}"}}},
    ]


def queue_from(group: Document) -> tuple[str, int]:
    """Read a row of :func:`queues_waiting`."""
    return group[f.ID][f.QUEUE], group[f.ID][f.PRIORITY]
