"""Who may run a task, and when: claims, leases and fences, each a pure function like those of ``writes``.

A task is held by the attempt that claimed it, until the attempt ends it or its lease is over. ``attempts`` only rises
and is the fence: a write of an attempt carries it in its filter, so nothing that an attempt writes after it lost the
task is taken.
"""

from __future__ import annotations

from datetime import datetime

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask
from gql_api.record.writes import NOW, RELEASED, REMOVE, Filter, Write, began, change, fail, from_now, next_message


def held(attempt: int) -> Filter:
    """The fence of an attempt: its writes are taken while no other attempt has begun and nobody took the task away."""
    return {f.STATUS: Status.STARTED, f.ATTEMPTS: attempt}


def run_by(run: str, pid: int) -> Filter:
    """The fence of a worker's main process, which knows no attempt but the process that ran it."""
    return {f.STATUS: Status.STARTED, f.WORKER_RUN: run, f.PID: pid}


def waiting() -> Filter:
    """The fence of whoever may decide only over a task that nobody runs."""
    return {f.STATUS: {"$in": sorted(f.WAITING)}}


def lease_over(attempt: int) -> Filter:
    """The fence of recovery: the attempt is the one that was seen, and its lease has ended by the database's clock."""
    return {**held(attempt), "$expr": {"$lt": [f"${f.DUE_AT}", NOW]}}


def claim(task_id: str, taking: Claim) -> Write:
    """Take an attempt: one more, with nothing left of the attempt before, held for the time of a lease.

    Only a task that waits can be taken, unless its end was asked for while it ran before, and only one that never
    expires: :func:`claim_in_time` is for the others.
    MongoDB takes a tenth longer for a filter that asks for its clock, and few tasks need it.
    """
    filter_, update = change(
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
    )
    fence = {f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}, f.EXPIRES_AT: None, f.CANCEL_REQUESTED_AT: None}
    return {**filter_, **fence}, update


def claim_in_time(task_id: str, taking: Claim) -> Write:
    """Take an attempt of a task that can expire and has not, else as :func:`claim`."""
    filter_, update = claim(task_id, taking)
    return {**filter_, f.EXPIRES_AT: {"$exists": True}, "$expr": {"$gt": [f"${f.EXPIRES_AT}", NOW]}}, update


def extend(run: str, task_ids: list[str], lease_seconds: float) -> Write:
    """Hold on to tasks for another lease. Run over many; clients see nothing of it, so the revisions stay."""
    theirs = {f.ID: {"$in": task_ids}, f.WORKER_RUN: run, f.STATUS: Status.STARTED, f.DUE_AT: {"$exists": True}}
    return theirs, [{"$set": {f.DUE_AT: from_now(lease_seconds)}}]


def hold(task_id: str, attempt: int, lease_seconds: float) -> Write:
    """Hold on to one task, as the attempt that has it: finds nothing when that has lost it."""
    return {f.ID: task_id, **held(attempt)}, [{"$set": {f.DUE_AT: from_now(lease_seconds)}}]


def requeue(task_id: str, fence: Filter, message: str, *, lost: bool = False, due_in: float = 0.0) -> Write:
    """Give a started task back, for its message to be sent again. ``lost`` counts towards the most that may be lost."""
    changes = {
        **RELEASED,
        f.DUE_AT: from_now(due_in),
        f.PROGRESS: REMOVE,
        **({f.LOST_ATTEMPTS: {"$add": [{"$ifNull": [f"${f.LOST_ATTEMPTS}", 0]}, 1]}} if lost else {}),
    }
    return change(task_id, changes, status=Status.QUEUED, message=message, fence=fence)


def enqueue(task_id: str) -> Write:
    """Let a task whose time has come wait for a worker. Its message has to be sent then."""
    fence = {f.STATUS: {"$in": [Status.SCHEDULED, Status.RETRY]}, "$expr": {"$lte": [f"${f.DUE_AT}", NOW]}}
    return change(task_id, {f.DUE_AT: NOW}, status=Status.QUEUED, fence=fence)


def resend(task_id: str, seen_due_at: datetime) -> Write:
    """Note that the message of a waiting task is sent once more; only one of those who see it lost will."""
    return {f.ID: task_id, f.STATUS: Status.QUEUED, f.DUE_AT: seen_due_at}, [{"$set": {f.DUE_AT: NOW}}]


def remember_message(task: NewTask, guard_seconds: float) -> Write:
    """Keep what the next message of a waiting task carries, for instance that of what replaces it.

    It is about to be sent; if it is lost, recovery sends it after ``guard_seconds``.
    """
    kept = {**next_message(task), f.DUE_AT: from_now(guard_seconds)}
    return {f.ID: task.id, f.STATUS: {"$in": [Status.QUEUED, Status.RETRY]}}, [{"$set": kept}]


def postpone(task: NewTask) -> Write:
    """Keep the message of what replaces a waiting task until it is due."""
    kept = {**next_message(task), f.DUE_AT: task.scheduled_for}
    return change(task.id, kept, status=Status.SCHEDULED, fence={f.STATUS: Status.QUEUED})


def leave_alone(task_id: str, fence: Filter) -> Write:
    """Let nobody look after a task any more: it waits for what replaces it, or its function ended it by ``Ignore``."""
    return {f.ID: task_id, **fence}, [{"$unset": f.DUE_AT}]


def replaced(attempt: int) -> Filter:
    """The fence of an attempt that has given its task back for something else to end it."""
    return {f.STATUS: Status.QUEUED, f.ATTEMPTS: attempt}


def expire(task_id: str) -> Write:
    """Revoke a task that was not started in time."""
    fence = {**waiting(), "$expr": {"$lte": [f"${f.EXPIRES_AT}", NOW]}, f.EXPIRES_AT: {"$exists": True}}
    error = ErrorInfo("TaskRevokedError", "expired", "celery.exceptions", ["expired"])
    return fail(task_id, error, status=Status.REVOKED, fence=fence)
