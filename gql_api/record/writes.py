"""Every change of a task record, as a pure function that returns a (filter, update) pair.

The filter holds what must be true for the change to be made, so that check and write are one operation: each filter but
``create``'s and ``forget``'s excludes the final states. Updates are pipelines, for times come from the database's clock
(``$$NOW``) and revisions from the stored one; every value that a caller or a task function chose stands under
``$literal``, or MongoDB would evaluate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.model import ErrorInfo, MessageParts, NewTask, Progress

Filter = dict[str, Any]
Update = list[dict[str, Any]]
Write = tuple[Filter, Update]

NOW = "$$NOW"
REMOVE = "$$REMOVE"
_NEXT_REVISION = {"$add": [f"${f.REVISION}", 1]}


def create(task: NewTask) -> Write:
    """Make the record at revision 1. Run as an upsert; a duplicate key error means that the id or the key is taken.

    It is SCHEDULED when it is to start later by the database's clock, and QUEUED otherwise.
    """
    document = {
        f.SHAPE: f.SHAPE_VERSION,
        f.REVISION: 1,
        f.NAME: task.name,
        f.ARGS: values.dump(task.args),
        f.KWARGS: values.dump(task.kwargs),
        f.METADATA: values.dump(task.metadata),
        f.ATTEMPTS: 0,
        f.QUEUE: task.queue,
        f.PRIORITY: task.priority,
        f.PARENT_ID: task.parent_id,
        f.ROOT_ID: task.root_id or task.id,
        f.IDEMPOTENCY_KEY: task.idempotency_key,
        f.INPUT_DIGEST: task.input_digest,
        f.REPLAY_OF: task.replay_of,
    }
    stage: dict[str, Any] = {
        name: literal(value) for name, value in document.items() if value is not None or name == f.PARENT_ID
    }
    starts = from_now(task.delay) if task.scheduled_for is None and task.delay else task.scheduled_for
    status: Any = Status.QUEUED
    if starts is not None:
        status = {"$cond": [{"$gt": [starts, NOW]}, Status.SCHEDULED, Status.QUEUED]}
        stage[f.SCHEDULED_FOR] = starts
    stage[f.STATUS] = status
    stage[f.CREATED_AT] = stage[f.UPDATED_AT] = NOW
    stage[f.DUE_AT] = due_at = NOW if starts is None else {"$max": [starts, NOW]}
    stage[f.HISTORY] = [_transition(1, status)]
    if task.expires_at is not None:
        stage[f.EXPIRES_AT] = task.expires_at
    elif task.expires_in is not None:
        stage[f.EXPIRES_AT] = {"$add": [due_at, round(task.expires_in * 1000)]}
    stage.update(message_parts(task.message))
    return {f.ID: task.id, f.REVISION: {"$exists": False}}, [{"$set": stage}]


def start(task_id: str, *, worker: str) -> Write:
    """Record a start that was told by hand. Nobody holds the task, and nobody looks after it."""
    return change(task_id, {**began(worker), f.DUE_AT: REMOVE}, status=Status.STARTED, worker=worker)


def progress(task_id: str, report: Progress, *, fence: Filter | None = None) -> Write:
    """Record how far a running task is. No transition: the history does not grow."""
    filter_, update = change(task_id, {f.PROGRESS: literal(_progress_document(report))}, fence=fence)
    return {**filter_, f.STATUS: Status.STARTED}, update


def custom_state(task_id: str, name: str, meta: Any, *, fence: Filter | None = None) -> Write:
    """Record a state of the task function's own: the task stays STARTED, the history tells the name."""
    filter_, update = change(
        task_id,
        {f.CUSTOM_STATE: literal({f.NAME: name, f.DATA: values.dump(meta)})},
        status=Status.STARTED,
        message=name,
        fence=fence,
    )
    return {**filter_, f.STATUS: Status.STARTED}, update


def retry(
    task_id: str,
    error: ErrorInfo | None,
    *,
    due_in: float = 0.0,
    message: NewTask | None = None,
    children: Any = None,
    last_progress: Progress | None = None,
    fence: Filter | None = None,
) -> Write:
    """Record that the task asked to be run again; its error stays readable until the next attempt.

    It is due when ``message``, the next attempt's, says so, or after ``due_in`` seconds.
    """
    due = from_now(due_in) if message is None or message.scheduled_for is None else message.scheduled_for
    # One whose end was asked for does not wait: whoever claims it next ends it.
    due = {"$cond": [{"$gt": [f"${f.CANCEL_REQUESTED_AT}", None]}, NOW, due]}
    changes = {
        **RELEASED,
        **({} if message is None else next_message(message)),
        f.DUE_AT: due,
        **_error(error),
        **_outcome(children, last_progress),
    }
    return change(task_id, changes, status=Status.RETRY, message=error.message if error else None, fence=fence)


def succeed(
    task_id: str,
    result: Any,
    *,
    ignored: bool = False,
    children: Any = None,
    last_progress: Progress | None = None,
    fence: Filter | None = None,
) -> Write:
    """Record the result, a JSON value; ``ignored`` says that nobody wanted one, as ``forget`` does later."""
    changes = {
        **_ENDED,
        f.RESULT: literal(values.dump(result)),
        f.ERROR: REMOVE,
        f.FINISHED_AT: NOW,
        **({f.FORGOTTEN: True} if ignored else {}),
        **_outcome(children, last_progress),
    }
    return change(task_id, changes, status=Status.SUCCESS, fence=fence)


