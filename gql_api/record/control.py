"""What callers may do to a task that exists: end it, move it, change its metadata, delete it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.claims import waiting
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.model import ErrorInfo
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, REMOVE, Filter, Write, change, fail, from_now, literal, storable

# What an end is told with that was asked for without a reason.
NO_REASON = "cancelled"
# So many others may change the metadata before a change whose reply was lost looks for its mark.
_MAX_MARKS = 10
_REQUESTED_AT = {"$ifNull": [f"${f.CANCEL_REQUESTED_AT}", NOW]}


def revoked_error(reason: str | None) -> ErrorInfo:
    """Why a task is REVOKED that somebody wanted no more, as Celery would tell it."""
    text = storable(reason or NO_REASON)
    return ErrorInfo("TaskRevokedError", text, "celery.exceptions", [text])


def cancel_waiting(task_id: str, reason: str | None) -> Write:
    """End a task that nobody runs: no worker will."""
    return fail(
        task_id,
        revoked_error(reason),
        status=Status.REVOKED,
        fence=waiting(),
        more={f.CANCEL_REQUESTED_AT: _REQUESTED_AT},
    )


def request_cancel(task_id: str, reason: str | None, *, force: bool) -> Write:
    """Ask for the end of a task that runs. To ask twice changes nothing, unless force comes to it."""
    asked = {
        f.CANCEL_REQUESTED_AT: _REQUESTED_AT,
        f.CANCEL_REASON: literal(storable(reason or NO_REASON)),
        f.CANCEL_FORCE: force,
    }
    news: Filter = {f.CANCEL_FORCE: {"$ne": True}} if force else {f.CANCEL_REQUESTED_AT: None}
    filter_, update = change(task_id, asked, fence=news)
    # What its function said last of its state stays readable.
    update[0]["$set"].pop(f.CUSTOM_STATE)
    return {**filter_, f.STATUS: Status.STARTED}, update


def cancel_requested() -> Filter:
    """The fence for what may only be done to a task whose end was asked for."""
    return {f.CANCEL_REQUESTED_AT: {"$ne": None}}


def cancels_among(task_ids: Sequence[str], run: str) -> tuple[Filter, dict[str, int]]:
    """The query for the tasks of a worker's own whose end was asked for, with its projection."""
    query = {f.ID: {"$in": list(task_ids)}, f.WORKER_RUN: run, **cancel_requested()}
    return query, {f.CLAIM: 1, f.CANCEL_FORCE: 1, f.PID: 1}


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Somebody asks for the end of a task that this worker runs."""

    task_id: str
    claim: str
    pid: int
    force: bool


def cancel_request_from(document: Document) -> CancelRequest:
    """Read what a find by :func:`cancels_among` gave."""
    return CancelRequest(document[f.ID], document[f.CLAIM], document[f.PID], bool(document.get(f.CANCEL_FORCE)))


def reschedule(task_id: str, time: datetime) -> Write:
    """Let a task that was not started begin at another time; an expiry counts from there, as it did before.

    One that waits in a queue already, and still may, stays where it is there.
    """
    later = {"$gt": [time, NOW]}
    starts = {"$max": [time, NOW]}
    lifetime = {"$subtract": [f"${f.EXPIRES_AT}", {"$max": [f"${f.SCHEDULED_FOR}", f"${f.CREATED_AT}"]}]}
    changes = {
        f.SCHEDULED_FOR: starts,
        f.DUE_AT: {"$cond": [{"$or": [later, {"$eq": [f"${f.STATUS}", Status.SCHEDULED]}]}, starts, f"${f.DUE_AT}"]},
        f.EXPIRES_AT: {"$cond": [{"$gt": [f"${f.EXPIRES_AT}", None]}, {"$add": [starts, lifetime]}, REMOVE]},
    }
    status = {"$cond": [later, Status.SCHEDULED, Status.QUEUED]}
    fence = {f.STATUS: {"$in": [Status.SCHEDULED, Status.QUEUED]}, f.ATTEMPTS: 0}
    return change(task_id, changes, status=status, message="rescheduled", fence=fence)


def replace_metadata(
    task_id: str, metadata: dict[str, Any], seen: int | None, *, mark: str | None = None, fence: Filter | None = None
) -> Write:
    """Store metadata that was made from the metadata of revision ``seen``, unless it has changed since.

    By its ``mark`` a change whose reply was lost knows itself. Final tasks take it too: what a caller keeps beside a
    task is not how the task went.
    """
    filter_, update = change(task_id, {f.METADATA: literal(values.dump(metadata))}, fence=fence)
    stage = update[0]["$set"]
    stage.pop(f.CUSTOM_STATE)
    stage[f.METADATA_REVISION] = stage[f.REVISION]
    if mark is not None:
        marks = {"$concatArrays": [{"$ifNull": [f"${f.METADATA_MARKS}", []]}, [mark]]}
        stage[f.METADATA_MARKS] = {"$slice": [marks, -_MAX_MARKS]}
    if fence is None:
        del filter_[f.STATUS]
    return {**filter_, f.METADATA_REVISION: seen}, update


def with_key(name: str, key: str) -> Document:
    """The filter that finds the task of an idempotency key. There are no owners yet."""
    return {f.OWNER: None, f.NAME: name, f.IDEMPOTENCY_KEY: key}


def release_key(task_id: str, age_seconds: float) -> Write:
    """Take the key from a task that has had it for so long: the key may be used for another."""
    old = {"$lt": [f"${f.CREATED_AT}", from_now(-age_seconds)]}
    return {f.ID: task_id, "$expr": old}, [{"$unset": [f.IDEMPOTENCY_KEY, f.INPUT_DIGEST]}]


def outlived(now: datetime, days: float) -> Document:
    """The filter that finds tasks whose end is longer ago than they are to be kept.

    None of them was created later than that, which lets MongoDB enter the index of the list at the oldest.
    """
    limit = now - timedelta(days=days)
    return {f.CREATED_AT: {"$lt": limit}, f.STATUS: {"$in": FINAL_NAMES}, f.FINISHED_AT: {"$lt": limit}}
