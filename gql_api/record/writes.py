"""The attempt's changes of a task record, and :func:`change`, from which every change with a revision is built.

Each function returns a (filter, update) pair. The filter holds the condition of the change, so that check and write are
one operation. Updates are pipelines, because times come from the database's clock (``$$NOW``) and revisions from the
stored one. Every value that a caller or a task function chose stands under ``$literal``; MongoDB would evaluate it
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.model import Arguments, ErrorInfo, MessageParts, NewTask, Progress, priority_of

Filter = dict[str, Any]
Update = list[dict[str, Any]]
Write = tuple[Filter, Update]

NOW = "$$NOW"
REMOVE = "$$REMOVE"
NEXT_REVISION = {"$add": [f"${f.REVISION}", 1]}


def create(task: NewTask) -> Write:
    """Create the record at revision 1. Run as an upsert; a duplicate key error means that the id or the key is taken.

    The task is SCHEDULED if it starts later by the database's clock, and QUEUED otherwise.
    """
    document = {
        f.SHAPE: f.SHAPE_VERSION,
        f.REVISION: 1,
        f.NAME: _text(task.name),
        **_arguments(task.shown or Arguments(task.args, task.kwargs)),
        f.HIDDEN: None if task.shown is None else _arguments(Arguments(task.args, task.kwargs)),
        f.METADATA: values.dump(task.metadata),
        f.ATTEMPTS: 0,
        f.QUEUE: _text(task.queue),
        f.PRIORITY: priority_of(task.priority),
        f.PARENT_ID: _text(task.parent_id),
        f.ROOT_ID: _text(task.root_id or task.id),
        f.OWNER: _text(task.owner),
        f.TENANT: _text(task.tenant),
        f.KEY_SPACE: task.key_space,
        f.IDEMPOTENCY_KEY: task.idempotency_key,
        f.INPUT_DIGEST: task.input_digest,
        f.REPLAY_OF: task.replay_of,
        f.SENDER_TOKEN: task.sender_token,
        f.CHORD_ID: _chord_of(task.message),
    }
    stage: dict[str, Any] = {
        name: literal(value) for name, value in document.items() if value is not None or name == f.PARENT_ID
    }
    starts = start_of(task)
    status: Any = Status.QUEUED
    if starts is not None:
        status = {"$cond": [{"$gt": [starts, NOW]}, Status.SCHEDULED, Status.QUEUED]}
        stage[f.SCHEDULED_FOR] = starts
    stage[f.STATUS] = status
    stage[f.CREATED_AT] = stage[f.UPDATED_AT] = NOW
    stage[f.DUE_AT] = due_at = NOW if starts is None else {"$max": [starts, NOW]}
    stage[f.HISTORY] = [_transition(1, status, actor=task.actor)]
    if task.expires_in is not None:
        stage[f.EXPIRES_AT] = {"$add": [due_at, round(task.expires_in * 1000)]}
    elif (expires_at := _expiry(task)) is not None:
        stage[f.EXPIRES_AT] = expires_at
    stage.update(message_parts(task.message if task.shown is None else _with_arguments(task)))
    return {f.ID: task.id, f.REVISION: {"$exists": False}}, [{"$set": stage}]


def start(task_id: str, *, worker: str) -> Write:
    """Record a start that code reported by itself: no worker has claimed the task, and recovery leaves it alone."""
    return change(task_id, {**began(worker), f.DUE_AT: REMOVE}, status=Status.STARTED, worker=worker)


def progress(task_id: str, report: Progress, *, announced: int = 0, fence: Filter | None = None) -> Write:
    """Record the progress of a running task. It is not a transition: the history does not grow."""
    return change(
        task_id, {f.PROGRESS: literal(_progress_document(report))}, announced=announced, fence=_started(fence)
    )


def custom_state(task_id: str, name: str, meta: Any, *, announced: int = 0, fence: Filter | None = None) -> Write:
    """Record a custom state of the task function: the task stays STARTED, and the history has the state's name."""
    return change(
        task_id,
        {f.CUSTOM_STATE: literal({f.NAME: name, f.DATA: values.dump(meta)})},
        status=Status.STARTED,
        message=name,
        announced=announced,
        fence=_started(fence),
    )


def retry(
    task_id: str,
    error: ErrorInfo | None,
    *,
    due_in: float = 0.0,
    message: NewTask | None = None,
    children: Any = None,
    last_progress: Progress | None = None,
    announced: int = 0,
    fence: Filter | None = None,
) -> Write:
    """Record that the task asked for another attempt; its error stays readable until that begins.

    The attempt is due at the time in ``message``, which is its own, or after ``due_in`` seconds.
    """
    due = from_now(due_in) if message is None or not message.waits else start_of(message)
    # A task with a cancel request does not wait: the worker that claims it next ends it.
    due = {"$cond": [{"$gt": [f"${f.CANCEL_REQUESTED_AT}", None]}, NOW, due]}
    changes = {
        **RELEASED,
        **({} if message is None else next_message(message)),
        f.DUE_AT: due,
        **_error(error),
        **_outcome(children, last_progress),
    }
    text = error.message if error else None
    return change(task_id, changes, status=Status.RETRY, message=text, announced=announced, fence=fence)


