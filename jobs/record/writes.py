"""Every change of a task record, as a pure function that returns a (filter, update) pair.

The filter holds what must be true for the change to be made, so that check and write are one operation: each filter but
``create``'s and ``forget``'s excludes the final states. Updates are pipelines, for times come from the database's clock
(``$$NOW``) and revisions from the stored one; every value that a caller or a task function chose stands under
``$literal``, or MongoDB would evaluate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs import values
from jobs.record import fields as f
from jobs.record.details import ErrorInfo, NewTask, Progress
from jobs.record.fields import FINAL, Status

Filter = dict[str, Any]
Update = list[dict[str, Any]]
Write = tuple[Filter, Update]

_NOW = "$$NOW"
_REMOVE = "$$REMOVE"
_NEXT_REVISION = {"$add": [f"${f.REVISION}", 1]}
_FINAL_NAMES = sorted(FINAL)


def create(task: NewTask) -> Write:
    """Make the record at revision 1. Run as an upsert; a duplicate key error means that the id is taken."""
    document = {
        f.SHAPE: f.SHAPE_VERSION,
        f.REVISION: 1,
        f.STATUS: Status.QUEUED,
        f.NAME: task.name,
        f.ARGS: values.dump(task.args),
        f.KWARGS: values.dump(task.kwargs),
        f.METADATA: values.dump(task.metadata),
        f.ATTEMPTS: 0,
        f.QUEUE: task.queue,
        f.PRIORITY: task.priority,
        f.PARENT_ID: task.parent_id,
        f.ROOT_ID: task.root_id or task.id,
    }
    stage: dict[str, Any] = {name: _literal(value) for name, value in document.items()}
    stage[f.CREATED_AT] = stage[f.UPDATED_AT] = _NOW
    stage[f.HISTORY] = [_transition(1, Status.QUEUED)]
    return {f.ID: task.id, f.REVISION: {"$exists": False}}, [{"$set": stage}]


def start(task_id: str, *, worker: str) -> Write:
    """Record that a worker runs the task: one more attempt, with nothing left of the attempt before."""
    return _change(
        task_id,
        {
            f.ATTEMPTS: {"$add": [f"${f.ATTEMPTS}", 1]},
            f.WORKER: _literal(worker),
            f.STARTED_AT: _NOW,
            f.ERROR: _REMOVE,
            f.PROGRESS: _REMOVE,
        },
        status=Status.STARTED,
        worker=worker,
    )


def progress(task_id: str, report: Progress) -> Write:
    """Record how far a running task is. No transition: the history does not grow."""
    filter_, update = _change(task_id, {f.PROGRESS: _literal(_progress_document(report))})
    return {**filter_, f.STATUS: Status.STARTED}, update


def custom_state(task_id: str, name: str, meta: Any) -> Write:
    """Record a state of the task function's own: the task stays STARTED, the history tells the name."""
    filter_, update = _change(
        task_id,
        {f.CUSTOM_STATE: _literal({f.NAME: name, f.DATA: values.dump(meta)})},
        status=Status.STARTED,
        message=name,
    )
    return {**filter_, f.STATUS: Status.STARTED}, update


def retry(
    task_id: str, error: ErrorInfo | None, *, children: Any = None, last_progress: Progress | None = None
) -> Write:
    """Record that the task asked to be run again; its error stays readable until the next attempt."""
    changes = {**_error(error), **_outcome(children, last_progress)}
    return _change(task_id, changes, status=Status.RETRY, message=error.message if error else None)


def succeed(
    task_id: str,
    result: Any,
    *,
    ignored: bool = False,
    children: Any = None,
    last_progress: Progress | None = None,
) -> Write:
    """Record the result, a JSON value; ``ignored`` says that nobody wanted one, as ``forget`` does later."""
    changes = {
        f.RESULT: _literal(values.dump(result)),
        f.ERROR: _REMOVE,
        f.FINISHED_AT: _NOW,
        **({f.FORGOTTEN: True} if ignored else {}),
        **_outcome(children, last_progress),
    }
    return _change(task_id, changes, status=Status.SUCCESS)


