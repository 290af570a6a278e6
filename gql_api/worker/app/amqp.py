"""The only place through which an adopted Celery app sends tasks: each gets its record before its message leaves."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

from celery.app.amqp import AMQP
from celery.exceptions import Ignore
from pymongo.errors import DuplicateKeyError

from gql_api import values
from gql_api.dispatch import ATTEMPTS, OperationalError, broker_errors
from gql_api.record import claims, writes
from gql_api.record.fields import Status, is_internal
from gql_api.record.model import NewTask
from gql_api.worker.app.purge import connection_class
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.chords import parent_of_message
from gql_api.worker.backend.messages import METADATA_HEADER, OF_ONE_MESSAGE, ORIGINAL, parts_of_message, queue_of
from gql_api.worker.state.attempt import attempt_of

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection

logger = logging.getLogger(__name__)

_AS_TASK = inspect.signature(AMQP.as_task_v2)
_COUNTDOWN = "countdown"
_EXPIRES = "expires"
# The prefix of headers that do not leave this process.
_RELATIVE = "gql_api_relative_"


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of a message that its sender gave relative to now, in seconds."""

    countdown: float | None
    expires: float | None


class RecordingAMQP(AMQP):
    """Celery's AMQP, through which ``delay``, ``apply_async``, ``send_task``, canvas and retries all send messages.

    Here a message is complete: routed, with its id, parent and root. An error before the record is stored is raised to
    the sender. Once the record is stored the task will run, and a broker that is away is not an error.
    """

    @cached_property
    def Connection(self) -> type[Connection]:  # noqa: N802 - Celery's name
        """The class of the connections to the broker."""
        return connection_class(self.app)

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        """Create a message as Celery does, and note the times in it that are relative to now.

        Celery makes absolute times of them by the clock of this process, which may be wrong.
        """
        message = super().as_task_v2(*args, **kwargs)
        given = _AS_TASK.bind(self, *args, **kwargs).arguments
        for name in (_COUNTDOWN, _EXPIRES):
            # As in Celery, no countdown and one of 0 are the same.
            if isinstance(seconds := given.get(name), Real) and (seconds or name == _EXPIRES):
                message.headers[_RELATIVE + name] = float(seconds)
        return message

    def _create_task_sender(self) -> Callable[..., Any]:
        send = self._send = super()._create_task_sender()

        def record_then_send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            backend = self.app.backend
            times = _pop_relative_times(message.headers)
            if not isinstance(backend, Backend):
                return send(producer, name, message, **options)
            if is_internal(name) and not backend.is_recorded(message.headers["id"]):
                return send(producer, name, message, **options)
            # A retry inherits the headers of its request.
            options["headers"] = {k: v for k, v in (options.get("headers") or {}).items() if k not in OF_ONE_MESSAGE}
            attempts = _record(backend, _new_task(backend, message, options, times))
            if attempts is None:
                return None
            if attempts:
                message.headers[ATTEMPTS] = attempts
            try:
                with broker_errors():
                    return send(producer, name, message, **options)
            except OperationalError as error:
                task_id = message.headers["id"]
                logger.warning("Task %s is recorded, but the broker did not take its message: %s", task_id, error)
                return None

        return record_then_send

    def send_unrecorded(self, producer: Any, name: str, message: Any, **options: Any) -> Any:
        """Send the message of a task that has a record already."""
        if self.send_task_message is None:
            raise AssertionError("send_task_message makes the sender")
        return self._send(producer, name, message, **options)


def _record(backend: Backend, task: NewTask) -> int | None:
    """Store the record, or the next message in an existing one.

    Returns:
        The number of attempts that have begun, for the message; None when no message is to be sent now.

    Raises:
        Ignore: the message is a retry by an attempt that does not hold its task any more.
    """
    sender = backend.app.current_worker_task
    own = attempt_of(sender.request) if sender is not None and sender.request.id == task.id else None
    if own is not None and own.is_sending_retry:
        if task.scheduled_for is not None and task.scheduled_for <= datetime.now(UTC):
            task = replace(task, scheduled_for=None)
        if not backend.store_retry(sender.request, task):
            raise Ignore("the task was taken away while it ran")
        return None if task.waits else own.number
    attempts = backend.when_store_answers(lambda: _create_or_continue(backend, task))
    if own is not None:
        own.note_own_message()
    return attempts


def _create_or_continue(backend: Backend, task: NewTask) -> int | None:
    if backend.store.is_deleted(task.id):
        # For instance a step of a chain, sent again by a second attempt of the step before.
        logger.warning("Task %s was deleted: it is not sent", task.id)
        return None
    try:
        record = backend.store.change(writes.create(task), upsert=True)
    except DuplicateKeyError:
        if task.waits:
            backend.store.change(claims.postpone(task))
            return None
        record = backend.store.note_one(claims.remember_message(task, backend.settings.lease_seconds))
    return None if record is None or record.status is Status.SCHEDULED else record.attempts


def _pop_relative_times(headers: dict[str, Any]) -> _Times:
    return _Times(headers.pop(_RELATIVE + _COUNTDOWN, None), headers.pop(_RELATIVE + _EXPIRES, None))


def _new_task(backend: Backend, message: Any, options: dict[str, Any], times: _Times) -> NewTask:
    headers, (args, kwargs, embed) = message.headers, message.body
    own = options["headers"]
    # The record keeps the times, because a message in a broker cannot be found, moved or cancelled.
    eta, expires = (_time(_move_time(headers, name)) for name in ("eta", "expires"))
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=list(backend.codec.json_form(args) or []),
        kwargs=dict(backend.codec.json_form(kwargs) or {}),
        metadata=_metadata(backend, own),
        queue=queue_of(backend.app, _queue_name(options), _name(options.get("exchange")), options.get("routing_key")),
        priority=_priority(backend.app, options),
        parent_id=parent_of_message(headers["parent_id"]),
        root_id=headers["root_id"],
        message=parts_of_message({**headers, **own}, embed, backend.codec.json_form),
        # MongoDB compares an absolute time with its own clock.
        scheduled_for=eta if times.countdown is None else None,
        delay=None if times.countdown is None else max(0.0, times.countdown),
        expires_at=expires if times.expires is None else None,
        expires_after=times.expires,
    )


def _move_time(headers: dict[str, Any], name: str) -> str | None:
    """Move a time to a header of another name, which the worker shows in the task's request.

    Workers of an earlier version read the expiry from there too.
    """
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


def _priority(app: Celery, options: dict[str, Any]) -> int:
    given = options.get("priority")
    return int((app.conf.task_default_priority if given is None else given) or 0)


def _queue_name(options: dict[str, Any]) -> str | None:
    return _name(options.get("queue"))


def _name(entity: Any) -> str | None:
    # Celery accepts queues and exchanges by name or as kombu's objects.
    name: str | None = getattr(entity, "name", entity)
    return name
