"""The guard of the consumer: a message that cannot be handled is set aside, and the worker goes on.

Celery and kombu take each message for one of their own. Whatever else a queue has would raise an error that ends the
worker, and the next one, when the message comes back.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from queue import Empty
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.exceptions import InvalidTaskError
from celery.worker import state
from kombu.utils.json import dumps

from gql_api.outage import is_outage
from gql_api.record import claims, fields
from gql_api.telemetry import counters
from gql_api.worker.app import message_checks
from gql_api.worker.app.rejected_messages import RejectedMessages
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.republish import request_of
from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.state.process import background_thread

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

# Remote control, and the events of other workers.
_CONTROL = "of remote control"


class MessageGuard(bootsteps.StartStopStep):
    """A bootstep that checks what the queues have before kombu and Celery handle it."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        backend = parent.app.backend
        self._guard = _Guard(parent, backend) if isinstance(backend, Backend) else None
        if self._guard is not None:
            # kombu restores messages as soon as the worker is connected.
            connect, create = parent.connection_for_read, parent.create_task_handler
            parent.connection_for_read = functools.partial(self._guard.connect, connect)
            parent.create_task_handler = functools.partial(self._guard.create_handler, create)

    def start(self, parent: Any) -> None:
        """Guard the queues of a new connection."""
        # Without it, kombu keeps messages in no list of Redis.
        if self._guard is not None and parent.task_consumer.channel.ack_emulation:
            self._guard.guard_queues(parent.task_consumer)


