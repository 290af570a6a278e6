"""The only place through which an adopted Celery app sends tasks: each gets its record before its message leaves."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.app.amqp import AMQP
from celery.canvas import Signature, maybe_signature

from gql_api.dispatch import OperationalError, broker_errors
from gql_api.record.fields import VERSION_HEADER, is_internal
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.canvas import check_chords
from gql_api.worker.backend.messages import (
    OF_ONE_MESSAGE,
    text_id,
)
from gql_api.worker.registration.versions import is_for_another_version, version_header, with_versions
from gql_api.worker.sending.configuration import check, check_connection, encoding_problem
from gql_api.worker.sending.hidden_arguments import inherited_texts, note_texts, pop_own_texts, redact_texts
from gql_api.worker.sending.new_tasks import note_relative_times, pop_relative_times
from gql_api.worker.sending.purge import connection_class
from gql_api.worker.sending.recording import DroppedError, note_message_sent, record_message
from gql_api.worker.sending.recording_producer import Outgoing, RecordingProducer
from gql_api.worker.state.unrecorded import UNRECORDED, skip_unrecorded_sender

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

_AS_TASK = inspect.signature(AMQP.as_task_v2)
_IDS = ("task_id", "root_id", "parent_id")


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

        Celery makes absolute times of them by the clock of this process, which may be wrong. The next message of a task
        has the texts for arguments that its first sender gave, and the message notes which texts no sender gave.
        """
        bound = _AS_TASK.bind(self, *args, **kwargs)
        given = bound.arguments
        given.update({name: text_id(given[name]) for name in _IDS if name in given})
        given.update(inherited_texts(self.app, given))
        message = super().as_task_v2(*bound.args[1:], **bound.kwargs)
        note_relative_times(message.headers, given)
        note_texts(message.headers, given)
        return message

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()

        def record_and_send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            if problem := encoding_problem(options.get("serializer"), options.get("compression")):
                raise ValueError(f"task {name}: {problem}")
            if "record" in options:
                raise TypeError(f"task {name}: record belongs to the function, not to a call: @app.task(record=False)")
            backend = self.app.backend
            times, own_texts = pop_relative_times(message.headers), pop_own_texts(message.headers)
            if not isinstance(backend, Backend):
                return send(producer, name, message, **options)
            if is_internal(name) and not backend.is_recorded(message.headers["id"]):
                return send(producer, name, message, **options)
            redact_texts(backend, message, own_texts)
            check_chords(self.app, message.body[2]["chain"])
            skip_unrecorded_sender(self.app, message.headers)
            if backend.unrecorded.sends(name, message.headers["id"]):
                own = backend.owners.headers_without_record(message.headers)
                options["headers"] = {**own, **(options.get("headers") or {}), UNRECORDED: True}
                return send(producer, name, message, **options)
            options["headers"] = _own_headers(self.app, name, message, options.get("headers") or {})
            message.body[2].update(with_versions(self.app, message.body[2]))
            record = functools.partial(record_message, backend, options, times, own_texts)
            recording = RecordingProducer(producer, record, functools.partial(note_message_sent, backend))
            try:
                with broker_errors():
                    return send(recording, name, message, **options)
            except DroppedError:
                return None
            except OperationalError as error:
                if recording.outgoing is None:
                    raise
                task_id = message.headers["id"]
                logger.warning("Task %s is recorded, but the broker did not take its message: %s", task_id, error)
                _announce_sent(name, recording.outgoing)
                return None

        return record_and_send

    def with_versions(self, signature: Signature) -> Signature:
        """Return a signature that is stored and sent later, with the versions of functions that this process has."""
        return maybe_signature(with_versions(self.app, signature), app=self.app)

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


def _own_headers(app: Celery, name: str, message: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers of a message beside Celery's own: the sender's, inherited ones, and the function's version."""
    own = {**_inherited_headers(app, message.headers["id"]), **given}
    headers = {key: value for key, value in own.items() if key not in OF_ONE_MESSAGE}
    if is_for_another_version(app, name, own, *message.body[:2]):
        return {**headers, VERSION_HEADER: own[VERSION_HEADER]}
    return {**headers, **version_header(app, name)}


def _inherited_headers(app: Celery, task_id: str) -> dict[str, Any]:
    """Return the headers of the running task if the message is its own next one: that of a retry or a replacement."""
    sender = app.current_worker_task
    return (sender.request.headers or {}) if sender is not None and sender.request.id == task_id else {}


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
