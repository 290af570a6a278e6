"""The decoders of stored fields: each returns the value that a record has for what MongoDB has returned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.model import Arguments, ErrorInfo, FormerMetadata, MessageParts, Progress

_MESSAGE_PARTS = {part.name for part in dataclasses.fields(MessageParts)}


def utc(time: Any) -> Any:
    """Return a time with its offset, which ``FAST_CODEC`` leaves out."""
    return time.replace(tzinfo=UTC) if isinstance(time, datetime) and time.tzinfo is None else time


def error(stored: Mapping[str, Any]) -> ErrorInfo:
    """Return the reason that an attempt ended without a result."""
    return ErrorInfo(
        type=stored[f.TYPE],
        message=stored[f.MESSAGE],
        module=stored.get(f.MODULE),
        args=values.load(stored.get(f.ARGS)),
        traceback=stored.get(f.TRACEBACK),
    )


def error_type(stored: Any) -> str | None:
    """Return the type of a stored error, or None if the value is not an error. Filters read it."""
    return stored.get(f.TYPE) if isinstance(stored, dict) else None


def progress(stored: Mapping[str, Any]) -> Progress:
    """Return a progress report, without figures that are not finite numbers and a message that is not text."""
    message = stored.get(f.MESSAGE)
    return Progress(
        _figure(stored.get(f.CURRENT)),
        _figure(stored.get(f.TOTAL)),
        message if isinstance(message, str) else None,
        values.load(stored.get(f.DATA)),
    )


def _figure(stored: Any) -> float | None:
    return stored if values.is_number(stored) and math.isfinite(stored) else None


def custom_state(stored: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the name and the meta of a custom state."""
    return stored[f.NAME], values.load(stored[f.DATA])


def arguments(stored: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a task."""
    return Arguments(values.load(stored[f.ARGS]), values.load(stored[f.KWARGS]))


def message_parts(stored: Mapping[str, Any]) -> MessageParts:
    """Return the parts of a message, without those that this version does not know."""
    parts = {name: value for name, value in values.load(stored).items() if name in _MESSAGE_PARTS}
    if "task" in parts:
        # A whole message. An earlier version left empty kwargs out.
        parts.setdefault("kwargs", {})
    return MessageParts(**parts)


def former_metadata(stored: Any) -> tuple[FormerMetadata, ...]:
    """Return the former metadata that are kept, without entries of another form."""
    entries = stored if isinstance(stored, list) else []
    return tuple(
        FormerMetadata(entry[f.METADATA], entry[f.REVISION], utc(entry[f.AT]), _revision(entry.get(f.FIRST_REVISION)))
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get(f.METADATA), dict)
        and isinstance(entry.get(f.REVISION), int)
        and isinstance(entry.get(f.AT), datetime)
    )


def _revision(stored: Any) -> int | None:
    return stored if isinstance(stored, int) else None
