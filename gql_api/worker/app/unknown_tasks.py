"""Messages of task functions that this worker does not know: they go back to the end of their queue, for others."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from pymongo.errors import PyMongoError

from gql_api.dispatch import PIPELINED, OperationalError, broker_errors
from gql_api.record import fields
from gql_api.record.fields import is_internal
from gql_api.registry import workers
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.messages import HOPS_HEADER, SENT_AT_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

logger = logging.getLogger(__name__)

# A message waits before it goes back to its queue. While a live worker knows its function, that worker may be idle, and
# the wait is short; otherwise it doubles each time.
_MIN_SECONDS = 0.1
_MAX_SECONDS = 5.0
_MAX_DOUBLINGS = 10
# The waits grow with the number of waiting messages, so that a worker does not forward more than these in a second.
_MAX_PER_SECOND = 100
# Waiting messages up to these bounds do not keep the worker from taking others. A worker that knows them needs a part.
_MAX_WAITING_IF_KNOWN = 50
_MAX_WAITING = 1000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_PAUSE_SECONDS = 1.0
_LOG_SECONDS = 60.0
# The properties that publishing sets.
_SET_ANEW = {"delivery_info", "delivery_mode", "delivery_tag", "body_encoding", "expiration", "priority"}


class UnknownTasks(bootsteps.StartStopStep):
    """A bootstep that replaces Celery's answer to a message of an unknown function, which is to fail the task.

    Celery's answer stays for Celery's own tasks.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._fail = parent.on_unknown_task
        self._forwarder: Forwarder | None = None

    def start(self, parent: Any) -> None:
        """Receive messages of unknown functions on a new connection."""
        backend = parent.app.backend
        if isinstance(backend, Backend):
            self._forwarder = self._forwarder or Forwarder(parent, backend)
            self._forwarder.start()
            parent.on_unknown_task = self._receive

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop passing messages on: a worker that stops restores those that it has not acknowledged."""
        if self._forwarder is not None:
            self._forwarder.stop()

    def _receive(self, body: Any, message: Any, error: KeyError) -> None:
        (name,) = error.args
        if is_internal(name) or self._forwarder is None:
            self._fail(body, message, error)
            return
        if _is_broadcast(message):
            message.ack_log_error(logger, self._forwarder.consumer.connection_errors)
        else:
            self._forwarder.add(name, message)
        signals.task_unknown.send(
            sender=self._forwarder.consumer, message=message, exc=error, name=name, id=_task_id(message)
        )


@dataclass(order=True, slots=True)
class _Waiting:
    due: float
    name: str = field(compare=False)
    task_id: str | None = field(compare=False)
    message: Any = field(compare=False)
    # Kept, because each connection has its own.
    prefetch: Any = field(compare=False)


class Forwarder:
    """A thread that forwards messages: after a while it sends a copy, then acknowledges the message.

    In this order a worker that dies loses no message. The claim makes a second message of a task harmless.
    """

    def __init__(self, consumer: Any, backend: Backend) -> None:
        self.consumer = consumer
        self._app = consumer.app
        self._backend = backend
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._count = 0
        self._bytes = 0
        self._running = 0
        self._known: set[str] = set()
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

    def add(self, name: str, message: Any) -> None:
        """Forward a message after a while. Called by the consumer's own thread, which does not wait."""
        is_known = name in self._known
        prefetch = None
        with self._changed:
            most = _MAX_WAITING_IF_KNOWN if is_known else _MAX_WAITING
            if self._count < most and self._bytes < _MAX_WAITING_BYTES:
                prefetch = self.consumer.qos
                prefetch.increment_eventually()
            self._count += 1
            self._bytes += len(message.body)
            doublings = 0 if is_known else min(_hops(message), _MAX_DOUBLINGS)
            wait = max(min(_MIN_SECONDS * 2**doublings, _MAX_SECONDS), self._count / _MAX_PER_SECOND)
            at = time.monotonic() + wait * random.uniform(0.5, 1.0)  # noqa: S311 - messages do not come in waves
            heapq.heappush(self._waiting, _Waiting(at, name, _task_id(message), message, prefetch))
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
                if self._waiting and self._waiting[0].due <= now:
                    batch: list[_Waiting] = []
                    while self._waiting and self._waiting[0].due <= now and len(batch) < PIPELINED:
                        batch.append(heapq.heappop(self._waiting))
                    return batch
                self._changed.wait(self._waiting[0].due - now if self._waiting else None)
        return []

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        with self._changed:
            for each in batch:
                # Not all at the same time: one of them may be the reason.
                each.due = time.monotonic() + _PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                heapq.heappush(self._waiting, each)

    def _forward(self, batch: Sequence[_Waiting]) -> None:
        ids = [each.task_id for each in batch if each.task_id is not None]
        # Recovery takes a message for lost that is older than the oldest of its queue. These are new again.
        over, sent_at = self._backend.store.note_sent_again(ids)
        self._note_workers({each.name for each in batch})
        with broker_errors(), self._app.producer_or_acquire() as producer, producer.batch(max_size=PIPELINED):
            for each in batch:
                if each.task_id not in over:
                    self._send(producer, each.message, sent_at.get(each.task_id or ""))
        for each in batch:
            self.consumer.call_soon(self._release, each)
        with self._changed:
            self._count -= len(batch)
            self._bytes -= sum(len(each.message.body) for each in batch)

    def _note_workers(self, names: set[str]) -> None:
        """Note which of the functions live workers of the same queues know, and log the others from time to time."""
        queues = sorted(self._app.amqp.queues.consume_from)
        found = self._backend.database[fields.WORKERS].aggregate(workers.knowing(sorted(names), queues))
        known = {name for document in found for name in workers.known_from(document)}
        self._known = (self._known - names) | known
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_SECONDS
            unknown = sorted(names - known)
            logger.warning(
                "This worker does not know %s and leaves the messages to others%s",
                ", ".join(sorted(names)),
                f"; no live worker knows {', '.join(unknown)}" if unknown else "",
            )

    def _send(self, producer: Any, message: Any, sent_at: datetime | None) -> None:
        exchange, routing_key = self._destination(message)
        properties = {name: value for name, value in message.properties.items() if name not in _SET_ANEW}
        expiration = message.properties.get("expiration")
        producer.publish(
            message.body,
            exchange=exchange,
            routing_key=routing_key,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            # kombu has decompressed the body.
            compression=message.headers.get("compression"),
            headers=_headers(message, sent_at),
            delivery_mode=message.properties.get("delivery_mode"),
            priority=message.properties.get("priority"),
            expiration=None if expiration is None else float(expiration) / 1000,
            **properties,
        )

    def _destination(self, message: Any) -> tuple[str, str]:
        """Return where a message goes to come back to the queue that it came from, and to no other queue."""
        exchange, routing_key = message.delivery_info["exchange"], message.delivery_info["routing_key"]
        if not exchange or message.channel.closed:
            return exchange, routing_key
        queues = message.channel._lookup(exchange, routing_key)  # noqa: SLF001 - kombu restores messages by it
        consumed = self._app.amqp.queues.consume_from
        return next((("", queue) for queue in queues if queue in consumed), (exchange, routing_key))

    def _release(self, each: _Waiting) -> None:
        """Acknowledge a message; run by the consumer's own thread."""
        if not each.message.channel.closed:
            each.message.ack_log_error(logger, self.consumer.connection_errors)
        if each.prefetch is not None:
            each.prefetch.decrement_eventually()


def _is_broadcast(message: Any) -> bool:
    """Return whether each worker has received a copy of its own."""
    return bool(message.channel.typeof(message.delivery_info["exchange"]).type == "fanout")


def _headers(message: Any, sent_at: datetime | None) -> dict[str, Any]:
    """Return all headers of a message, with this hop, and with the time of this sending instead of an earlier one."""
    headers = {**message.headers, HOPS_HEADER: _hops(message) + 1}
    headers.pop(SENT_AT_HEADER, None)
    return headers if sent_at is None else {**headers, SENT_AT_HEADER: sent_at.isoformat()}


def _hops(message: Any) -> int:
    hops = message.headers.get(HOPS_HEADER)
    return hops if isinstance(hops, int) and hops > 0 else 0


def _task_id(message: Any) -> str | None:
    # The first version of Celery's messages has the id in its body, which is decoded by now.
    task_id = message.headers.get("id") or message.payload.get("id")
    return None if task_id is None else str(task_id)
