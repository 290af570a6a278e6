"""Claims, leases and fences: the writes by which a worker takes, keeps and gives back a task.

The attempt that claimed a task holds it until the attempt ends the task or its lease expires. ``attempts`` only rises
and is the fence: a write of an attempt carries it in its filter, so that an attempt that has lost its task changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask
from gql_api.record.writes import (
    NOW,
    RELEASED,
    REMOVE,
    Filter,
    Write,
    began,
    change,
    from_now,
    next_message,
    retry,
    revoked,
    start_of,
)


class Loss(StrEnum):
    """The kind of a lost attempt, by the field that counts it."""

    PROCESS = f.LOST_ATTEMPTS
    WORKER = f.LOST_WORKERS


_NESTING = f"{f.MESSAGE_PARTS}.headers.replaced_task_nesting"


def held_by(attempt: int) -> Filter:
    """Return the fence of an attempt: it runs the task, no other attempt has begun, and nothing took the task away."""
    return {f.STATUS: Status.STARTED, f.ATTEMPTS: attempt}


def run_by(run: str, pid: int) -> Filter:
    """Return the fence of a worker's main process, which knows the process that ran the attempt, but not its number."""
    return {f.STATUS: Status.STARTED, f.WORKER_RUN: run, f.PID: pid}


def waiting() -> Filter:
    """Return the fence of a write that may only change a task that waits."""
    return {f.STATUS: {"$in": sorted(f.WAITING)}}


def lease_over(attempt: int) -> Filter:
    """Return the fence of recovery: the attempt still holds the task, and its lease is over by the database's clock."""
    return {**held_by(attempt), "$expr": {"$lt": [f"${f.DUE_AT}", NOW]}}


def claim(task_id: str, taking: Claim) -> Write:
    """Begin one more attempt of a waiting task and hold it for one lease.

    It excludes tasks with a cancel request, and tasks that can expire, which need :func:`claim_in_time`.
    """
    # Two functions, for MongoDB takes a tenth longer for a filter that reads its clock, and few tasks need that.
    return _claim(task_id, taking, {f.EXPIRES_AT: None, f.CANCEL_REQUESTED_AT: None})


def claim_in_time(task_id: str, taking: Claim) -> Write:
    """Begin an attempt like :func:`claim`, of a task that can expire and has not."""
    in_time = {"$expr": {"$gt": [f"${f.EXPIRES_AT}", NOW]}}
    return _claim(task_id, taking, {f.EXPIRES_AT: {"$exists": True}, f.CANCEL_REQUESTED_AT: None, **in_time})


def _claim(task_id: str, taking: Claim, fence: Filter) -> Write:
    return change(
        task_id,
        {
            **began(taking.worker),
            f.CLAIM: taking.token,
            f.WORKER_RUN: taking.run,
            f.PID: taking.pid,
            f.DUE_AT: from_now(taking.lease_seconds),
        },
        status=Status.STARTED,
        worker=taking.worker,
        # The number of the attempt that the message follows. A message of an earlier attempt, or of a function that has
        # been replaced, starts nothing.
        fence={f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}, f.ATTEMPTS: taking.attempts, **fence},
    )


# Clients do not see leases and sent messages, so the writes below without ``change`` leave the revision as it is.


def extend_leases(run: str, task_ids: list[str], lease_seconds: float) -> Write:
    """Extend the leases of the tasks that a worker runs. Run over many."""
    theirs = {f.ID: {"$in": task_ids}, f.WORKER_RUN: run, f.STATUS: Status.STARTED, f.DUE_AT: {"$exists": True}}
    return theirs, [{"$set": {f.DUE_AT: from_now(lease_seconds)}}]


def extend_lease(task_id: str, attempt: int, lease_seconds: float) -> Write:
    """Extend the lease of one attempt; the filter finds no task if the attempt has lost it."""
    return {f.ID: task_id, **held_by(attempt)}, [{"$set": {f.DUE_AT: from_now(lease_seconds)}}]


