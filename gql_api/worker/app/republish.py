"""A recorded task's message, made from its record and sent once more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery.app.task import Context
from kombu.exceptions import BatchPublishError, OperationalError
from redis.exceptions import RedisError

from gql_api.dispatch import PIPELINED, message_of
from gql_api.record.reads import TaskRecord

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

# What a message shows people of its arguments. Who sent it first may have had reasons to hide them.
_HIDDEN = "..."


def publish(app: Celery, record: TaskRecord) -> None:
    """Send the message of a recorded task.

    When the broker does not take it, that is no error: the task is still recorded as waiting, and is found again.
    """
    publish_many(app, [record])


def publish_many(app: Celery, records: Sequence[TaskRecord]) -> None:
    """Send the messages of recorded tasks, several of them by one pipeline; as :func:`publish`."""
    try:
        with app.producer_or_acquire() as producer:
            if len(records) == 1:
                _send(app, producer, records[0])
                return
            with producer.batch(max_size=PIPELINED):
                for record in records:
                    _send(app, producer, record)
    except (BatchPublishError, OperationalError, RedisError, OSError) as error:
        logger.warning("The broker did not take the messages of %s: %s", [record.id for record in records], error)


def _send(app: Celery, producer: Any, record: TaskRecord) -> None:
    message = _message_of(app, record)
    app.amqp.send_unrecorded(
        producer, message.headers["task"], message, queue=record.queue, priority=record.priority, retry=False
    )


def request_of(app: Celery, record: TaskRecord) -> Any:
    """The request that a worker would make of the message."""
    headers, _, (args, kwargs, embed), _ = _message_of(app, record)
    return Context({**headers, **embed, "args": args, "kwargs": kwargs})


def _message_of(app: Celery, record: TaskRecord) -> Any:
    return message_of(app, record.as_sent(), argsrepr=_HIDDEN, kwargsrepr=_HIDDEN)
