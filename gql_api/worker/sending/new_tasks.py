"""The task that a message asks for, before it has a record."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

from gql_api import values
from gql_api.access.owner_signature import HEADER as OWNER_HEADER
from gql_api.access.owner_signature import OwnerError
from gql_api.record.model import Arguments, NewTask, priority_of
from gql_api.worker.backend.chords import parent_of_message
from gql_api.worker.backend.messages import METADATA_HEADER, given_texts, parts_of_message, queue_of, shown_of
from gql_api.worker.sending.recording_producer import Outgoing

if TYPE_CHECKING:
    from celery import Celery

    from gql_api.worker.backend.backend import Backend

_COUNTDOWN = "countdown"
_EXPIRES = "expires"
# The prefix of headers that do not leave this process.
_RELATIVE = "gql_api_relative_"


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a message that its sender gave relative to now, in seconds.

    ``eta`` and ``expires_at`` are the absolute times that Celery made of them: a handler may have set others since.
    """

    countdown: float | None
    expires: float | None
    eta: str | None
    expires_at: str | None


def note_relative_times(headers: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Note in the headers of a message which times its sender has given relative to now."""
    for name in (_COUNTDOWN, _EXPIRES):
        # As in Celery, no countdown and one of 0 are the same.
        if isinstance(seconds := given.get(name), Real) and (seconds or name == _EXPIRES):
            headers[_RELATIVE + name] = float(seconds)


def pop_relative_times(headers: dict[str, Any]) -> Times:
    """Take what :func:`note_relative_times` noted out of the headers."""
    countdown, expires = (headers.pop(_RELATIVE + name, None) for name in (_COUNTDOWN, _EXPIRES))
    return Times(countdown, expires, headers.get("eta"), headers.get("expires"))


def new_task(backend: Backend, outgoing: Outgoing, options: dict[str, Any], times: Times) -> NewTask:
    """Return the task of a message; ``options`` are those of the call that sends it.

    Raises:
        ValueError: its metadata cannot be stored, or the owner that its header names is not valid.
    """
    headers, (args, kwargs, embed) = outgoing.headers, outgoing.body
    # The record keeps the times, because a message in a broker cannot be found, moved or cancelled. MongoDB compares an
    # absolute time with its own clock.
    eta, expires = headers.get("eta"), headers.get("expires")
    countdown = times.countdown if eta == times.eta else None
    expires_after = times.expires if expires == times.expires_at else None
    parent_id = parent_of_message(headers["parent_id"])
    try:
        owner = backend.owners.of_message(headers, parent_id)
    except OwnerError as error:
        raise ValueError(f"headers: {OWNER_HEADER}: {error}") from error
    real = Arguments(list(backend.codec.json_form(args) or []), dict(backend.codec.json_form(kwargs) or {}))
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=real.args,
        kwargs=real.kwargs,
        shown=shown_of(real, given_texts(headers), backend.redaction_of(headers["task"])),
        metadata=_metadata(backend, headers),
        queue=queue_of(backend.app, _queue_name(options), _name(options.get("exchange")), options.get("routing_key")),
        priority=_priority(backend.app, outgoing.options),
        parent_id=parent_id,
        root_id=headers["root_id"],
        owner=owner.subject,
        tenant=owner.tenant,
        message=parts_of_message(headers, embed, backend.codec.json_form),
        scheduled_for=_time(eta) if countdown is None else None,
        delay=None if countdown is None else max(0.0, countdown),
        expires_at=_time(expires) if expires_after is None else None,
        expires_after=expires_after,
    )


def _time(text: str | None) -> datetime | None:
    """Read a time of Celery's: ISO 8601, in UTC if it has no offset."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return None


def _metadata(backend: Backend, headers: dict[str, Any]) -> dict[str, Any]:
    """Read the metadata of ``apply_async(headers={"metadata": {...}})``.

    Raises:
        ValueError: it is not a JSON object, or cannot be stored unchanged.
    """
    metadata = backend.codec.plain_form(headers.get(METADATA_HEADER)) or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be a JSON object")  # noqa: TRY004 - the value is wrong, not its Python type
    settings = backend.settings
    problems = values.check(
        metadata,
        (METADATA_HEADER,),
        settings.metadata_max_bytes,
        max_depth=settings.metadata_max_depth,
        max_keys=settings.metadata_max_keys,
    )
    if problems:
        raise ValueError("; ".join(f"{'.'.join(map(str, p.path))} {p.message}" for p in problems))
    return metadata


def _priority(app: Celery, options: Mapping[str, Any]) -> int:
    given = options.get("priority")
    return priority_of(app.conf.task_default_priority if given is None else given)


def _queue_name(options: dict[str, Any]) -> str | None:
    return _name(options.get("queue"))


def _name(entity: Any) -> str | None:
    # Celery accepts queues and exchanges by name or as kombu's objects.
    name: str | None = getattr(entity, "name", entity)
    return name
