"""The checks of a message before Celery and kombu handle it, because their errors would end the worker.

Each check returns the problem in words without any argument of the task, or None. A message with a value that Celery's
own programs may send passes, whatever its type is.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.utils.json import loads

from gql_api import values
from gql_api.dispatch import ATTEMPTS
from gql_api.worker.backend.messages import HOPS_HEADER

_MAX_ID = 1024
_MAX_NAME = 1024
_MAX_COUNT = 2**31
_MAX_SECONDS = 1e9
_BODY_PARTS = 3
_LIMITS = 2
# Their texts quote no values.
_QUOTABLE = (json.JSONDecodeError, ContentDisallowed, UnicodeDecodeError, binascii.Error)
_SCALARS = (str, int, float, uuid.UUID, type(None))
_IDS = ("root_id", "parent_id", "group", "shadow", "argsrepr", "kwargsrepr", "origin", "method_name")
_ROUTE = {"exchange", "routing_key"}
_COUNTS = ("retries", "replaced_task_nesting", ATTEMPTS, HOPS_HEADER)


def of_error(error: BaseException) -> str:
    """Return an error in words, with its text only if that cannot quote an argument."""
    if isinstance(error, DecodeError) and error.args and isinstance(error.args[0], Exception):
        # kombu's wrapper of another error.
        return of_error(error.args[0])
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, _QUOTABLE) else name


def envelope_problem(payload: Any) -> str | None:
    """Return why kombu could not make a message of what a queue has, decoded from JSON."""
    if not isinstance(payload, dict):
        return f"it must be a JSON object, got {type(payload).__name__}"
    properties = payload.get("properties")
    if not isinstance(properties, dict):
        return "properties: must be an object"
    return next(_envelope_problems(payload, properties), None)


def _envelope_problems(payload: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[str]:
    if not _is_name(properties.get("delivery_tag")):
        yield "properties.delivery_tag: must be a text"
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not delivery.keys() >= _ROUTE:
        yield "properties.delivery_info: must be an object with exchange and routing_key"
    elif not all(isinstance(delivery[name], str | None) for name in _ROUTE):
        yield "properties.delivery_info: exchange and routing_key must be texts"
    if not isinstance(payload.get("headers"), dict | None):
        yield "headers: must be an object"
    for name in ("content-type", "content-encoding"):
        if not isinstance(payload.get(name), str | None):
            yield f"{name}: must be a text"
    if not isinstance(properties.get("priority"), int | None):
        yield "properties.priority: must be a number"
    for name in ("reply_to", "correlation_id"):
        if not isinstance(properties.get(name), _SCALARS):
            yield f"properties.{name}: must be a text"
    yield from _encoding_problems(payload.get("body"), properties.get("body_encoding"))


def _encoding_problems(body: Any, encoding: Any) -> Iterator[str]:
    if not isinstance(body, str | None):
        yield "body: must be a text"
    elif encoding not in {None, "base64"} if isinstance(encoding, str | None) else True:
        yield "properties.body_encoding: must be base64"
    elif body and encoding:
        try:
            base64.b64decode(body)
        except ValueError as error:
            yield f"body: {of_error(error)}"


def unacknowledged_problem(entry: bytes | str) -> str | None:
    """Return why kombu could not restore an entry of the unacknowledged messages."""
    try:
        decoded = loads(entry)  # type: ignore[no-untyped-call] # kombu has no types
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        return of_error(error)
    if not isinstance(decoded, list) or len(decoded) != _BODY_PARTS:
        return "it must be a list of a message, its exchange and its routing key"
    payload, *names = decoded
    if not all(isinstance(name, str | None) for name in names):
        return "its exchange and its routing key must be texts"
    return envelope_problem(payload)


def message_problem(message: Any, timezone: Any) -> str | None:
    """Return why Celery could not make a task of a message of kombu's. Its body is decoded, which kombu keeps."""
    headers = message.headers
    if not isinstance(headers, dict):
        return "headers: must be an object"
    try:
        payload = message.payload
    except Exception as error:  # noqa: BLE001 - kombu's decoders raise what the content makes them raise
        return f"body: {of_error(error)}"
    if "task" not in headers:
        # The first version of Celery's messages has everything in its body.
        if not isinstance(payload, dict):
            return "headers: task is required"
        headers = {**payload, **headers} if "args" in payload else payload
        parts = (payload.get("args", ()), payload.get("kwargs", {}), payload)
    elif isinstance(payload, dict) and "args" in payload:
        parts = (payload["args"], payload.get("kwargs", {}), payload)
        headers = {**payload, **headers}
    elif isinstance(payload, list | tuple) and len(payload) == _BODY_PARTS:
        parts = tuple(payload)
    else:
        return "body: must be a list of args, kwargs and options"
    return next(itertools.chain(_header_problems(headers, timezone), _argument_problems(*parts)), None)