def succeed(
    task_id: str,
    result: Any,
    *,
    ignored: bool = False,
    in_chord: bool = False,
    children: Any = None,
    last_progress: Progress | None = None,
    announced: int = 0,
    fence: Filter | None = None,
) -> Write:
    """Record the result, a JSON value.

    The record of a task with ``ignore_result`` forgets it at once, but keeps it for the body of the task's chord.
    """
    changes = {
        **_ENDED,
        f.RESULT: literal(values.dump(None if ignored else result)),
        f.ERROR: REMOVE,
        f.FINISHED_AT: NOW,
        **({f.FORGOTTEN: True} if ignored else {}),
        **({f.CHORD_RESULT: literal(values.dump(result))} if ignored and in_chord else {}),
        **_outcome(children, last_progress),
    }
    return change(task_id, changes, status=Status.SUCCESS, announced=announced, fence=fence)


def fail(
    task_id: str | Sequence[str],
    error: ErrorInfo | None,
    *,
    status: Status = Status.FAILURE,
    actor: str | None = None,
    children: Any = None,
    last_progress: Progress | None = None,
    announced: int = 0,
    fence: Filter | None = None,
) -> Write:
    """Record why the task ended without a result; ``status`` is FAILURE or REVOKED."""
    changes = {**ended_by(error), **_outcome(children, last_progress)}
    text = error.message if error else None
    return change(task_id, changes, status=status, message=text, actor=actor, announced=announced, fence=fence)


def forget(task_id: str) -> Write:
    """Drop the result of a finished task, not the task: Celery's ``AsyncResult.forget``."""
    fence = {f.STATUS: {"$in": FINAL_NAMES}, f.FORGOTTEN: {"$ne": True}}
    return change(task_id, {f.RESULT: REMOVE, f.CHILDREN: REMOVE, f.FORGOTTEN: True}, fence=fence)


def change(
    task_id: str | Sequence[str],
    changes: Mapping[str, Any],
    *,
    status: Any = None,
    worker: str | None = None,
    message: str | None = None,
    actor: str | None = None,
    fence: Filter | None = None,
    final_too: bool = False,
    matching: Filter | None = None,
    keeps_custom_state: bool = False,
    announced: int = 0,
) -> Write:
    """Return a change that raises the revision and, with a ``status``, which may be an expression, adds a transition.

    It changes one task or, run over many, each of several. It excludes final tasks, except with ``final_too`` or with a
    ``fence`` on the status, which replaces that condition. ``matching`` is any other filter that must match too.
    ``actor`` is the subject of the caller. ``announced`` is a revision that clients know and MongoDB may have lost: the
    change takes a higher one.
    """
    revision = next_revision(announced)
    stage: dict[str, Any] = {
        f.REVISION: revision,
        f.UPDATED_AT: NOW,
        **({} if keeps_custom_state else {f.CUSTOM_STATE: REMOVE}),
        **changes,
    }
    if status is not None:
        stage[f.STATUS] = status
        at_worker = f"${f.WORKER}" if worker is None else literal(worker)
        entry = _transition(revision, status, at_worker, message, actor)
        stage[f.HISTORY] = {"$slice": [{"$concatArrays": [f"${f.HISTORY}", [entry]]}, -f.HISTORY_LENGTH]}
    filter_: Filter = {
        f.ID: task_id if isinstance(task_id, str) else {"$in": list(task_id)},
        **({} if final_too else {f.STATUS: {"$nin": FINAL_NAMES}}),
        **(fence or {}),
    }
    return filter_ if matching is None else {"$and": [filter_, matching]}, [{"$set": stage}]


def next_revision(announced: int) -> dict[str, Any]:
    """Return the expression for the revision after the stored one, and after one that was announced before."""
    return {"$add": [{"$max": [f"${f.REVISION}", announced]}, 1]} if announced else NEXT_REVISION


def _arguments(arguments: Arguments) -> dict[str, Any]:
    return {f.ARGS: values.dump(arguments.args), f.KWARGS: values.dump(arguments.kwargs)}


def _with_arguments(task: NewTask) -> MessageParts:
    """Return the parts of a message with its arguments, which processes of an earlier version read there only."""
    return replace(task.message or MessageParts(), args=task.args, kwargs=task.kwargs)


def _chord_of(message: MessageParts | None) -> str | None:
    """Return the chord that a task is a member of."""
    return message.headers.get("group") if message is not None and message.embed.get("chord") else None


def _started(fence: Filter | None) -> Filter:
    return {**(fence or {}), f.STATUS: Status.STARTED}