def fail(
    task_id: str,
    error: ErrorInfo | None,
    *,
    status: Status = Status.FAILURE,
    children: Any = None,
    last_progress: Progress | None = None,
) -> Write:
    """Record why the task ended without a result; ``status`` is FAILURE or REVOKED."""
    changes = {**_error(error), f.FINISHED_AT: _NOW, **_outcome(children, last_progress)}
    return _change(task_id, changes, status=status, message=error.message if error else None)


def forget(task_id: str) -> Write:
    """Drop the result of a finished task, not the task: Celery's ``AsyncResult.forget``."""
    _, update = _change(task_id, {f.RESULT: _REMOVE, f.CHILDREN: _REMOVE, f.FORGOTTEN: True})
    return {f.ID: task_id, f.STATUS: {"$in": _FINAL_NAMES}, f.FORGOTTEN: {"$ne": True}}, update


def _change(
    task_id: str,
    changes: Mapping[str, Any],
    *,
    status: Status | None = None,
    worker: str | None = None,
    message: str | None = None,
) -> Write:
    stage: dict[str, Any] = {
        f.REVISION: _NEXT_REVISION,
        f.UPDATED_AT: _NOW,
        f.CUSTOM_STATE: _REMOVE,
        **changes,
    }
    if status is not None:
        stage[f.STATUS] = status
        at_worker = f"${f.WORKER}" if worker is None else _literal(worker)
        entry = _transition(_NEXT_REVISION, status, at_worker, message)
        stage[f.HISTORY] = {"$slice": [{"$concatArrays": [f"${f.HISTORY}", [entry]]}, -f.HISTORY_LENGTH]}
    return {f.ID: task_id, f.STATUS: {"$nin": _FINAL_NAMES}}, [{"$set": stage}]


def _transition(revision: Any, status: Status, worker: Any = None, message: str | None = None) -> dict[str, Any]:
    entry = {
        f.REVISION: revision,
        f.STATUS: status,
        f.AT: _NOW,
        f.WORKER: worker,
        f.MESSAGE: None if message is None else _literal(_storable(message)[:_MESSAGE_LENGTH]),
    }
    return {name: value for name, value in entry.items() if value is not None}


# A history has room for fifty messages: each is a hint, the whole text is in the error.
_MESSAGE_LENGTH = 200


def _outcome(children: Any, last_progress: Progress | None) -> dict[str, Any]:
    """What every end of an attempt may carry: the tasks it sent, and a report still waiting for its turn."""
    outcome: dict[str, Any] = {}
    if children:
        outcome[f.CHILDREN] = _literal(values.dump(children))
    if last_progress is not None:
        outcome[f.PROGRESS] = _literal(_progress_document(last_progress))
    return outcome


def _progress_document(report: Progress) -> dict[str, Any]:
    return {
        f.CURRENT: report.current,
        f.TOTAL: report.total,
        f.MESSAGE: None if report.message is None else _storable(report.message),
        f.DATA: values.dump(report.data),
    }


def _error(error: ErrorInfo | None) -> dict[str, Any]:
    if error is None:
        return {f.ERROR: _REMOVE}
    document = {
        f.TYPE: _storable(error.type),
        f.MODULE: error.module,
        f.ARGS: values.dump(error.args),
        f.MESSAGE: _storable(error.message),
        f.TRACEBACK: None if error.traceback is None else _storable(error.traceback),
    }
    return {f.ERROR: _literal(document)}


def _storable(text: str) -> str:
    """BSON strings are UTF-8: a lone surrogate in an exception's text must not keep the exception from being told."""
    return text.encode("utf-8", "backslashreplace").decode()


def _literal(value: Any) -> dict[str, Any]:
    return {"$literal": value}
