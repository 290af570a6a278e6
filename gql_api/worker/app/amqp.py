"""The only place through which an adopted Celery app sends tasks: each gets its record before its message leaves."""

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
from gql_api.worker.backend.messages import METADATA_HEADER, ORIGINAL, SENT_AT_HEADER, parts_of_message, queue_of
from gql_api.worker.state.attempt import attempt_of

logger = logging.getLogger(__name__)


class RecordingAMQP(AMQP):
    """Celery's AMQP, through which ``delay``, ``apply_async``, ``send_task``, canvas and retries all send messages.

    Here a message is complete: routed, with its id, parent and root. An error before the record is stored is raised to
    the sender. Once the record is stored the task will run, and a broker that is away is not an error.
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
        """Send the message of a task that has a record already."""
        if self.send_task_message is None:
            raise AssertionError("send_task_message makes the sender")
        return self._send(producer, name, message, **options)


def _record(backend: Backend, task: NewTask) -> bool:
    """Store the record, or the next message in an existing one, and return whether to send the message now.

    Raises:
        Ignore: the message is a retry by an attempt that does not hold its task any more.
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
            _store_next_message(backend, task)
            return task.scheduled_for is None
        return made is not None and made.status is Status.QUEUED

    waits = backend.when_store_answers(record)
    if own is not None:
        own.note_own_message()
    return waits


def _store_next_message(backend: Backend, task: NewTask) -> None:
    if task.scheduled_for is None:
        backend.store.note(claims.remember_message(task, backend.settings.lease_seconds))
    else:
        backend.store.change(claims.postpone(task))


def _new_task(backend: Backend, message: Any, options: dict[str, Any]) -> NewTask:
    headers, (args, kwargs, embed) = message.headers, message.body
    own = options.get("headers") or {}
    if SENT_AT_HEADER in own:
        # A retry carries the headers of the message before it.
        del own[SENT_AT_HEADER]
    # The record keeps the times, because a message in a broker cannot be found, moved or cancelled.
    eta, expires = (_time(_move_time(headers, name)) for name in ("eta", "expires"))
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=list(backend.codec.json_form(args) or []),
        kwargs=dict(backend.codec.json_form(kwargs) or {}),
        metadata=_metadata(backend, own),
        queue=queue_of(backend.app, _queue_name(options), _name(options.get("exchange")), options.get("routing_key")),
        priority=options.get("priority") or 0,
        parent_id=parent_of_message(headers["parent_id"]),
        root_id=headers["root_id"],
        message=parts_of_message({**headers, **own}, embed, backend.codec.json_form),
        scheduled_for=eta if eta is not None and eta > datetime.now(UTC) else None,
        expires_at=expires,
    )


def _move_time(headers: dict[str, Any], name: str) -> str | None:
    """Move a time to a header of another name, from which the worker puts it back into the task's request."""
    text: str | None = headers.pop(name, None)
    if text is not None:
        headers[ORIGINAL + name] = text
    return text


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
    metadata = backend.codec.json_form(headers.get(METADATA_HEADER)) or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be a JSON object")  # noqa: TRY004 - the value is wrong, not its Python type
    problems = values.check(metadata, (METADATA_HEADER,), backend.settings.metadata_max_bytes)
    if problems:
        raise ValueError("; ".join(f"{'.'.join(map(str, p.path))} {p.message}" for p in problems))
    return metadata


def _queue_name(options: dict[str, Any]) -> str | None:
    return _name(options.get("queue"))


def _name(entity: Any) -> str | None:
    # Celery accepts queues and exchanges by name or as kombu's objects.
    name: str | None = getattr(entity, "name", entity)
    return name