def _transition(
    revision: Any, status: Any, worker: Any = None, message: str | None = None, actor: str | None = None
) -> dict[str, Any]:
    entry = {
        f.REVISION: revision,
        f.STATUS: status,
        f.AT: NOW,
        f.WORKER: worker,
        f.MESSAGE: None if message is None else literal(_hint(storable(message))),
        f.ACTOR: None if actor is None else literal(storable(actor)),
    }
    return {name: value for name, value in entry.items() if value is not None}


# RELEASED removes the fields that only a claimed task has, _ENDED also those that only an unfinished task has.
RELEASED = {f.CLAIM: REMOVE, f.WORKER_RUN: REMOVE, f.PID: REMOVE}
_ENDED = {**RELEASED, f.DUE_AT: REMOVE, f.MESSAGE_PARTS: REMOVE, f.WAITS_FOR: REMOVE}


def began(worker: str) -> dict[str, Any]:
    """Return the changes that begin one more attempt and remove what the previous attempt left."""
    return {
        f.ATTEMPTS: {"$add": [f"${f.ATTEMPTS}", 1]},
        f.WORKER: literal(worker),
        f.STARTED_AT: NOW,
        f.ERROR: REMOVE,
        f.PROGRESS: REMOVE,
    }


def ended_by(error: ErrorInfo | None) -> dict[str, Any]:
    """Return the changes that end a task without a result."""
    return {**_ENDED, **_error(error), f.FINISHED_AT: NOW}


def revoked(error: ErrorInfo) -> dict[str, Any]:
    """Return the changes that revoke a waiting task.

    A step of a chain, or a member of a chord, keeps its message and is due: a worker ends what follows it. So is a step
    that was not sent yet.
    """
    embedded = [f"${f.MESSAGE_PARTS}.embed.{name}" for name in ("chain", "chord")]
    has_followers = {"$or": [{"$gt": [name, None]} for name in [*embedded, f"${f.WAITS_FOR}"]]}
    return {
        **ended_by(error),
        f.WAITS_FOR: {"$ifNull": [f"${f.WAITS_FOR}", REMOVE]},
        f.MESSAGE_PARTS: {"$cond": [has_followers, f"${f.MESSAGE_PARTS}", REMOVE]},
        f.DUE_AT: {"$cond": [has_followers, NOW, REMOVE]},
    }


def from_now(seconds: float) -> Any:
    """Return the expression for the time in some seconds by the database's clock."""
    return {"$add": [NOW, round(seconds * 1000)]} if seconds else NOW


def message_parts(parts: MessageParts | None) -> dict[str, Any]:
    """Return the changes that keep what a message carries beyond the record; none when it carries nothing more."""
    # Of all fields, headers and embed alone are empty by default: empty kwargs are a message's own.
    kept = {} if parts is None else {name: value for name in _PARTS if (value := getattr(parts, name)) is not None}
    kept = {name: value for name, value in kept.items() if value or name not in _EMPTY_BY_DEFAULT}
    return {f.MESSAGE_PARTS: literal(values.dump(kept))} if kept else {}


def next_message(task: NewTask) -> dict[str, Any]:
    """Return the changes that keep a message other than the one the task was created with."""
    parts = replace(_with_arguments(task), task=task.name)
    return {
        **message_parts(parts),
        f.QUEUE: literal(_text(task.queue)),
        f.PRIORITY: priority_of(task.priority),
        f.EXPIRES_AT: REMOVE if (expires_at := _expiry(task)) is None else expires_at,
    }


def start_of(task: NewTask) -> Any:
    """Return the expression for the time at which a task may start; None for one that does not wait."""
    return from_now(task.delay) if task.delay else task.scheduled_for


def _expiry(task: NewTask) -> Any:
    return task.expires_at if task.expires_after is None else from_now(task.expires_after)


_PARTS = tuple(field.name for field in fields(MessageParts))
_EMPTY_BY_DEFAULT = {"headers", "embed"}

# A history holds up to fifty messages: each is a hint, and the error has the whole text.
_MESSAGE_LENGTH = 200


def _hint(message: str) -> str:
    return message if len(message) <= _MESSAGE_LENGTH else f"{message[: _MESSAGE_LENGTH - 1]}…"


def _outcome(children: Any, last_progress: Progress | None) -> dict[str, Any]:
    """Return what every end of an attempt may store: the tasks it sent, and its last progress if not yet written."""
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


def _text(value: Any) -> str | None:
    """Return the text of a name or an id, for which a message of another program may have anything."""
    return None if value is None else storable(str(value))


def storable(text: str) -> str:
    """Return the text in a form that BSON can store."""
    # BSON strings are UTF-8: a lone surrogate in an exception's text must not keep the exception from being stored.
    return text.encode("utf-8", "backslashreplace").decode()


def literal(value: Any) -> dict[str, Any]:
    """Return an expression that MongoDB does not evaluate."""
    return {"$literal": value}
