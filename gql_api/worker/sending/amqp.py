"""The only place through which an adopted Celery app sends tasks: each gets its record before its message leaves."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.app.amqp import AMQP
from celery.exceptions import Ignore
from pymongo.errors import DuplicateKeyError

from gql_api import values
from gql_api.dispatch import ATTEMPTS, OperationalError, broker_errors
from gql_api.record import claims, writes
from gql_api.record.fields import Status, is_internal
from gql_api.record.model import NewTask
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.chords import parent_of_message
from gql_api.worker.backend.messages import (
    METADATA_HEADER,
    OF_ONE_MESSAGE,
    ORIGINAL,
    parts_of_message,
    queue_of,
    text_id,
)
from gql_api.worker.sending.configuration import check, check_connection, encoding_problem
from gql_api.worker.sending.purge import connection_class
from gql_api.worker.sending.recording_producer import Outgoing, RecordingProducer
from gql_api.worker.sending.task_ids import SenderTokens, check_not_deleted, check_not_taken
from gql_api.worker.state.attempt import attempt_of

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

_tokens = SenderTokens()

_AS_TASK = inspect.signature(AMQP.as_task_v2)
_IDS = ("task_id", "root_id", "parent_id")
_COUNTDOWN = "countdown"
_EXPIRES = "expires"
# The headers of a message with the times that its record keeps.
_TIMES = ("eta", "expires")
# The prefix of headers that do not leave this process.
_RELATIVE = "gql_api_relative_"


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of a message that its sender gave relative to now, in seconds.

    ``eta`` and ``expires_at`` are the absolute times that Celery made of them: a handler may have set others since.
    """

    countdown: float | None
    expires: float | None
    eta: str | None
    expires_at: str | None


class RecordingAMQP(AMQP):
    """Celery's AMQP, through which ``delay``, ``apply_async``, ``send_task``, canvas and retries all send messages.

    The record is made where Celery publishes: the message is routed, has its id, parent and root, and what handlers of
    ``before_task_publish`` gave it. An error before the record is stored is raised to the sender. Once the record is
    stored the task will run, and a broker that is away is not an error.
    """

    def Connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
        """Make a connection to the broker, after a check of the settings, which Celery reads at its first use."""
        check(self.app.conf)
        connection = self._connection_class(*args, **kwargs)
        if not self.app.conf.task_always_eager:
            check_connection(connection)
        return connection

    @cached_property
    def _connection_class(self) -> type[Any]:
        return connection_class(self.app)

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        """Create a message as Celery does, and note the times in it that are relative to now.

        Celery makes absolute times of them by the clock of this process, which may be wrong.
        """
        bound = _AS_TASK.bind(self, *args, **kwargs)
        given = bound.arguments
        given.update({name: text_id(given[name]) for name in _IDS if name in given})
        message = super().as_task_v2(*bound.args[1:], **bound.kwargs)
        for name in (_COUNTDOWN, _EXPIRES):
            # As in Celery, no countdown and one of 0 are the same.
            if isinstance(seconds := given.get(name), Real) and (seconds or name == _EXPIRES):
                message.headers[_RELATIVE + name] = float(seconds)
        return message

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()

        def record_and_send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            if problem := encoding_problem(options.get("serializer"), options.get("compression")):
                raise ValueError(f"task {name}: {problem}")
            backend = self.app.backend
            times = _pop_relative_times(message.headers)
            if not isinstance(backend, Backend):
                return send(producer, name, message, **options)
            if is_internal(name) and not backend.is_recorded(message.headers["id"]):
                return send(producer, name, message, **options)
            own = {**_inherited_headers(self.app, message.headers["id"]), **(options.get("headers") or {})}
            options["headers"] = {name: value for name, value in own.items() if name not in OF_ONE_MESSAGE}
            recording = RecordingProducer(producer, functools.partial(_record_message, backend, options, times))
            try:
                with broker_errors():
                    return send(recording, name, message, **options)
            except _DroppedError:
                return None
            except OperationalError as error:
                if recording.outgoing is None:
                    raise
                task_id = message.headers["id"]
                logger.warning("Task %s is recorded, but the broker did not take its message: %s", task_id, error)
                _announce_sent(name, recording.outgoing)
                return None

        return record_and_send

    def send_unrecorded(self, producer: Any, message: Any, *, queue: str, priority: int) -> Any:
        """Send the message of a task that has a record already.

        Celery's signals about the message were the sender's: they add what the record has, and count each task once.
        """
        conf, entity = self.app.conf, self.queues[queue]
        is_direct = entity.exchange.type == "direct"
        return producer.publish(
            message.body,
            exchange="" if is_direct else entity.exchange.name,
            routing_key=queue if is_direct else entity.routing_key,
            declare=[entity],
            headers=message.headers,
            priority=priority,
            serializer=conf.task_serializer,
            compression=conf.task_compression,
            delivery_mode=entity.exchange.delivery_mode or conf.task_default_delivery_mode,
            **message.properties,
        )


def _inherited_headers(app: Celery, task_id: str) -> dict[str, Any]:
    """Return the headers of the running task if the message is its own next one: that of a retry or a replacement."""
    sender = app.current_worker_task
    return (sender.request.headers or {}) if sender is not None and sender.request.id == task_id else {}


class _DroppedError(Exception):
    """A message that is not sent: its task has begun, has ended or was deleted since it was first sent."""


