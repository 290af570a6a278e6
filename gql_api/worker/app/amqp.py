"""Every task that a Celery app of ours sends gets its record first, whatever code sends it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery.app.amqp import AMQP
from celery.exceptions import Ignore
from kombu.exceptions import OperationalError
from pymongo.errors import DuplicateKeyError
from redis.exceptions import RedisError

from gql_api import values
from gql_api.record import claims, writes
from gql_api.record.fields import Status, is_internal
from gql_api.record.model import NewTask
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.chords import parent_of_message
from gql_api.worker.backend.messages import METADATA_HEADER, ORIGINAL, parts_of_message, queue_of
from gql_api.worker.state.attempt import attempt_of

logger = logging.getLogger(__name__)


class RecordingAMQP(AMQP):
    """Celery's AMQP, where ``delay``, ``apply_async``, ``send_task``, chains, groups, chords and retries all end.

    Here a message is complete: routed, with its id, parent and root. What goes wrong before the record is made is
    raised to who sends; once it is made the task will run, and a broker that is away is no error.
    """

    def _create_task_sender(self) -> Callable[..., Any]:
        send = self._send = super()._create_task_sender()

        def record_then_send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            backend = self.app.backend
            if not isinstance(backend, Backend):
                return send(producer, name, message, **options)
            if is_internal(name) and not backend.is_recorded(message.headers["id"]):
                return send(producer, name, message, **options)
            task = _new_task(backend, message, options)
            if not _record(backend, task):
                return None
            try:
                return send(producer, name, message, **options)
            except (OperationalError, RedisError, OSError) as error:
                logger.warning("Task %s is recorded, but the broker did not take its message: %s", task.id, error)
                return None

        return record_then_send

    def send_unrecorded(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Send the message of a task that is recorded already."""
        if self.send_task_message is None:
            raise AssertionError("the sender is made at its first use")
        return self._send(producer, name, message, **options)


def _record(backend: Backend, task: NewTask) -> bool:
    """Make the record, or note in the one there is what its next message carries; tells whether to send it now.

    Raises:
        Ignore: it is the retry of an attempt that does not hold its task any more.
    """
    sender = backend.app.current_worker_task
    own = attempt_of(sender.request) if sender is not None and sender.request.id == task.id else None
    if own is not None and own.is_sending_retry:
        if not backend.store_retry(sender.request, task):
            raise Ignore("the task was taken away while it ran")
        return task.scheduled_for is None

    def record() -> bool:
        try:
            made = backend.store.change(writes.create(task), upsert=True)
        except DuplicateKeyError:
            _remember(backend, task)
            return task.scheduled_for is None
        return made is not None and made.status is Status.QUEUED

    waits = backend.when_store_answers(record)
    if own is not None:
        own.note_own_message()
    return waits


def _remember(backend: Backend, task: NewTask) -> None:
    if task.scheduled_for is None:
        backend.store.note(claims.remember_message(task, backend.settings.lease_seconds))
    else:
        backend.store.change(claims.postpone(task))


def _new_task(backend: Backend, message: Any, options: dict[str, Any]) -> NewTask:
    headers, (args, kwargs, embed) = message.headers, message.body
    own = options.get("headers") or {}
    # The record keeps the times: a message in a broker cannot be found, moved or given up.
    eta, expires = (_time(_set_aside(headers, name)) for name in ("eta", "expires"))
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=list(backend.json_form(args) or []),
        kwargs=dict(backend.json_form(kwargs) or {}),
        metadata=_metadata(backend, own),
        queue=queue_of(backend.app, _queue_name(options), _name(options.get("exchange")), options.get("routing_key")),
        priority=options.get("priority") or 0,
        parent_id=parent_of_message(headers["parent_id"]),
        root_id=headers["root_id"],
        message=parts_of_message({**headers, **own}, embed, backend.json_form),
        scheduled_for=eta if eta is not None and eta > datetime.now(UTC) else None,
        expires_at=expires,
    )


def _set_aside(headers: dict[str, Any], name: str) -> str | None:
    """Take a time out of a message's headers; the task function still finds it in its request."""
    text: str | None = headers.pop(name, None)
    if text is not None:
        headers[ORIGINAL + name] = text
    return text


def _time(text: str | None) -> datetime | None:
    """Celery's times in headers are in ISO 8601; without an offset they are meant in UTC."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return None


def _metadata(backend: Backend, headers: dict[str, Any]) -> dict[str, Any]:
    """Read the metadata of ``apply_async(headers={"metadata": {...}})``.

    Raises:
        ValueError: it is no JSON object, or cannot be given back unchanged.
    """
    metadata = backend.json_form(headers.get(METADATA_HEADER)) or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be a JSON object")  # noqa: TRY004 - the value is wrong, not its Python type
    problems = values.check(metadata, (METADATA_HEADER,), backend.settings.metadata_max_bytes)
    if problems:
        raise ValueError("; ".join(f"{'.'.join(map(str, p.path))} {p.message}" for p in problems))
    return metadata


def _queue_name(options: dict[str, Any]) -> str | None:
    return _name(options.get("queue"))


def _name(entity: Any) -> str | None:
    """Celery takes queues and exchanges by name or as kombu's objects."""
    name: str | None = getattr(entity, "name", entity)
    return name