class _Guard:
    """The guard of one worker."""

    def __init__(self, consumer: Any, backend: Backend) -> None:
        self._consumer = consumer
        self._backend = backend
        self._rejected = RejectedMessages(backend.settings.rejected_messages_max)
        self._channel: Any = None
        # What Redis has just returned, until it is decoded.
        self._raw: tuple[str, bytes] | None = None
        self._errors = (*consumer.connection_errors, Empty)

    def connect(self, connect: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return a new connection, which is guarded."""
        connection = connect(*args, **options)
        transport = connection.transport
        transport._deliver = functools.partial(self._deliver, transport._deliver)  # noqa: SLF001 - kombu's name
        transport.create_channel = functools.partial(self._create_channel, transport.create_channel)
        for channel in transport.channels:
            self._guard_channel(channel)
        return connection

    def guard_queues(self, task_consumer: Any) -> None:
        """Replace the methods that decode messages of the queues."""
        self._channel = channel = task_consumer.channel
        task_consumer.on_decode_error = self._reject_undecodable
        channel.client.parse_response = functools.partial(self._note_response, channel.client.parse_response)
        channel.handlers["BRPOP"] = functools.partial(self._read, channel.handlers["BRPOP"])

    def create_handler(self, create: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
        """Return Celery's handler of messages, behind the check of each message."""
        return functools.partial(self._handle, create())

    def _note_response(self, parse: Callable[..., Any], connection: Any, command: str, **options: Any) -> Any:
        response = parse(connection, command, **options)
        if command == "BRPOP":
            self._raw = response or None
        return response

    def _read(self, read: Callable[..., Any], **options: Any) -> Any:
        """Read the next message. What cannot be decoded counts as no message."""
        try:
            return read(**options)
        except self._errors:
            raise
        except Exception as error:
            # kombu decodes the response, then delivers the message: the latter has its own guards.
            if self._raw is None:
                raise
            key, raw = self._raw
            self._reject_raw(_text(key), raw, message_checks.of_error(error))
            raise Empty from None
        finally:
            self._raw = None

    def _deliver(self, deliver: Callable[[Any, str], Any], payload: Any, queue: str) -> Any:
        """Deliver a decoded message to the consumers of a queue, if it is one."""
        raw, self._raw = self._raw, None
        problem = message_checks.envelope_problem(payload)
        tasks = self._consumer.task_consumer
        if tasks is not None and tasks.consuming_from(queue):
            if problem is None:
                return deliver(payload, queue)
            return self._reject_raw(queue, dumps(payload) if raw is None else raw[1], problem)  # type: ignore[no-untyped-call] # kombu has no types
        try:
            if problem is None:
                return deliver(payload, queue)
        except self._errors:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a wrong message makes its handlers raise
            problem = message_checks.of_error(error)
        return self._reject_raw(_CONTROL, b"", problem)

    def _reject_raw(self, queue: str, raw: bytes | str, problem: str) -> None:
        if queue == _CONTROL:
            logger.error("A message %s cannot be handled: %s", _CONTROL, problem)
        else:
            # The list of a priority has the name of its queue, a separator and the priority.
            self._rejected.add(self._channel, queue.split(self._channel.sep, 1)[0], raw, problem)

    def _create_channel(self, create: Callable[[Any], Any], connection: Any) -> Any:
        channel = create(connection)
        self._guard_channel(channel)
        return channel

    def _guard_channel(self, channel: Any) -> None:
        """Guard the restoring of messages, which any channel may do, and what channels of remote control receive."""
        if not isinstance(channel.qos.restore_by_tag, functools.partial):
            channel.qos.restore_by_tag = functools.partial(self._restore, channel, channel.qos.restore_by_tag)
            channel.handlers["LISTEN"] = functools.partial(self._listen, channel.handlers["LISTEN"])

    def _listen(self, listen: Callable[..., Any], **options: Any) -> Any:
        try:
            return listen(**options)
        except self._errors:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a wrong message makes kombu raise
            self._reject_raw(_CONTROL, b"", message_checks.of_error(error))
            raise Empty from None

    def _restore(self, channel: Any, restore: Callable[..., Any], tag: str, client: Any = None, **options: Any) -> Any:
        """Put an unacknowledged message back into its queue, if it is one."""
        with channel.conn_or_acquire(client) as connected:
            entry = connected.hget(channel.unacked_key, tag)
            problem = None if entry is None else message_checks.unacknowledged_problem(entry)
            if problem is not None:
                self._rejected.add(channel, channel.unacked_key, entry, problem)
                channel.qos._remove_from_indices(tag).execute()  # noqa: SLF001 - kombu's name
                return None
        return restore(tag, client, **options)

    def _handle(self, handle: Callable[[Any], Any], message: Any) -> Any:
        """Handle a message as Celery does, unless that would end the worker."""
        try:
            problem = message_checks.message_problem(message, self._consumer.app.timezone)
            if problem is None:
                refusal = self._backend.owners.refusal(message_checks.headers_of(message))
                return handle(message) if refusal is None else self._refuse(message, refusal)
        except self._errors:
            raise
        except Exception as error:
            # What a running task raises is not the message's fault.
            if is_outage(error) or message_checks.task_id_of(message) in state.requests or message.acknowledged:
                raise
            logger.debug("A message cannot be handled", exc_info=True)
            problem = message_checks.of_error(error)
        return self._reject(message, problem)

    def _reject_undecodable(self, message: Any, error: Exception) -> None:
        self._reject(message, f"body: {message_checks.of_error(error)}")

    def _refuse(self, message: Any, problem: str) -> None:
        """Set a message with a forged owner aside. A task that has its id is another one's, and stays as it is."""
        counters.OWNERS_REFUSED.inc()
        self._set_aside(message, problem, message_checks.task_id_of(message))

    def _set_aside(self, message: Any, problem: str, task_id: str | None) -> None:
        queue = str(message.delivery_info.get("routing_key"))
        self._rejected.add(self._channel, queue, dumps(message._raw), problem, task_id or "")  # type: ignore[no-untyped-call] # noqa: SLF001 - kombu has no types; the message as kombu stores it
        message.reject_log_error(logger, self._consumer.connection_errors)

    def _reject(self, message: Any, problem: str) -> None:
        task_id = message_checks.task_id_of(message)
        self._set_aside(message, problem, task_id)
        if task_id is not None:
            background_thread.submit(functools.partial(_fail, self._consumer.app, self._backend, task_id, problem))


def _fail(app: Celery, backend: Backend, task_id: str, problem: str) -> None:
    """Fail the task of a message that cannot be handled, if it waits: its next message would be the same."""
    record = backend.when_store_answers(lambda: backend.store.find(task_id))
    if record is None or record.status not in fields.WAITING:
        return
    request = request_of(app, record)
    attempt_of(request).act_under({**claims.waiting(), fields.ATTEMPTS: record.attempts})
    backend.mark_as_failure(task_id, InvalidTaskError(f"its message cannot be handled: {problem}"), request=request)


def _text(key: bytes | str) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else key