def _announce_sent(name: str, outgoing: Outgoing) -> None:
    """Send the signal that Celery sends after it has published: the task is accepted, and will run."""
    options = outgoing.options
    signals.after_task_publish.send(
        sender=name,
        body=outgoing.body,
        headers=outgoing.headers,
        exchange=options["exchange"],
        routing_key=options["routing_key"],
    )


def _record_message(
    backend: Backend, options: dict[str, Any], times: _Times, outgoing: Outgoing
) -> dict[str, Any] | None:
    """Store the record of a message, and return the headers to publish; None when it is not to be published now."""
    attempts = _record(backend, _new_task(backend, outgoing, options, times))
    if attempts is None:
        return None
    headers = dict(outgoing.headers)
    expires = headers.get(_EXPIRES)
    for name in _TIMES:
        # The worker shows the time in the task's request. Workers of an earlier version read the expiry from there too.
        if (text := headers.pop(name, None)) is not None:
            headers[ORIGINAL + name] = text
    if backend.stock is not None:
        # A stock worker reads the expiry from the message only.
        headers[_EXPIRES] = expires
    return {**headers, ATTEMPTS: attempts} if attempts else headers


def _record(backend: Backend, task: NewTask) -> int | None:
    """Store the record, or the next message in an existing one.

    Returns:
        The number of attempts that have begun, for the message; None when the task waits for its time.

    Raises:
        Ignore: the message is a retry by an attempt that does not hold its task any more.
        _DroppedError: the task takes no such message any more.
        DuplicateTaskIdError: the sender gave the id of another task.
    """
    sender = backend.app.current_worker_task
    own = attempt_of(sender.request) if sender is not None and sender.request.id == task.id else None
    if own is not None and own.is_sending_retry:
        if task.scheduled_for is not None and task.scheduled_for <= datetime.now(UTC):
            task = replace(task, scheduled_for=None)
        if not backend.store_retry(sender.request, task):
            raise Ignore("the task was taken away while it ran")
        return None if task.waits else own.number
    with _tokens.token(task.id) as token:
        new = replace(task, sender_token=token)
        attempts = backend.when_store_answers(lambda: _create_or_continue(backend, new, sender, is_own=own is not None))
    if own is not None:
        own.note_own_message()
    return attempts


def _create_or_continue(backend: Backend, task: NewTask, sender: Any, *, is_own: bool) -> int | None:
    if backend.store.is_deleted(task.id):
        check_not_deleted(sender, task.id)
        # For instance a step of a chain, sent again by a second attempt of the step before.
        logger.warning("Task %s was deleted: it is not sent", task.id)
        raise _DroppedError
    try:
        record = backend.store.change(writes.create(task), upsert=True)
    except DuplicateKeyError:
        known = backend.store.find(task.id)
        if known is not None and known.sender_token == task.sender_token:
            # An earlier try was taken, and its reply was lost.
            record = backend.store.confirm(known)
        else:
            if known is not None and not is_own:
                check_not_taken(sender, known)
            record = _continue(backend, task)
    if record is None:
        raise _DroppedError
    return None if record.status is Status.SCHEDULED else record.attempts


def _continue(backend: Backend, task: NewTask) -> TaskRecord | None:
    """Store the next message of a task; return None when the task takes no other message any more."""
    if task.waits:
        return backend.store.change(claims.postpone(task))
    return backend.store.note_one(claims.remember_message(task, backend.settings.lease_seconds))


def _pop_relative_times(headers: dict[str, Any]) -> _Times:
    countdown, expires = (headers.pop(_RELATIVE + name, None) for name in (_COUNTDOWN, _EXPIRES))
    return _Times(countdown, expires, headers.get("eta"), headers.get("expires"))


def _new_task(backend: Backend, outgoing: Outgoing, options: dict[str, Any], times: _Times) -> NewTask:
    headers, (args, kwargs, embed) = outgoing.headers, outgoing.body
    # The record keeps the times, because a message in a broker cannot be found, moved or cancelled. MongoDB compares an
    # absolute time with its own clock.
    eta, expires = headers.get("eta"), headers.get("expires")
    countdown = times.countdown if eta == times.eta else None
    expires_after = times.expires if expires == times.expires_at else None
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=list(backend.codec.json_form(args) or []),
        kwargs=dict(backend.codec.json_form(kwargs) or {}),
        metadata=_metadata(backend, headers),
        queue=queue_of(backend.app, _queue_name(options), _name(options.get("exchange")), options.get("routing_key")),
        priority=_priority(backend.app, outgoing.options),
        parent_id=parent_of_message(headers["parent_id"]),
        root_id=headers["root_id"],
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
    problems = values.check(metadata, (METADATA_HEADER,), backend.settings.metadata_max_bytes)
    if problems:
        raise ValueError("; ".join(f"{'.'.join(map(str, p.path))} {p.message}" for p in problems))
    return metadata


def _priority(app: Celery, options: Mapping[str, Any]) -> int:
    given = options.get("priority")
    return int((app.conf.task_default_priority if given is None else given) or 0)


def _queue_name(options: dict[str, Any]) -> str | None:
    return _name(options.get("queue"))


def _name(entity: Any) -> str | None:
    # Celery accepts queues and exchanges by name or as kombu's objects.
    name: str | None = getattr(entity, "name", entity)
    return name
