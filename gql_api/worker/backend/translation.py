"""Celery's representation of states (result, meta, exception dict) and ours, each translated into the other."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery, states
from celery.canvas import Signature

from gql_api import values
from gql_api.dispatch import HIDDEN_HEADER, TEXTS
from gql_api.record import writes
from gql_api.record.fields import Status
from gql_api.record.model import Arguments, ErrorInfo, NewTask, Progress
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Filter, Write
from gql_api.registry.redaction import Redaction
from gql_api.values import texts
from gql_api.worker.backend.messages import (
    METADATA_HEADER,
    given_texts,
    guessed_texts,
    parts_of_request,
    queue_of,
    shown_of,
    text_id,
)
from gql_api.worker.state import cancellation

JsonForm = Callable[[Any], Any]
PythonForm = Callable[[Any], Any]
RedactionOf = Callable[[str], Redaction | None]

# The state of ``update_state`` that is not a state but a report.
PROGRESS = "PROGRESS"
ENDS_ATTEMPT = states.READY_STATES | {states.RETRY}
_PENDING = {Status.SCHEDULED, Status.QUEUED}
# The result of the step before may come first among the arguments of a task that was not sent.
_SHIFTS = (0, 1)
_KNOWN_META = {"current", "total", "message"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The context of a state that Celery stores: the task's request, if any, the tasks it sent, its last report.

    ``number`` is that of the request's attempt; ``next_message`` is the message of a retry; ``announced`` is the
    revision of the last report. The texts of errors and of reports are cut to a size.
    """

    task_id: str
    request: Any
    children: Any = None
    last_progress: Progress | None = None
    ignored: bool = False
    fence: Filter | None = None
    retry_guard_seconds: float = 0.0
    next_message: NewTask | None = None
    number: int | None = None
    announced: int = 0
    error_max_bytes: int = sys.maxsize
    progress_max_bytes: int = sys.maxsize


def change_of(attempt: Attempt, state: str, result: Any, traceback: str | None, json_form: JsonForm) -> Write:
    """Return the change of the record that a Celery state stands for."""
    if state == states.STARTED and attempt.fence is None:
        return writes.start(attempt.task_id, worker=worker_of(result, attempt.request))
    if state == PROGRESS:
        report = limited(progress_from(result, json_form), attempt.progress_max_bytes)
        return writes.progress(attempt.task_id, report, fence=attempt.fence)
    if state not in ENDS_ATTEMPT:
        meta = texts.fit(json_form(result), attempt.progress_max_bytes)
        return writes.custom_state(attempt.task_id, state, meta, announced=attempt.announced, fence=attempt.fence)
    extras: dict[str, Any] = {
        "children": attempt.children,
        "last_progress": attempt.last_progress,
        "announced": attempt.announced,
        "fence": attempt.fence,
    }
    if state == states.SUCCESS:
        return _success(attempt, json_form(result), extras)
    # self.retry() needs no exception.
    error = None if result is None else error_info(result, traceback, json_form, attempt.error_max_bytes)
    if state == states.RETRY:
        return writes.retry(
            attempt.task_id, error, due_in=attempt.retry_guard_seconds, message=attempt.next_message, **extras
        )
    actor = cancellation.actor() if state == states.REVOKED else None
    return writes.fail(attempt.task_id, error, status=Status(state), actor=actor, **extras)


def _success(attempt: Attempt, result: Any, extras: dict[str, Any]) -> Write:
    # The body of its chord needs an ignored result too, even if this worker dies before it counts the member.
    in_chord = attempt.ignored and bool(attempt.request.chord)
    return writes.succeed(attempt.task_id, result, ignored=attempt.ignored, in_chord=in_chord, **extras)


def progress_from(meta: Any, json_form: JsonForm) -> Progress:
    """Read ``update_state(state="PROGRESS", meta=...)``: known keys become fields, all others go into ``data``.

    Nothing of the meta is lost: a ``current`` that is not a number is data like any other key.
    """
    fields = json_form(meta)
    if not isinstance(fields, dict):
        return Progress(data=fields)
    message = fields.get("message")
    known: dict[str, Any] = {
        "current": _number(fields.get("current")),
        "total": _number(fields.get("total")),
        "message": message if isinstance(message, str) else None,
    }
    rest = {key: value for key, value in fields.items() if known.get(key) is None}
    return Progress(**known, data=rest or None)


def limited(progress: Progress, max_bytes: int) -> Progress:
    """Return a report whose message and data have at most about ``max_bytes`` each; what is cut has a note of it."""
    message = None if progress.message is None else texts.cut(progress.message, max_bytes)
    return progress._replace(message=message, data=texts.fit(progress.data, max_bytes))


def progress_meta(progress: Progress) -> Any:
    """Return the meta that Celery's ``AsyncResult.info`` shows for a report: the reverse of :func:`progress_from`."""
    known = {key: _whole(getattr(progress, key)) for key in sorted(_KNOWN_META) if getattr(progress, key) is not None}
    if progress.data is not None and not isinstance(progress.data, dict):
        return progress.data
    return {**known, **(progress.data or {})}