def fail(
    task_id: str,
    error: ErrorInfo | None,
    *,
    status: Status = Status.FAILURE,
    children: Any = None,
    last_progress: Progress | None = None,
    fence: Filter | None = None,
    more: Mapping[str, Any] | None = None,
) -> Write:
    """Record why the task ended without a result; ``status`` is FAILURE or REVOKED."""
    changes = {
        **_ENDED,
        **_error(error),
        f.FINISHED_AT: NOW,
        **_outcome(children, last_progress),
        **(more or {}),
    }
    return change(task_id, changes, status=status, message=error.message if error else None, fence=fence)


def forget(task_id: str) -> Write:
    """Drop the result of a finished task, not the task: Celery's ``AsyncResult.forget``."""
    _, update = change(task_id, {f.RESULT: REMOVE, f.CHILDREN: REMOVE, f.FORGOTTEN: True})
    return {f.ID: task_id, f.STATUS: {"$in": FINAL_NAMES}, f.FORGOTTEN: {"$ne": True}}, update


def change(
    task_id: str,
    changes: Mapping[str, Any],
    *,
    status: Any = None,
    worker: str | None = None,
    message: str | None = None,
    fence: Filter | None = None,
) -> Write:
    """Build what every change of a record that is not final consists of: the next revision, and the transition.

    ``status`` is the new one, or an expression for it.
    """
    stage: dict[str, Any] = {
        f.REVISION: _NEXT_REVISION,
        f.UPDATED_AT: NOW,
        f.CUSTOM_STATE: REMOVE,
        **changes,
    }
    if status is not None:
        stage[f.STATUS] = status
        at_worker = f"${f.WORKER}" if worker is None else literal(worker)
        entry = _transition(_NEXT_REVISION, status, at_worker, message)
        stage[f.HISTORY] = {"$slice": [{"$concatArrays": [f"${f.HISTORY}", [entry]]}, -f.HISTORY_LENGTH]}
    return {f.ID: task_id, f.STATUS: {"$nin": FINAL_NAMES}, **(fence or {})}, [{"$set": stage}]


def _transition(revision: Any, status: Any, worker: Any = None, message: str | None = None) -> dict[str, Any]:
    entry = {
        f.REVISION: revision,
        f.STATUS: status,
        f.AT: NOW,
        f.WORKER: worker,
        f.MESSAGE: None if message is None else literal(storable(message)[:_MESSAGE_LENGTH]),
    }
    return {name: value for name, value in entry.items() if value is not None}


# What only a task that is held has, and what only one that is not final has.
RELEASED = {f.CLAIM: REMOVE, f.WORKER_RUN: REMOVE, f.PID: REMOVE}
_ENDED = {**RELEASED, f.DUE_AT: REMOVE, f.MESSAGE_PARTS: REMOVE}


def began(worker: str) -> dict[str, Any]:
    """One more attempt, with nothing left of the attempt before."""
    return {
        f.ATTEMPTS: {"$add": [f"${f.ATTEMPTS}", 1]},
        f.WORKER: literal(worker),
        f.STARTED_AT: NOW,
        f.ERROR: REMOVE,
        f.PROGRESS: REMOVE,
    }


def from_now(seconds: float) -> Any:
    """A time to come by the database's clock."""
    return {"$add": [NOW, round(seconds * 1000)]} if seconds else NOW


def message_parts(parts: MessageParts | None) -> dict[str, Any]:
    """What to keep of a message; nothing when the record tells all of it."""
    kept = {} if parts is None else {name: value for name, value in asdict(parts).items() if value not in (None, {})}
    return {f.MESSAGE_PARTS: literal(values.dump(kept))} if kept else {}


def next_message(task: NewTask) -> dict[str, Any]:
    """What a record keeps of a message that is not the one the task was created with."""
    parts = replace(task.message or MessageParts(), task=task.name, args=task.args, kwargs=task.kwargs)
    return {
        **message_parts(parts),
        f.QUEUE: literal(task.queue),
        f.PRIORITY: task.priority,
        f.EXPIRES_AT: REMOVE if task.expires_at is None else task.expires_at,
    }


# A history has room for fifty messages: each is a hint, the whole text is in the error.
_MESSAGE_LENGTH = 200


def _outcome(children: Any, last_progress: Progress | None) -> dict[str, Any]:
    """What every end of an attempt may carry: the tasks it sent, and a report still waiting for its turn."""
    outcome: dict[str, Any] = {}
    if children:
        outcome[f.CHILDREN] = literal(values.dump(children))
    if last_progress is not None:
        outcome[f.PROGRESS] = literal(_progress_document(last_progress))
    return outcome


def _progress_document(report: Progress) -> dict[str, Any]:
    return {
        f.CURRENT: report.current,
        f.TOTAL: report.total,
        f.MESSAGE: None if report.message is None else storable(report.message),
        f.DATA: values.dump(report.data),
    }


def _error(error: ErrorInfo | None) -> dict[str, Any]:
    if error is None:
        return {f.ERROR: REMOVE}
    document = {
        f.TYPE: storable(error.type),
        f.MODULE: error.module,
        f.ARGS: values.dump(error.args),
        f.MESSAGE: storable(error.message),
        f.TRACEBACK: None if error.traceback is None else storable(error.traceback),
    }
    return {f.ERROR: literal(document)}


def storable(text: str) -> str:
    """BSON strings are UTF-8: a lone surrogate in an exception's text must not keep the exception from being told."""
    return text.encode("utf-8", "backslashreplace").decode()


def literal(value: Any) -> dict[str, Any]:
    """A value that MongoDB is not to evaluate."""
    return {"$literal": value}
