"""The queries and writes of recovery: tasks that are due, expired or lost. Each query has an index of its own.

Recovery changes many tasks by one write. Several processes may try that at the same time: the write leaves a token, by
which a process finds the tasks that it took, and whose messages it has to send.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import MaxKey

from gql_api.record import claims, control
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.fitness import rules
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, REMOVE, Write, change, from_now, literal

_OF_QUEUES = rules.of(frozenset({f.QUEUE, f.PRIORITY}))
# The due time of a waiting task whose message has left its queue without a claim: no time comes after it.
WITH_STOCK_WORKER = datetime(3000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WaitingQueue:
    """A queue at a priority in which tasks wait, and the time at which the first of their messages was sent."""

    name: str
    priority: int
    oldest: datetime


def before(status: Status, time: datetime, names: list[str], since: datetime | None = None) -> Document:
    """Return the filter that finds tasks in a state that were due before a time; see ``fields.DUE_AT``."""
    between = {"$lt": time} if since is None else {"$gte": since, "$lt": time}
    return {f.STATUS: status, f.DUE_AT: between, f.NAME: {"$in": names}}


def soon(since: datetime, until: datetime, names: list[str]) -> Document:
    """Return the filter that finds tasks that wait for their time, if that lies between two times."""
    return {
        f.STATUS: {"$in": [Status.SCHEDULED, Status.RETRY]},
        f.DUE_AT: {"$gte": since, "$lt": until},
        f.NAME: {"$in": names},
    }


DUE_AT_ONLY = {f.DUE_AT: 1}
BY_DUE_AT = [(f.DUE_AT, 1)]


def due_at_from(document: Document) -> datetime:
    """Read the due time of a task found with :data:`DUE_AT_ONLY`."""
    due_at: datetime = document[f.DUE_AT]
    return due_at


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


def unsettled(now: datetime, names: list[str], others_since: datetime) -> Document:
    """Return the filter that finds the revoked tasks of some functions that something follows.

    It finds those of other functions too if they have been due since ``others_since``.
    """
    of_names = {"$or": [{f.NAME: {"$in": names}}, {f.DUE_AT: {"$lt": others_since}}]}
    return {f.STATUS: Status.REVOKED, f.DUE_AT: {"$lt": now}, **of_names}


def take_revoked(task_ids: list[str], by: str, seconds: float) -> Write:
    """Take those of some revoked tasks that something follows, for some time. Run over many."""
    fence = {f.STATUS: Status.REVOKED, f.DUE_AT: {"$exists": True}, "$expr": {"$lte": [f"${f.DUE_AT}", NOW]}}
    return _take(({f.ID: {"$in": task_ids}, **fence}, [{"$set": {f.DUE_AT: from_now(seconds)}}]), by)


def settled(task_id: str) -> Write:
    """Record that what follows a revoked task has been ended."""
    return {f.ID: task_id, f.STATUS: Status.REVOKED}, [
        {"$unset": [f.DUE_AT, f.MESSAGE_PARTS, f.WAITS_FOR, f.WAITS_KIND]}
    ]


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


def unsent(write: Write) -> Write:
    """Add to a write, after which a message of its task is sent, that the message is not sent yet."""
    filter_, update = write
    return filter_, [*update, {"$set": {f.UNSENT: True}}]


def sent(task_ids: list[str], attempts: int) -> Write:
    """Record that the broker has the messages of some tasks, which follow so many attempts. Run over many.

    The message of a retry is not sent again when the time comes that was kept in case it would not be sent.
    """
    due_at = {"$cond": [{"$eq": [f"${f.STATUS}", Status.RETRY]}, literal(WITH_STOCK_WORKER), f"${f.DUE_AT}"]}
    filter_ = {f.ID: {"$in": task_ids}, f.ATTEMPTS: attempts, f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}}
    return filter_, [{"$set": {f.DUE_AT: due_at, f.UNSENT: REMOVE}}]


def only_unsent(filter_: Document) -> Document:
    """Return the filter that finds the tasks of another one whose messages have perhaps not been sent."""
    return {**filter_, f.UNSENT: True}


def leave_to_stock_workers(filter_: Document) -> Write:
    """Take queued tasks that a filter finds away from recovery, unless their messages were not sent. Run over many."""
    return {**filter_, f.UNSENT: None}, [{"$set": {f.DUE_AT: literal(WITH_STOCK_WORKER)}}]


def with_stock_workers(after: str) -> Document:
    """Return the filter that finds the tasks that are left to stock workers, by their ids."""
    return {
        f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]},
        f.DUE_AT: WITH_STOCK_WORKER,
        f.ID: {"$gt": after},
    }


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


def keys_waiting(after: Document | None, number: int) -> dict[str, Any]:
    """Return the arguments of ``find`` for so many keys of queued tasks, in the order of ``fields.WAITING_KEYS``.

    They begin behind all keys with the queue, the priority and the name of another one. It fails without the index.
    """
    # Not by ``$gt``, which finds values of the same type only: records of other programs may have any.
    behind = None if after is None else {**after, f.DUE_AT: MaxKey()}
    return {
        "filter": {f.STATUS: Status.QUEUED, f.DUE_AT: {"$exists": True}},
        "hint": f.WAITING_KEYS,
        "min": behind,
        "return_key": True,
        "limit": number,
    }


def head_from(key: Document) -> tuple[Document, Any, Any]:
    """Read the queue and priority, as the id of a row of :func:`queues_waiting`, the name and the due time of a key.

    Each may have any type.
    """
    return {f.QUEUE: key[f.QUEUE], f.PRIORITY: key[f.PRIORITY]}, key[f.NAME], key[f.DUE_AT]


def row_of(queue: Document, oldest: datetime) -> Document:
    """Return a row of :func:`queues_waiting`."""
    return {f.ID: queue, f.DUE_AT: oldest}


def queue_from(group: Document) -> WaitingQueue | None:
    """Read a row of :func:`queues_waiting`; None for one of records that do not fit."""
    if _OF_QUEUES.first_misfit({f.ID: "", **group[f.ID]}) is not None:
        return None
    return WaitingQueue(group[f.ID][f.QUEUE], int(group[f.ID][f.PRIORITY]), group[f.DUE_AT])


def queued_in_group(group: Document, time: datetime, names: list[str]) -> Document:
    """Return the filter that finds the tasks of a row that :func:`queue_from` cannot read."""
    queue, priority = ({"$eq": group[f.ID].get(name)} for name in (f.QUEUE, f.PRIORITY))
    return {**before(Status.QUEUED, time, names), f.QUEUE: queue, f.PRIORITY: priority}


def queued_before(time: datetime, queue: WaitingQueue, names: list[str]) -> Document:
    """Return the filter that finds the tasks that have waited in a queue since before a time."""
    # Tasks of other queues may have waited for longer: the index is read from this queue's first task on.
    since_first = {f.DUE_AT: {"$gte": queue.oldest, "$lt": time}}
    filter_ = {**before(Status.QUEUED, time, names), **since_first}
    return {**filter_, f.QUEUE: queue.name, f.PRIORITY: queue.priority}


_HELD_BACK = "held back by its rate limit"


def hold_back(task_ids: list[str], attempts: int, by: str, earliest: float, latest: float) -> Write:
    """Let tasks whose messages follow so many attempts wait for some seconds, each another time. Run over many."""
    wait = {"$add": [earliest, {"$multiply": [{"$rand": {}}, latest - earliest]}]}
    due_at = {"$add": [NOW, {"$multiply": [1000, wait]}]}
    status = {"$cond": [{"$eq": [f"${f.STATUS}", Status.RETRY]}, Status.RETRY, Status.SCHEDULED]}
    fence = {f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}, f.ATTEMPTS: attempts, f.CANCEL_REQUESTED_AT: None}
    filter_, [stage] = _take(change(task_ids, {f.DUE_AT: due_at}, status=status, message=_HELD_BACK, fence=fence), by)
    return filter_, [{"$set": {f.HISTORY: _without_last_wait()}}, stage]


def held_back(task_ids: list[str], by: str) -> Document:
    """Return the filter that finds the tasks that :func:`hold_back` has changed."""
    return {f.ID: {"$in": task_ids}, f.TAKEN_BY: by, f.STATUS: {"$in": [Status.SCHEDULED, Status.RETRY]}}


def held_back_from(queue: str, names: list[str]) -> Document:
    """Return the filter that finds the tasks that wait for their rate limit, which keeps them out of a queue."""
    return {
        f.QUEUE: queue,
        f.NAME: {"$in": names},
        f.STATUS: {"$in": [Status.SCHEDULED, Status.RETRY]},
        "$expr": {"$eq": [{"$arrayElemAt": [f"${f.HISTORY}.{f.MESSAGE}", -1]}, _HELD_BACK]},
    }


def take_purged_held_back(task_ids: list[str], by: str, queue: str, names: list[str]) -> Write:
    """Revoke those of some tasks that still wait for their rate limit. Run over many."""
    return _take_purged(task_ids, by, queue, held_back_from(queue, names))


def take_purged(task_ids: list[str], attempts: int, by: str, queue: str) -> Write:
    """Revoke those of some tasks that their purged messages, which follow so many attempts, would have started.

    Run over many.
    """
    startable = {f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}, f.ATTEMPTS: attempts}
    return _take_purged(task_ids, by, queue, startable)


def _take_purged(task_ids: list[str], by: str, queue: str, matching: Document) -> Write:
    return _take(control.cancel_waiting(task_ids, f"queue {queue} was purged", matching=matching), by)


def _without_last_wait() -> dict[str, Any]:
    """Return the expression for the history of a queued task without the last time that it was held back.

    Otherwise a task that is held back again and again would lose the beginning of its history.
    """
    before, held = ({"$arrayElemAt": [f"${f.HISTORY}", place]} for place in (-3, -2))
    # The entry that comes to stand before the next one has the same status as the one that is left out.
    again = {
        "$and": [
            {"$eq": [f"$$before.{f.STATUS}", Status.QUEUED]},
            {"$eq": [f"$$held.{f.MESSAGE}", _HELD_BACK]},
            {"$eq": [f"${f.STATUS}", Status.QUEUED]},
        ]
    }
    shorter = {"$slice": [f"${f.HISTORY}", {"$subtract": [{"$size": f"${f.HISTORY}"}, 2]}]}
    return {
        "$let": {"vars": {"before": before, "held": held}, "in": {"$cond": [again, shorter, f"${f.HISTORY}"]}},
    }