def _whole(value: Any) -> Any:
    """Return a whole number as an integer: most functions report such, and programs use them in ``range``."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def error_info(stored: Any, traceback: Any, json_form: JsonForm, max_bytes: int) -> ErrorInfo:
    """Read what Celery stores for an exception; message, arguments and traceback are cut to ``max_bytes`` each.

    A task function may also have set a failure by ``update_state(state="FAILURE", meta=...)``, with any meta.
    """
    # The end of a traceback has the innermost call, and the beginning the outermost.
    text = None if traceback is None else texts.cut_middle(str(traceback), max_bytes)
    if not isinstance(stored, dict) or "exc_type" not in stored:
        value = json_form(stored)
        stored = {"exc_type": "Exception", "exc_module": "builtins", "exc_message": [value], "message": value}
    args = json_form(stored.get("exc_message"))
    return ErrorInfo(
        type=texts.cut(str(stored["exc_type"]), max_bytes),
        message=texts.cut(str(stored.get("message", args)), max_bytes),
        module=stored.get("exc_module"),
        args=texts.fit(args, max_bytes),
        traceback=text,
    )


def worker_of(meta: Any, request: Any) -> str:
    """Return the worker of a start: Celery puts it into the meta; otherwise it may be in the request."""
    hostname = meta.get("hostname") if isinstance(meta, dict) else None
    return str(hostname or getattr(request, "hostname", None) or "unknown")


def arrival(attempt: Attempt, json_form: JsonForm, app: Celery, redaction_of: RedactionOf) -> NewTask:
    """Return the task that a message describes; without a request, little more than its id is known."""
    request = attempt.request
    if request is None:
        return NewTask(id=attempt.task_id, name="unknown", queue=app.conf.task_default_queue)
    delivery = getattr(request, "delivery_info", None) or {}
    name = getattr(request, "task", None) or "unknown"
    args, kwargs = getattr(request, "args", None) or (), getattr(request, "kwargs", None) or {}
    real = _arguments(args, kwargs, json_form)
    given = vars(request)
    # Celery's own text shows the values as Python has them.
    texts = given_texts(given) if HIDDEN_HEADER in given else guessed_texts(given, args, kwargs)
    # A later step of a chain, which says so, was not sent.
    shifts = _SHIFTS if given.get("immutable") is False else (0,)
    return NewTask(
        id=attempt.task_id,
        name=name,
        args=real.args,
        kwargs=real.kwargs,
        shown=shown_of(real, texts, redaction_of(name), shifts),
        queue=queue_of(app, None, delivery.get("exchange"), delivery.get("routing_key")),
        metadata=_metadata_of(request, json_form),
        priority=delivery.get("priority") or 0,
        parent_id=getattr(request, "parent_id", None),
        root_id=getattr(request, "root_id", None),
        message=parts_of_request(request, json_form),
    )


def unsent(
    signature: Signature, json_form: JsonForm, redaction: Redaction | None, *, parent_id: str | None, default_queue: str
) -> NewTask:
    """Return the task that a signature describes, which will never be sent."""
    options = signature.options
    real, shown = arguments_of(signature, json_form, redaction)
    return NewTask(
        id=text_id(signature.id),
        name=signature.task,
        args=real.args,
        kwargs=real.kwargs,
        shown=shown,
        queue=options.get("queue") or default_queue,
        parent_id=parent_id,
        root_id=text_id(options.get("root_id")),
    )


def arguments_of(
    signature: Mapping[str, Any], json_form: JsonForm, redaction: Redaction | None
) -> tuple[Arguments, Arguments | None]:
    """Return the arguments of a signature that was not sent, and those that clients see if they are others."""
    options = signature["options"]
    real = _arguments(signature.get("args"), signature.get("kwargs"), json_form)
    texts = {part: options[text] for part, text in TEXTS.items() if options.get(text) is not None}
    return real, shown_of(real, texts, redaction, (0,) if signature.get("immutable") else _SHIFTS)


def _arguments(args: Any, kwargs: Any, json_form: JsonForm) -> Arguments:
    return Arguments(list(json_form(args) or []), dict(json_form(kwargs) or {}))


def _metadata_of(request: Any, json_form: JsonForm) -> dict[str, Any]:
    # The message comes from an app that does not record what it sends. An invalid header is dropped.
    metadata = values.plain(json_form((getattr(request, "headers", None) or {}).get(METADATA_HEADER)))
    return metadata if isinstance(metadata, dict) else {}


def celery_meta(task_id: str, record: TaskRecord | None, python_form: PythonForm) -> dict[str, Any]:
    """Return what Celery's ``AsyncResult`` reads of a task. An id without a record is PENDING there."""
    if record is None or record.forgotten or record.status in _PENDING:
        return {"task_id": task_id, "status": states.PENDING, "result": None}
    error = record.error
    state, result = _state_and_result(record, error, python_form)
    return {
        "task_id": task_id,
        "status": state,
        "result": result,
        "traceback": error.traceback if error else None,
        "children": list(record.children),
        "date_done": record.finished_at,
        "name": record.name,
        "args": python_form(record.args),
        "kwargs": python_form(record.kwargs),
        "worker": record.worker,
        "retries": max(0, record.attempts - 1),
        "queue": record.queue,
        "parent_id": record.parent_id,
    }


def _state_and_result(record: TaskRecord, error: ErrorInfo | None, python_form: PythonForm) -> tuple[str, Any]:
    status = record.status.value
    if record.status is Status.SUCCESS:
        return status, python_form(record.result)
    if record.status is not Status.STARTED:
        # A retry needs no exception, and a task function may have set a failure without an error.
        shown = error or ErrorInfo(type="Exception", message="", module="builtins", args=[])
        return status, {"exc_type": shown.type, "exc_module": shown.module, "exc_message": python_form(shown.args)}
    if record.custom_state is not None:
        name, meta = record.custom_state
        return name, python_form(meta)
    if record.progress is not None:
        return PROGRESS, python_form(progress_meta(record.progress))
    return status, {"hostname": record.worker}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
