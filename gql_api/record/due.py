"""The queries and writes of recovery: tasks that are due, expired or lost. Each query has an index of its own.

Recovery changes many tasks by one write. Several processes may try that at the same time: the write leaves a token, by
which a process finds the tasks that it took, and whose messages it has to send.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gql_api.record import claims
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write


@dataclass(frozen=True, slots=True)
class WaitingQueue:
    """A queue at a priority in which tasks wait, and the time at which the first of their messages was sent."""

    name: str
    priority: int
    oldest: datetime


def before(status: Status, time: datetime, names: list[str]) -> Document:
    """Return the filter that finds tasks in a state that were due before a time; see ``fields.DUE_AT``."""
    return {f.STATUS: status, f.DUE_AT: {"$lt": time}, f.NAME: {"$in": names}}


def taken(task_ids: list[str], by: str, status: Status = Status.QUEUED) -> Document:
    """Return the filter that finds the tasks that a process has taken by one of the writes below."""
    return {f.ID: {"$in": task_ids}, f.TAKEN_BY: by, f.STATUS: status}


def take(task_ids: list[str], by: str) -> Write:
    """Queue those of some tasks that are due. Run over many."""
    return _take(claims.enqueue(task_ids), by)


def take_expired(task_ids: list[str], by: str) -> Write:
    """Revoke those of some tasks that were not started in time. Run over many."""
    return _take(claims.expire(task_ids), by)


def take_lost_attempts(task_ids: list[str], by: str, reason: str, max_lost: int) -> Write:
    """Queue those of some tasks whose attempts were lost. Run over many.

    It leaves out tasks that must end instead: cancelled ones, and those that have lost ``max_lost`` workers.
    """
    lost = claims.one_more(f.LOST_WORKERS)
    fence = {
        f.STATUS: Status.STARTED,
        f.CANCEL_REQUESTED_AT: None,
        "$expr": {"$and": [{"$lt": [f"${f.DUE_AT}", NOW]}, {"$lt": [lost, max_lost]}]},
    }
    return _take(claims.requeue(task_ids, fence, reason, lost=claims.Loss.WORKER), by)


def take_lost_messages(task_ids: list[str], by: str, lost: Document) -> Write:
    """Record that the messages of those of some tasks are sent again that a filter still finds. Run over many."""
    # Clients do not see this: the revision stays as it is.
    return _take(({**lost, f.ID: {"$in": task_ids}}, [{"$set": {f.DUE_AT: NOW}}]), by)


def _take(write: Write, by: str) -> Write:
    filter_, [stage] = write
    return filter_, [{"$set": {**stage["$set"], f.TAKEN_BY: by}}]


def expired(now: datetime) -> Document:
    """Return the filter that finds the tasks that were not started in time."""
    return {**claims.waiting(), f.EXPIRES_AT: {"$lte": now}}


def take_leader_lock(name: str, now: datetime, seconds: float) -> Write:
    """Take a lock that one of all processes should have at a time. Run as an upsert.

    A duplicate key error means that another process took it less than ``seconds`` ago.
    """
    return {f.ID: name, f.AT: {"$lte": now - timedelta(seconds=seconds)}}, [{"$set": {f.AT: now}}]


def postpone_leader_lock(name: str, seconds: float) -> Write:
    """Let no process take a lock, which this process has, for so much longer."""
    return {f.ID: name}, [{"$set": {f.AT: {"$add": [f"${f.AT}", round(seconds * 1000)]}}}]


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


def queues_waiting(time: datetime, names: list[str]) -> list[dict[str, Any]]:
    """Return the aggregation over the queues and priorities in which a task has waited since before a time."""
    return [
        {"$match": before(Status.QUEUED, time, names)},
        {
            "$group": {
                f.ID: {f.QUEUE: f"${f.QUEUE}", f.PRIORITY: f"${f.PRIORITY}"},
                f.DUE_AT: {"$min": f"${f.DUE_AT}"},
            }
        },
    ]


def queue_from(group: Document) -> WaitingQueue:
    """Read a row of :func:`queues_waiting`."""
    return WaitingQueue(group[f.ID][f.QUEUE], group[f.ID][f.PRIORITY], group[f.DUE_AT])


def queued_before(time: datetime, queue: WaitingQueue, names: list[str]) -> Document:
    """Return the filter that finds the tasks that have waited in a queue since before a time."""
    # Tasks of other queues may have waited for longer: the index is read from this queue's first task on.
    since_first = {f.DUE_AT: {"$gte": queue.oldest, "$lt": time}}
    filter_ = {**before(Status.QUEUED, time, names), **since_first}
    return {**filter_, f.QUEUE: queue.name, f.PRIORITY: queue.priority}