def requeue(
    task_id: str | Sequence[str], fence: Filter, message: str, *, lost: Loss | None = None, due_in: float = 0.0
) -> Write:
    """Queue a started task again, or several; its message has to be sent then. ``lost`` counts a lost attempt."""
    changes = {
        **RELEASED,
        f.DUE_AT: from_now(due_in),
        f.PROGRESS: REMOVE,
        **({} if lost is None else {lost.value: one_more(lost)}),
    }
    return change(task_id, changes, status=Status.QUEUED, message=message, fence=fence)


def reject(task_id: str, error: ErrorInfo, *, due_in: float, announced: int = 0, fence: Filter | None = None) -> Write:
    """Record that the function rejected the task, which is due again after ``due_in`` seconds."""
    filter_, [stage] = retry(task_id, error, due_in=due_in, announced=announced, fence=fence)
    return filter_, [{"$set": {**stage["$set"], f.PROGRESS: REMOVE, f.REJECTIONS: one_more(f.REJECTIONS)}}]


def note_state(task_id: str, state: str, *, announced: int = 0, fence: Filter | None = None) -> Write:
    """Note in the history that the function has set one of Celery's own states. The task stays STARTED."""
    running = {**(fence or {}), f.STATUS: Status.STARTED}
    return change(
        task_id, {}, status=Status.STARTED, message=state, announced=announced, fence=running, keeps_custom_state=True
    )


def enqueue(task_id: str | Sequence[str]) -> Write:
    """Queue a task that is due, or several; its message has to be sent then."""
    fence = {f.STATUS: {"$in": [Status.SCHEDULED, Status.RETRY]}, "$expr": {"$lte": [f"${f.DUE_AT}", NOW]}}
    return change(task_id, {f.DUE_AT: NOW}, status=Status.QUEUED, fence=fence)


def remember_message(task: NewTask, guard_seconds: float) -> Write:
    """Store the message of a queued task's replacement, or its first message once more, before it is sent.

    If the message is lost, recovery sends it after ``guard_seconds``.
    """
    kept = {**next_message(task), f.DUE_AT: from_now(guard_seconds)}
    return {f.ID: task.id, **_not_yet_run(task)}, [{"$set": kept}]


def postpone(task: NewTask) -> Write:
    """Store the message of a queued task's replacement until that is due."""
    kept = {**next_message(task), f.DUE_AT: start_of(task)}
    return change(task.id, kept, status=Status.SCHEDULED, fence=_not_yet_run(task))


def _not_yet_run(task: NewTask) -> Filter:
    """Return the fence of a message: its task has had no attempt, or has the message of a function that it replaces.

    The step before may run again and send its message again, while its task waits for a retry or for its replacement.
    """
    nesting = 0 if task.message is None else task.message.headers.get("replaced_task_nesting", 0)
    untouched: Filter = {f.ATTEMPTS: 0}
    # Celery counts how often a task was replaced. A record without the number has the message of its creation.
    replaced = [{_NESTING: {"$not": {"$gte": nesting}}}] if nesting else []
    return {f.STATUS: Status.QUEUED, "$or": [untouched, *replaced]}


def exclude_from_recovery(task_id: str, fence: Filter) -> Write:
    """Take a task away from recovery: it waits for its replacement."""
    return {f.ID: task_id, **fence}, [{"$unset": f.DUE_AT}]


def returned_by(attempt: int) -> Filter:
    """Return the fence of an attempt that has given its task back for a replacement to end it."""
    return {f.STATUS: Status.QUEUED, f.ATTEMPTS: attempt}


def one_more(field: str) -> dict[str, Any]:
    """Return the expression for a count that is one higher."""
    return {"$add": [{"$ifNull": [f"${field}", 0]}, 1]}


def expire(task_id: str | Sequence[str]) -> Write:
    """Revoke a task that was not started in time, or several."""
    fence = {**waiting(), "$expr": {"$lte": [f"${f.EXPIRES_AT}", NOW]}, f.EXPIRES_AT: {"$exists": True}}
    error = ErrorInfo("TaskRevokedError", "expired", "celery.exceptions", ["expired"])
    return change(task_id, revoked(error), status=Status.REVOKED, message=error.message, fence=fence)