def headers_of(message: Any) -> Mapping[str, Any]:
    """Return the headers of a message without problems, of whichever version of Celery's messages it is."""
    payload = message.payload
    headers: dict[str, Any] = message.headers
    return {**payload, **headers} if isinstance(payload, dict) else headers


def task_id_of(message: Any) -> str | None:
    """Return the id of the task of a message, also of a malformed one; None if it has none that could be an id."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    task_id = headers.get("id")
    if isinstance(task_id, uuid.UUID | int) and not isinstance(task_id, bool):
        task_id = str(task_id)
    return task_id if isinstance(task_id, str) and _is_name(task_id) else None


def _header_problems(headers: Mapping[str, Any], timezone: Any) -> Iterator[str]:
    task_id = headers.get("id")
    if isinstance(task_id, bool) or not isinstance(task_id, str | int | uuid.UUID) or not _is_name(_text(task_id)):
        yield f"id: must be a text of at most {_MAX_ID} characters"
    if not _is_name(headers.get("task")):
        yield f"task: must be a text of at most {_MAX_NAME} characters"
    for name in _IDS:
        if not _is_scalar(headers.get(name)):
            yield f"{name}: must be a text"
    for name in _COUNTS:
        if not _is_count(headers.get(name)):
            yield f"{name}: must be a number from 0 to {_MAX_COUNT}"
    yield from _option_problems(headers, timezone)


def _option_problems(headers: Mapping[str, Any], timezone: Any) -> Iterator[str]:
    limits = headers.get("timelimit")
    if limits and not (isinstance(limits, list | tuple) and len(limits) == _LIMITS and all(map(_is_limit, limits))):
        yield "timelimit: must be a list of two numbers of seconds"
    for name in ("eta", "expires"):
        if not _is_time(headers.get(name), timezone):
            yield f"{name}: must be a time in ISO 8601"
    if not isinstance(headers.get("stamps"), dict | None):
        yield "stamps: must be an object"
    stamped = headers.get("stamped_headers")
    if stamped and not (isinstance(stamped, list | tuple) and all(isinstance(each, str) for each in stamped)):
        yield "stamped_headers: must be a list of texts"


def _argument_problems(args: Any, kwargs: Any, embed: Any) -> Iterator[str]:
    if not isinstance(args, list | tuple):
        yield "args: must be a list"
    if not isinstance(kwargs, dict):
        yield "kwargs: must be an object"
    if not isinstance(embed, dict | None):
        yield "options: must be an object"
        return
    for name in ("callbacks", "errbacks", "chain"):
        given = (embed or {}).get(name)
        if given and not (isinstance(given, list | tuple) and all(map(_is_signature, given))):
            yield f"{name}: must be a list of signatures"
    chord = (embed or {}).get("chord")
    if chord and not _is_signature(chord):
        yield "chord: must be a signature"


def _is_signature(value: Any) -> bool:
    """Return whether Celery can read a signature: a signature, or its name."""
    if isinstance(value, str):
        return True
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args", ()), list | tuple | None)
        and isinstance(value.get("kwargs", {}), dict | None)
        and isinstance(value.get("options", {}), dict | None)
    )


def _text(task_id: Any) -> str:
    """Return the text of an id; an empty one for a number with more digits than Python converts."""
    try:
        return str(task_id)
    except ValueError:
        return ""


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID and "\0" not in value and values.is_text(value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, _SCALARS) and (not isinstance(value, str) or values.is_text(value))


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= _MAX_COUNT)


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= _MAX_SECONDS)


def _is_time(value: Any, timezone: Any) -> bool:
    if value is None:
        return True
    try:
        maybe_make_aware(maybe_iso8601(value), timezone).astimezone()
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        return False
    return True
