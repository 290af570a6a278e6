"""The messages of recorded tasks, made from their records and sent again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery.app.task import Context

from gql_api.dispatch import OperationalError, broker_errors, message_of
from gql_api.record import queries
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.messages import sent_at_header
from gql_api.worker.sending.batches import SHOWN, Batch
from gql_api.worker.sending.sent import note_sent

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

_MAX_LOGGED = 10

SENT = queries.Part.of(
    [
        "name", "args", "kwargs", "hidden", "queue", "priority", "parent_id", "root_id", "message", "attempts",
        "expires_at", "owner", "tenant", "due_at",
    ]
)  # fmt: skip
"""The part of a record that its message is made from."""


def publish(app: Celery, *records: TaskRecord) -> bool:
    """Send the messages of recorded tasks, several of them by one pipeline, and return whether the broker took them.

    A broker that is away is not an error: the tasks are still recorded as waiting, and recovery sends them again.
    """
    try:
        with broker_errors(), app.producer_or_acquire() as producer:
            if len(records) == 1:
                _send(app, producer, records[0])
            else:
                batch = Batch(app, producer)
                # It sends nothing if one of the messages cannot be made.
                with producer.batch(max_size=len(records)):
                    for record in records:
                        if not batch.add(record):
                            _send(app, producer, record)
                batch.send()
    except OperationalError as error:
        logger.warning("The broker did not take the messages of %d tasks: %s: %s", len(records), ids_of(records), error)
        return False
    note_sent(app.backend, {record.id: record.attempts for record in records})
    return True


def ids_of(records: Sequence[TaskRecord]) -> str:
    """Return the ids of some tasks, or the first of many, for a line of log."""
    return ", ".join([*(record.id for record in records[:_MAX_LOGGED]), *["..."] * (len(records) > _MAX_LOGGED)])


def request_of(app: Celery, record: TaskRecord) -> Any:
    """Return the request that a worker would make of the message."""
    headers, _, (args, kwargs, embed), _ = _message_of(app, record)
    return Context({**headers, **embed, "args": args, "kwargs": kwargs})


def _send(app: Celery, producer: Any, record: TaskRecord) -> None:
    message = _message_of(app, record, with_expiry=app.backend.stock is not None)
    message.headers.update(sent_at_header(record))
    app.amqp.send_unrecorded(producer, message, queue=record.queue, priority=record.priority)


def _message_of(app: Celery, record: TaskRecord, *, with_expiry: bool = False) -> Any:
    return message_of(app, record.as_sent(), with_expiry=with_expiry, **SHOWN)
