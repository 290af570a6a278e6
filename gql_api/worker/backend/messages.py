"""The parts of a Celery message that the fields of a record do not hold, taken from a message or a request."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.app.amqp import AMQP
from celery.utils.saferepr import saferepr

from gql_api.access.owner_signature import HEADER as OWNER_HEADER
from gql_api.dispatch import ATTEMPTS, HIDDEN_HEADER, TEXTS
from gql_api.record.fields import VERSION_HEADER, Status
from gql_api.record.model import Arguments, MessageParts
from gql_api.record.reads import TaskRecord
from gql_api.registry.redaction import Redaction
from gql_api.worker.state.unrecorded import UNRECORDED

if TYPE_CHECKING:
    from celery import Celery

# ``apply_async(headers={"metadata": {...}})``: the metadata of a task that plain Celery code sends.
METADATA_HEADER = "metadata"

# The time of the write after which a message was made from its task's record. The queues are first in, first out, so it
# shows which other messages cannot be in the queue any more.
SENT_AT_HEADER = "gql_api_sent_at"

# Celery's text for arguments that are not shown.
UNKNOWN_TEXT = "..."

# The prefix of a time that was moved from the message to the record.
ORIGINAL = "original_"

# How often the message was forwarded by a worker that did not know its function.
HOPS_HEADER = "gql_api_hops"

_OF_SENDING = {ATTEMPTS, SENT_AT_HEADER, HOPS_HEADER, UNRECORDED}
# Headers of one message, which the next message of its task does not inherit.
OF_ONE_MESSAGE = {*_OF_SENDING, HIDDEN_HEADER, f"{ORIGINAL}eta", f"{ORIGINAL}expires", VERSION_HEADER}

# Fields of the record, and headers that a second message does not need.
_NOT_KEPT = {
    *_OF_SENDING,
    "id", "task", "lang", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "eta", "expires", METADATA_HEADER,
    OWNER_HEADER,
}  # fmt: skip
# What Celery's own parts are without a value. A header of the caller's own is kept whatever its value is, and so is
# ``ignore_result``: without a value, the setting of the task function counts.
_NOTHING: tuple[Any, ...] = (None, "", [], {}, [None, None])
_DEFAULTS = {"retries": 0, "replaced_task_nesting": 0}
_OF_REQUEST = [
    "group", "group_index", "retries", "timelimit", "ignore_result", "shadow", "replaced_task_nesting",
    "stamped_headers", "stamps",
]  # fmt: skip
_EMBEDDED = ["callbacks", "errbacks", "chain", "chord"]
# The longest text that is read as Python values; Celery's own have 1,024 characters at most.
_MAX_LITERAL = 10_000
_ENDS = re.compile(r",?\)")
_OF_CELERY = {*_OF_REQUEST, *_EMBEDDED} - {"ignore_result"}


def text_id(task_id: Any) -> Any:
    """Return the text of a task id, which a program may give as a UUID or a number; None stays None."""
    return task_id if task_id is None or isinstance(task_id, str) else str(task_id)


def parts_of_message(
    headers: Mapping[str, Any], embed: Mapping[str, Any], json_form: Callable[[Any], Any]
) -> MessageParts:
    """Return the parts of a message that is about to be sent."""
    return MessageParts(json_form(_kept(headers)) or {}, json_form(_kept(embed)) or {})


def parts_of_request(request: Any, json_form: Callable[[Any], Any]) -> MessageParts:
    """Return the parts of the message behind a worker's request."""
    headers = {
        **(getattr(request, "headers", None) or {}),
        # Not by ``getattr``: where a message says nothing, Celery's request has a default.
        **{name: vars(request).get(name) for name in _OF_REQUEST},
    }
    return parts_of_message(headers, {name: getattr(request, name, None) for name in _EMBEDDED}, json_form)


def given_texts(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts with which the sender of a message has hidden parts of its arguments, by part."""
    hidden = headers.get(HIDDEN_HEADER)
    parts = hidden if isinstance(hidden, list) else []
    return {part: str(headers.get(text)) for part, text in TEXTS.items() if part in parts}


def guessed_texts(headers: Mapping[str, Any], args: Any, kwargs: Any) -> dict[str, str]:
    """Return the texts that hide parts of the arguments in a message of a sender that is not adopted, by part.

    It says nowhere whether a text is Celery's own, so each is compared with that.
    """
    if ATTEMPTS in headers or SENT_AT_HEADER in headers:
        # A worker of ours has made the message, and says nothing in its texts.
        return {}
    own = {"args": saferepr(args, AMQP.argsrepr_maxsize), "kwargs": saferepr(kwargs, AMQP.kwargsrepr_maxsize)}
    texts = {part: headers.get(name) for part, name in TEXTS.items()}
    return {
        part: text
        for part, text in texts.items()
        if isinstance(text, str) and text and _comparable(text) != _comparable(own[part])
    }


def shown_of(
    real: Arguments, texts: Mapping[str, str], redaction: Redaction | None, shifts: Collection[int] = (0,)
) -> Arguments | None:
    """Return the arguments that clients see in place of the real ones; None if they see these.

    ``texts`` are the sender's for parts of them, ``shifts`` those of :meth:`Redaction.apply`.
    """
    shown = real if redaction is None else redaction.apply(real.args, real.kwargs, shifts)
    if "args" in texts:
        shown = replace(shown, args=_args_from(texts["args"]))
    if "kwargs" in texts:
        shown = replace(shown, kwargs=_kwargs_from(texts["kwargs"]))
    return None if shown == real else shown


def sent_at_header(record: TaskRecord) -> dict[str, str]:
    """Return the header with the time at which a queued task is sent; none for a task that is not queued."""
    if record.status is not Status.QUEUED or record.due_at is None:
        return {}
    return {SENT_AT_HEADER: record.due_at.isoformat()}


def sent_at_of(headers: Mapping[str, Any]) -> datetime | None:
    """Read the header of :func:`sent_at_header`."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        time = datetime.fromisoformat(headers[SENT_AT_HEADER])
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return None


def _args_from(text: str) -> list[Any]:
    """Return what a text shows of positional arguments: values if it is a Python tuple or list, else the text."""
    shown = _literal(text)
    return list(shown) if isinstance(shown, list | tuple) else [text]


def _kwargs_from(text: str) -> dict[str, Any]:
    """Return what a text shows of keyword arguments: values if it is a Python dictionary, else the text."""
    shown = _literal(text)
    return shown if isinstance(shown, dict) else {TEXTS["kwargs"]: text}


def _literal(text: str) -> Any:
    """Return the JSON value of a text that is a Python literal; None for any other text."""
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return json.loads(json.dumps(ast.literal_eval(text), allow_nan=False))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _comparable(text: str) -> str:
    """Return a text in which tuples and lists look alike: a message carries lists only."""
    return _ENDS.sub("]", text.replace("(", "["))


def queue_of(app: Celery, queue: str | None, exchange: str | None, routing_key: str | None) -> str:
    """Return the queue of a message: named, or bound to its exchange by its routing key."""
    if queue:
        return queue
    for name, known in app.amqp.queues.items():
        if exchange and known.exchange and known.exchange.name == exchange and known.routing_key == routing_key:
            return str(name)
    return str(routing_key or app.conf.task_default_queue)


def _kept(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if name not in _NOT_KEPT and not _is_nothing(name, value)}


def _is_nothing(name: str, value: Any) -> bool:
    return value is None or (name in _OF_CELERY and (value in _NOTHING or value == _DEFAULTS.get(name)))
