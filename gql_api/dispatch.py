"""How a recorded task becomes a message: what every publisher and every worker must agree on, and the publisher."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.utils import json as kombu_json
from redis.exceptions import RedisError

from gql_api.record.model import MessageParts, NewTask
from gql_api.settings import Settings

__all__ = [
    "JSON_ONLY",
    "PIPELINED",
    "PRIORITIES",
    "PRIORITY_STEPS",
    "Dispatcher",
    "OperationalError",
    "can_carry",
    "message_of",
    "protocol_config",
    "time_limited",
]

# The only content of messages and results: anything that can run code stays out.
JSON_ONLY = {"task_serializer": "json", "result_serializer": "json", "accept_content": ["json"]}

# Every priority has a list of its own in Redis, 0 first; kombu's default has four for all ten.
PRIORITIES = range(10)
PRIORITY_STEPS = {"priority_steps": list(PRIORITIES)}

_CONNECT_SECONDS = 2.0
# So many messages go into one pipeline.
PIPELINED = 500


def protocol_config(settings: Settings) -> dict[str, Any]:
    """The part of Celery's configuration that publishers and workers share. JSON only, both ways."""
    return {
        # Each of the three, for Celery would let an environment variable of its own go before ``broker_url``.
        "broker_url": settings.celery_broker_url,
        "broker_read_url": settings.celery_broker_url,
        "broker_write_url": settings.celery_broker_url,
        **JSON_ONLY,
        "enable_utc": True,
    }


def can_carry(value: Any) -> bool:
    """Whether a JSON value survives the reading side of kombu's JSON.

    An object of exactly ``__type__`` and ``__value__`` is kombu's word for a typed value; one that it cannot read would
    make the worker throw the whole message away.
    """
    try:
        kombu_json.loads(json.dumps(value))  # type: ignore[no-untyped-call] # kombu has no types
    except Exception:  # noqa: BLE001 - a decoder of kombu's may raise anything on a made-up value
        return False
    return True


def time_limited(seconds: float | None) -> MessageParts | None:
    """What a message carries for a hard time limit of its own; nothing without one."""
    return None if seconds is None else MessageParts(headers={"timelimit": [seconds, None]})


def message_of(app: Celery, task: NewTask, **shown: str) -> Any:
    """The message of a task, as Celery's ``as_task_v2`` makes it. ``shown`` is what people see of the arguments."""
    parts = task.message or MessageParts()
    message = app.amqp.as_task_v2(
        task.id,
        parts.task or task.name,
        task.args if parts.args is None else parts.args,
        task.kwargs if parts.kwargs is None else parts.kwargs,
        root_id=task.root_id or task.id,
        parent_id=task.parent_id,
        # The task's own, which only workers know, unless its message said otherwise.
        ignore_result=None,
        **shown,
    )
    message.headers.update(parts.headers)
    message.body[2].update(parts.embed)
    return message


class Dispatcher:
    """Publishes recorded tasks to the broker. Thread-safe; each call blocks for a round trip."""

    def __init__(self, settings: Settings) -> None:
        # An app of its own, with no task functions and no backend, that does not become the process's current app.
        self._app = Celery("gql_api.dispatch", set_as_current=False)
        # Not by ``result_backend``, which an environment variable of Celery's would override.
        self._app.backend_cls = "disabled"
        self._app.conf.update(
            protocol_config(settings),
            broker_connection_timeout=_CONNECT_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": _CONNECT_SECONDS,
                "socket_timeout": settings.store_timeout_seconds,
                **PRIORITY_STEPS,
            },
            task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0.1},
        )

    def publish(self, tasks: Sequence[NewTask]) -> None:
        """Send the messages of some tasks, several of them by one pipeline.

        Raises:
            OperationalError: the broker did not take them; it may have some.
        """
        try:
            with self._app.producer_or_acquire() as producer:
                if len(tasks) == 1:
                    self._send(producer, tasks[0], retry=True)
                    return
                with producer.batch(max_size=PIPELINED):
                    for task in tasks:
                        self._send(producer, task, retry=False)
        except (BatchPublishError, RedisError, OSError) as error:
            raise OperationalError(str(error)) from error

    def _send(self, producer: Any, task: NewTask, *, retry: bool) -> None:
        message = message_of(self._app, task)
        name = message.headers["task"]
        self._app.amqp.send_task_message(producer, name, message, queue=task.queue, priority=task.priority, retry=retry)

    def close(self) -> None:
        """Close the broker connections."""
        # kombu keeps one pool a process for each broker address. Emptied only, it would let the next dispatcher wait
        # for a connection for ever.
        pool = self._app.pool
        pool.force_close_all(close_pool=False)
        pool.setup()
        self._app.close()
