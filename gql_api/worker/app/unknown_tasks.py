"""Messages of task functions, or of versions of them, that this worker does not have: it leaves them to others.

They go back to the end of their queue.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.exceptions import InvalidTaskError
from kombu.transport.virtual import QoS
from pymongo.errors import PyMongoError

from gql_api.dispatch import PIPELINED, OperationalError, broker_errors
from gql_api.record import fields
from gql_api.record.fields import VERSION_HEADER, is_internal
from gql_api.registry import workers
from gql_api.worker.app import requeue
from gql_api.worker.backend.backend import Backend
from gql_api.worker.registration.other_versions import OtherVersion, Strategies, Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

# A message waits before it goes back to its queue. While a live worker knows its function, that worker may be idle, and
# the wait is short; otherwise it doubles each time.
_MIN_SECONDS = 0.1
_MAX_SECONDS = 5.0
_MAX_DOUBLINGS = 10
# Recovery takes a message for lost that is in no queue for a lease, so each wait is a part of that at most.
_WAITS_PER_LEASE = 2
# The waits grow with the number of waiting messages, so that a worker forwards about as many in a second.
_PER_SECOND = 100
# Messages are forwarded together with those that come due so much later.
_COLLECT_SECONDS = 0.1
# How long a worker relies on what others have announced.
_KNOWN_SECONDS = 1.0
# Waiting messages up to these bounds do not keep the worker from taking others. A worker that knows them needs a part.
_MAX_WAITING_IF_KNOWN = 50
_MAX_WAITING = 1000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_PAUSE_SECONDS = 1.0
_LOG_SECONDS = 60.0


class UnknownTasks(bootsteps.StartStopStep):
    """A bootstep that replaces Celery's answer to a message of an unknown function, which is to fail the task.

    Celery's answer stays for Celery's own tasks.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        parent.strategies = Strategies(self._leave)
        self._fail = parent.on_unknown_task
        self._reject = parent.on_unknown_message
        self._forwarder: Forwarder | None = None

    def start(self, parent: Any) -> None:
        """Receive messages of unknown functions on a new connection."""
        backend = parent.app.backend
        # Without it kombu keeps messages nowhere while a worker has them.
        if isinstance(backend, Backend) and parent.task_consumer.channel.ack_emulation:
            self._forwarder = self._forwarder or Forwarder(parent, backend)
            self._forwarder.start()
            parent.on_unknown_task = self._receive

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop passing messages on: a worker that stops restores those that it has not acknowledged."""
        if self._forwarder is not None:
            self._forwarder.stop()

    def _leave(self, name: str, message: Any, receive: Callable[[], Any]) -> bool:
        forwarder = self._forwarder
        # Nearly all messages are for the worker's version, and no other bootstep decodes them.
        if forwarder is None or VERSION_HEADER not in message.headers:
            return False
        other = forwarder.versions.other_version(name, message)
        if other is None or requeue.is_broadcast(message):
            return False
        forwarder.add(other.version, message, other, receive)
        return True

    def _receive(self, body: Any, message: Any, error: KeyError) -> None:
        (name,), task_id = error.args, requeue.task_id_of(message)
        forwarder = self._forwarder
        if forwarder is None or not isinstance(name, str) or (is_internal(name) and task_id is None):
            # Nothing that a Celery program sends: Celery's other methods would raise, which ends the worker.
            self._reject(body, message)
            return
        if is_internal(name):
            self._fail(body, message, error)
            return
        if requeue.is_broadcast(message):
            message.ack_log_error(logger, forwarder.consumer.connection_errors)
        else:
            forwarder.add(name, message)
        signals.task_unknown.send(sender=forwarder.consumer, message=message, exc=error, name=name, id=task_id)


@dataclass(order=True, slots=True)
class _Waiting:
    due: float
    name: str = field(compare=False)
    task_id: str | None = field(compare=False)
    message: Any = field(compare=False)
    # Kept, because each connection has its own.
    prefetch: Any = field(compare=False)
    # Of a message for another version of a known function.
    other: OtherVersion | None = field(compare=False)
    receive: Callable[[], Any] | None = field(compare=False)


class Forwarder:
    """A thread that forwards messages: after a while it moves each to the end of its queue, by one step of Redis.

    So a worker that dies loses no message, and whatever is repeated after an error, no message becomes two. Messages
    are moved by their delivery tags, also those whose own connection was lost.
    """

    def __init__(self, consumer: Any, backend: Backend) -> None:
        self.consumer = consumer
        self._app = consumer.app
        self._backend = backend
        self.versions = Versions(consumer.app, backend)
        self._max_seconds = min(_MAX_SECONDS, backend.settings.lease_seconds / _WAITS_PER_LEASE)
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._count = 0
        self._bytes = 0
        self._running = 0
        self._known: set[str] = set()
        self._asked: set[str] = set()
        self._ask_at = 0.0
        self._log_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        with self._changed:
            self._running += 1
            threading.Thread(target=self._run, args=(self._running,), name="forwarder", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread. Messages of a lost connection wait for the next start."""
        with self._changed:
            self._running += 1
            self._changed.notify()

    def add(
        self,
        name: str,
        message: Any,
        other: OtherVersion | None = None,
        receive: Callable[[], Any] | None = None,
    ) -> None:
        """Forward a message after a while. Called by the consumer's own thread, which does not wait.

        One with an ``other`` version is received by this worker if no worker has that version, or will have it.
        """
        is_known = name in self._known
        prefetch = None
        with self._changed:
            most = _MAX_WAITING_IF_KNOWN if is_known else _MAX_WAITING
            if self._count < most and self._bytes < _MAX_WAITING_BYTES:
                prefetch = self.consumer.qos
                prefetch.increment_eventually()
            self._count += 1
            self._bytes += len(message.body)
            doublings = 0 if is_known else min(requeue.hops_of(message), _MAX_DOUBLINGS)
            wait = min(max(_MIN_SECONDS * 2**doublings, self._count / _PER_SECOND), self._max_seconds)
            at = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311 - messages do not come in waves
            heapq.heappush(
                self._waiting, _Waiting(at, name, requeue.task_id_of(message), message, prefetch, other, receive)
            )
            self._changed.notify()

    def _run(self, number: int) -> None:
        while batch := self._next(number):
            try:
                self._forward(batch)
            except (PyMongoError, OperationalError) as error:
                logger.warning("%d messages of unknown tasks wait on: %s", len(batch), error)
                self._put_back(batch)
            except Exception:
                logger.exception("%d messages of unknown tasks could not be forwarded", len(batch))
                self._put_back(batch)

    def _next(self, number: int) -> list[_Waiting]:
        """Wait for messages whose time has come, and return them; none when this thread has to stop."""
        with self._changed:
            while self._running == number:
                now = time.monotonic()
                if self._waiting and self._waiting[0].due + _COLLECT_SECONDS <= now:
                    batch: list[_Waiting] = []
                    while self._waiting and self._waiting[0].due <= now and len(batch) < PIPELINED:
                        batch.append(heapq.heappop(self._waiting))
                    return batch
                self._changed.wait(self._waiting[0].due + _COLLECT_SECONDS - now if self._waiting else None)
        return []

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        pause = min(_PAUSE_SECONDS, self._max_seconds)
        with self._changed:
            for each in batch:
                # Not all at the same time: one of them may be the reason.
                each.due = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                heapq.heappush(self._waiting, each)

    def _forward(self, batch: Sequence[_Waiting]) -> None:
        ids = [each.task_id for each in batch if each.task_id is not None]
        # Recovery takes a message for lost that is older than the oldest of its queue. These are new again.
        over, sent_at = self._backend.store.note_sent_again(ids)
        self._note_workers({each.name for each in batch})
        self.versions.note([each.other for each in batch if each.other is not None], self._known)
        # A message of a connection that was lost comes back by the next one.
        stays = [self.versions.is_left_over(each.other) and not each.message.channel.closed for each in batch]
        here = list(itertools.compress(batch, stays))
        moved = [each for each, is_here in zip(batch, stays, strict=True) if not is_here]
        channel, consumed = self._channel(), self._app.amqp.queues.consume_from
        with broker_errors(), channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipeline:
            for each in moved:
                if each.task_id in over:
                    channel.qos._remove_from_indices(each.message.delivery_tag, pipeline)  # noqa: SLF001 - kombu's name
                else:
                    requeue.move_to_end(pipeline, channel, each.message, consumed, sent_at.get(each.task_id or ""))
            pipeline.execute()
        for each in moved:
            self.consumer.call_soon(self._release, each)
        for each in here:
            self.consumer.call_soon(self._start, each)
        with self._changed:
            self._count -= len(batch)
            self._bytes -= sum(len(each.message.body) for each in batch)

    def _channel(self) -> Any:
        """Return the channel of the connection that the worker has now.

        Raises:
            OperationalError: it has none.
        """
        consumer = self.consumer.task_consumer
        if consumer is None or consumer.channel.closed:
            raise OperationalError("the connection was lost")
        return consumer.channel

    def _note_workers(self, names: set[str]) -> None:
        """Note which of the functions live workers of the same queues know, and log the others from time to time."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._asked = set()
            self._ask_at = now + _KNOWN_SECONDS
        names = names - self._asked
        if not names:
            return
        self._asked |= names
        queues = sorted(self._app.amqp.queues.consume_from)
        found = self._backend.database[fields.WORKERS].aggregate(workers.knowing(sorted(names), queues))
        known = {name for document in found for name in workers.known_from(document)}
        self._known = (self._known - names) | known
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_SECONDS
            unknown = sorted(names - known)
            logger.warning(
                "This worker does not know %s and leaves the messages to others%s%s",
                ", ".join(sorted(names)),
                " (a # precedes the version of a signature)" if any("#" in name for name in names) else "",
                f"; no live worker knows {', '.join(unknown)}" if unknown else "",
            )

    def _start(self, each: _Waiting) -> None:
        """Let this worker receive a message after all; run by the consumer's own thread."""
        if each.prefetch is not None:
            each.prefetch.decrement_eventually()
        if each.message.channel.closed or each.receive is None:
            self.add(each.name, each.message, each.other, each.receive)
            return
        try:
            each.receive()
        except InvalidTaskError as error:
            # As Celery's consumer does.
            self.consumer.on_invalid_task(None, each.message, error)

    def _release(self, each: _Waiting) -> None:
        """Make room for another message; run by the consumer's own thread."""
        if not each.message.channel.closed:
            # Only in this process: in Redis the message is moved.
            QoS.ack(each.message.channel.qos, each.message.delivery_tag)  # type: ignore[no-untyped-call] # kombu has no types
        if each.prefetch is not None:
            each.prefetch.decrement_eventually()
