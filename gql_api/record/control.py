"""The changes that callers ask for: cancel a task, reschedule it, change its metadata, release its key."""

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
from gql_api.record.writes import (
    NOW,
    REMOVE,
    Filter,
    Write,
    change,
    from_now,
    literal,
    next_revision,
    revoked,
    storable,
)

# The reason that is stored for a cancel without one.
NO_REASON = "cancelled"
# A change whose reply was lost finds its token as long as no more than so many later changes have added theirs.
_MAX_TOKENS = 10
# Of the former metadata in a record. Larger ones are not kept, and those before them are unknown.
_MAX_PAST = 5
_MAX_PAST_BYTES = 16 * 1024
_REQUESTED_AT = {"$ifNull": [f"${f.CANCEL_REQUESTED_AT}", NOW]}


def revoked_error(reason: str | None) -> ErrorInfo:
    """Return the error of a cancelled task, in the form of Celery's ``TaskRevokedError``."""
    text = storable(reason or NO_REASON)
    return ErrorInfo("TaskRevokedError", text, "celery.exceptions", [text])


def cancel_waiting(
    task_id: str | Sequence[str], reason: str | None, *, actor: str | None = None, matching: Filter | None = None
) -> Write:
    """Revoke a task that is not running, or several, if they match. No worker will start it."""
    error = revoked_error(reason)
    return change(
        task_id,
        {**revoked(error), f.CANCEL_REQUESTED_AT: _REQUESTED_AT},
        status=Status.REVOKED,
        message=error.message,
        actor=actor,
        fence=waiting(),
        matching=matching,
    )


def request_cancel(
    task_id: str | Sequence[str],
    reason: str | None,
    *,
    force: bool,
    actor: str | None = None,
    matching: Filter | None = None,
) -> Write:
    """Request the end of a running task, or of several, if they match.

    A second request changes nothing, unless it is the first one with ``force``.
    """
    asked = {
        f.CANCEL_REQUESTED_AT: _REQUESTED_AT,
        f.CANCEL_REASON: literal(storable(reason or NO_REASON)),
        f.CANCEL_FORCE: force,
        # A request by force takes the place of an earlier one.
        f.CANCEL_ACTOR: REMOVE if actor is None else literal(storable(actor)),
    }
    not_asked: Filter = {f.CANCEL_FORCE: {"$ne": True}} if force else {f.CANCEL_REQUESTED_AT: None}
    fence = {f.STATUS: Status.STARTED, **not_asked}
    return change(task_id, asked, fence=fence, keeps_custom_state=True, matching=matching)


def cancel_requested() -> Filter:
    """Return the fence of a write that requires a cancel request."""
    return {f.CANCEL_REQUESTED_AT: {"$ne": None}}


def cancels_among(task_ids: Sequence[str], run: str) -> tuple[Filter, dict[str, int]]:
    """Return the query, with its projection, for the tasks of a worker run that have a cancel request."""
    query = {f.ID: {"$in": list(task_ids)}, f.WORKER_RUN: run, **cancel_requested()}
    return query, {f.CLAIM: 1, f.CANCEL_FORCE: 1, f.PID: 1}


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A request to cancel a task that this worker runs."""

    task_id: str
    claim: str
    pid: int
    force: bool


def cancel_request_from(document: Document) -> CancelRequest:
    """Read a document that was found by :func:`cancels_among`."""
    return CancelRequest(document[f.ID], document[f.CLAIM], document[f.PID], bool(document.get(f.CANCEL_FORCE)))


def reschedule(task_id: str, time: datetime, *, actor: str | None = None) -> Write:
    """Move the start of a task that no worker has started; its expiry moves along.

    A task that is queued already, and stays so, keeps its place in the queue. A later step of a chain, which has no due
    time before it is sent, is left out.
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
    fence = {f.STATUS: {"$in": [Status.SCHEDULED, Status.QUEUED]}, f.ATTEMPTS: 0, f.DUE_AT: {"$exists": True}}
    return change(task_id, changes, status=status, message="rescheduled", actor=actor, fence=fence)


def replace_metadata(
    task_id: str,
    metadata: dict[str, Any],
    seen: int | None,
    *,
    token: str | None = None,
    announced: int = 0,
    fence: Filter | None = None,
) -> Write:
    """Store metadata that was made from the metadata of revision ``seen``, unless it has changed since.

    A change whose reply was lost recognises itself by its ``token``. Without a fence it may change final tasks too:
    metadata is the caller's, and not part of the outcome.
    """
    changes: dict[str, Any] = {
        f.METADATA: literal(values.dump(metadata)),
        f.METADATA_REVISION: next_revision(announced),
        f.METADATA_PAST: _past_with_replaced(next_revision(announced)),
    }
    if token is not None:
        tokens = {"$concatArrays": [{"$ifNull": [f"${f.METADATA_TOKENS}", []]}, [token]]}
        changes[f.METADATA_TOKENS] = {"$slice": [tokens, -_MAX_TOKENS]}
    unchanged = {**(fence or {}), f.METADATA_REVISION: seen}
    is_callers = fence is None
    return change(task_id, changes, fence=unchanged, final_too=is_callers, keeps_custom_state=True, announced=announced)


def _past_with_replaced(revision: Any) -> dict[str, Any]:
    """Return the expression for the former metadata with the present one, which the change of a revision replaces."""
    first = {"$ifNull": [f"${f.METADATA_REVISION}", 1]}
    replaced = {f.METADATA: f"${f.METADATA}", f.REVISION: revision, f.AT: NOW, f.FIRST_REVISION: first}
    kept = {"$cond": [{"$isArray": f"${f.METADATA_PAST}"}, f"${f.METADATA_PAST}", []]}
    all_ = {"$slice": [{"$concatArrays": [kept, [replaced]]}, -_MAX_PAST]}
    branches = [
        {"case": {"$lte": [{"$bsonSize": {f.METADATA_PAST: entries}}, _MAX_PAST_BYTES]}, "then": entries}
        for entries in (all_, [replaced])
    ]
    return {"$switch": {"branches": branches, "default": REMOVE}}


def with_key(key_space: str | None, name: str, key: str) -> Document:
    """Return the filter that finds the task of an idempotency key in its space."""
    return {f.KEY_SPACE: key_space, f.NAME: name, f.IDEMPOTENCY_KEY: key}


def release_key(task_id: str, age_seconds: float) -> Write:
    """Remove the idempotency key of a task older than ``age_seconds``, so that another task can have it."""
    old = {"$lt": [f"${f.CREATED_AT}", from_now(-age_seconds)]}
    return {f.ID: task_id, "$expr": old}, [{"$unset": [f.IDEMPOTENCY_KEY, f.INPUT_DIGEST]}]


def outlived(now: datetime, days: float) -> Document:
    """Return the filter that finds the tasks that ended longer ago than they are kept."""
    # They were created before that too, which lets MongoDB enter the index of the list at the oldest task.
    limit = now - timedelta(days=days)
    return {f.CREATED_AT: {"$lt": limit}, f.STATUS: {"$in": FINAL_NAMES}, f.FINISHED_AT: {"$lt": limit}}
