"""Bootsteps of the consumer: for messages when the broker is lost, for answers of the broker, for polls of gevent."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

import redis.exceptions
from celery import bootsteps
from celery.worker import control, state
from celery.worker.control import control_command, inspect_command
from kombu.transport.virtual import QoS

from gql_api.worker.backend.backend import Backend
from gql_api.worker.state.consumption import consumption

logger = logging.getLogger(__name__)

# How long a worker without an event loop waits for a message before it handles the tasks that have ended.
_WAIT_SECONDS = 0.05
# After an acknowledgement that took too long, others are left out for this time. kombu replaces the worker's connection
# within it if that does not answer either.
_PAUSE_SECONDS = 10.0


class NoRestore(bootsteps.StartStopStep):
    """A bootstep that keeps a worker from restoring unacknowledged messages when it loses the broker.

    kombu restores them over a new connection while it closes the lost one. When the broker is away that fails, and
    ends the worker. Instead the tasks run on, and recovery sends again those that were not started. A worker that
    stops still restores the messages of tasks that it has not started.

    While stock workers share the queues, recovery cannot know who has such a message. The worker then restores the
    messages of tasks that it has not started, as soon as it has a connection again.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._unstarted: list[str] = []

    def start(self, parent: Any) -> None:
        """Turn restoring off for a new connection, and restore what the last one has left."""
        channel = parent.task_consumer.channel
        channel.do_restore = False
        while self._unstarted:
            channel.qos.restore_by_tag(self._unstarted[-1])
            self._unstarted.pop()

    def stop(self, parent: Any) -> None:
        """Turn restoring on if the worker stops, not if only the connection ends."""
        if parent.task_consumer is None:
            return
        channel = parent.task_consumer.channel
        if state.should_stop is not None or state.should_terminate is not None:
            channel.do_restore = True
        elif isinstance(parent.app.backend, Backend) and parent.app.backend.stock is not None:
            started = {request.message.delivery_tag for request in tuple(state.active_requests)}
            channel.qos._flush()  # noqa: SLF001 - without those that are acknowledged
            self._unstarted += [tag for tag in channel.qos._delivered if tag not in started]  # noqa: SLF001 - kombu's name


class TolerantAcks(bootsteps.StartStopStep):
    """A bootstep that acknowledges and rejects messages without an error, whatever becomes of their connection.

    Celery defers both to the next turn of its event loop. By then the connection may be gone, and kombu's channel with
    it: kombu's error about that ends the worker. If only the connection of the acknowledgement is lost, kombu would
    count its message among those that the worker holds, and the worker would take one message less from then on.

    The broker delivers such a message once more, and its claim is refused.

    Where an acknowledgement runs into a timeout, the event loop waits for it. So the next ones do not wait as well.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Replace both methods of a new channel."""
        channel = parent.task_consumer.channel
        settling = _Settling(channel)
        channel.basic_ack = functools.partial(settling.settle, channel.basic_ack)
        channel.basic_reject = functools.partial(settling.settle, channel.basic_reject)


class _Settling:
    """The acknowledgements and rejections of one channel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._pauses_until = 0.0

    def settle(self, settle: Callable[..., None], delivery_tag: str, **options: Any) -> None:
        """Acknowledge or reject a message, in Redis if that answers, and in this process anyway."""
        channel = self._channel
        if channel.closed:
            return
        if time.monotonic() >= self._pauses_until:
            try:
                settle(delivery_tag, **options)
            except channel.connection_errors as error:
                logger.warning("The broker does not answer, a message stays unacknowledged: %r", error)
                # Other errors come at once. Not until the connection is replaced, which is another one: that for polls.
                if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
                    self._pauses_until = time.monotonic() + _PAUSE_SECONDS
            else:
                consumption.answered()
                return
        # Only in this process: the worker has room for another message.
        QoS.ack(channel.qos, delivery_tag)  # type: ignore[no-untyped-call] # kombu has no types


class KeepClient(bootsteps.StartStopStep):
    """A bootstep that keeps the Redis client with which a channel notes and acknowledges messages.

    kombu makes a new one for each of these calls. For a task that does nothing, that would be a tenth of the time of
    the worker's main process.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Replace the method of a new channel."""
        channel = parent.task_consumer.channel
        channel._create_client = _KeptClient(channel).get  # noqa: SLF001 - kombu's name


class _KeptClient:
    """The client of one channel for its current pool of connections, which threads may share."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._create = channel._create_client  # noqa: SLF001 - kombu's name
        self._client: Any = None

    def get(self, asynchronous: bool = False) -> Any:
        """Return the client, or a new one with connections for the event loop."""
        if asynchronous:
            return self._create(asynchronous=True)
        if self._client is None or self._client.connection_pool is not self._channel.pool:
            self._client = self._create()
        return self._client


class NoteAnswers(bootsteps.StartStopStep):
    """A bootstep that notes each answer of the broker to the worker's requests for messages.

    A heartbeat alone would not show that a worker takes no more tasks.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Note that there is a new connection, and its answers."""
        channel = parent.task_consumer.channel
        channel.handlers["BRPOP"] = functools.partial(_read, channel.handlers["BRPOP"])
        consumption.begin(channel.qos.can_consume)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Note that the connection is lost, or closed."""
        consumption.end()


def _read(read: Callable[[], Any]) -> Any:
    try:
        message = read()
    except Empty:
        consumption.answered()
        raise
    consumption.answered()
    return message


@inspect_command()
def consuming(state: Any) -> dict[str, bool]:  # noqa: ARG001 - Celery's signature
    """Return whether the worker consumes: the broker answers it, or it has no room for more messages."""
    return {"consuming": consumption.is_going_on}


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)], signature="<task_name> <soft_secs> [hard_secs]"
)
def time_limit(
    state: Any,
    task_name: str | None = None,
    hard: float | None = None,
    soft: float | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Change the time limits of the tasks of a function."""
    reply: dict[str, Any] = control.time_limit(state, task_name, hard=hard, soft=soft)
    # Celery's command leaves the limits of the consumer as they were when it connected.
    state.consumer.update_strategies()
    return reply


class EagerPolling(bootsteps.StartStopStep):
    """A bootstep that lets a busy gevent worker take its next task as soon as another has ended.

    The worker has no event loop: between two waits for a message it acknowledges the tasks that have ended and makes
    room for more. Celery's waits last two seconds.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Shorten the waits on a new connection."""
        transport = parent.connection.transport
        if parent.hub is None:
            transport.drain_events = functools.partial(_drain_events, transport.drain_events)


def _drain_events(drain: Callable[..., None], connection: Any, timeout: float | None = None) -> None:
    drain(connection, timeout=_WAIT_SECONDS if timeout is None else min(timeout, _WAIT_SECONDS))
