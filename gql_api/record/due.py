"""What recovery looks for: tasks that nobody looks after, or whose time has come. All by indexes of their own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gql_api.record import claims
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.writes import Write


def before(status: Status, time: datetime, names: list[str]) -> Document:
    """The tasks of these names in this state that were due before a time; see ``fields.DUE_AT``."""
    return {f.STATUS: status, f.DUE_AT: {"$lt": time}, f.NAME: {"$in": names}}


def take(task_ids: list[str], by: str) -> Write:
    """Let those of some tasks whose time has come wait for a worker, and mark them as taken. Run over many.

    Their messages have to be sent by who took them: several may try at the same time.
    """
    filter_, update = claims.enqueue("")
    update[0]["$set"][f.TAKEN_BY] = by
    return {**filter_, f.ID: {"$in": task_ids}}, update


def taken(task_ids: list[str], by: str) -> Document:
    """The filter that finds those that :func:`take` took."""
    return {f.ID: {"$in": task_ids}, f.TAKEN_BY: by, f.STATUS: Status.QUEUED}


def expired(now: datetime) -> Document:
    """The tasks that were not started in time."""
    return {**claims.waiting(), f.EXPIRES_AT: {"$lte": now}}


def take_leader_lock(what: str, now: datetime, seconds: float) -> Write:
    """Be the one who does something that one of all should do at a time. Run as an upsert.

    A duplicate key error means that another had the turn less than ``seconds`` ago.
    """
    return {f.ID: what, f.AT: {"$lte": now - timedelta(seconds=seconds)}}, [{"$set": {f.AT: now}}]


def queued_before(time: datetime, queue: str, priority: int, names: list[str]) -> Document:
    """The tasks that have waited in a queue since before a time."""
    return {**before(Status.QUEUED, time, names), f.QUEUE: queue, f.PRIORITY: priority}


def queues_waiting(time: datetime, names: list[str]) -> list[dict[str, Any]]:
    """The aggregation that names the queues, by priority, in which a task has waited since before a time."""
    return [
        {"$match": before(Status.QUEUED, time, names)},
        {"$group": {f.ID: {f.QUEUE: f"${f.QUEUE}", f.PRIORITY: f"${f.PRIORITY}"}}},
    ]


def queue_from(group: Document) -> tuple[str, int]:
    """Read a row of :func:`queues_waiting`."""
    return group[f.ID][f.QUEUE], group[f.ID][f.PRIORITY]
