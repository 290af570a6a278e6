"""How a recorded task becomes a message: what every publisher and every worker must agree on, and the publisher."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils import json as kombu_json

from jobs.record.details import NewTask
from jobs.settings import Settings

__all__ = ["JSON_ONLY", "Dispatcher", "OperationalError", "can_carry", "protocol_config"]

# The only content of messages and results: anything that can run code stays out.
JSON_ONLY = {"task_serializer": "json", "result_serializer": "json", "accept_content": ["json"]}

_CONNECT_SECONDS = 2.0


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


class Dispatcher:
    """Publishes recorded tasks to the broker. Thread-safe; each call blocks for a round trip."""

    def __init__(self, settings: Settings) -> None:
        # An app of its own, with no task functions and no backend, that does not become the process's current app.
        self._app = Celery("jobs.dispatch", set_as_current=False)
        # Not by ``result_backend``, which an environment variable of Celery's would override.
        self._app.backend_cls = "disabled"
        self._app.conf.update(
            protocol_config(settings),
            broker_connection_timeout=_CONNECT_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": _CONNECT_SECONDS,
                "socket_timeout": settings.store_timeout_seconds,
            },
            task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0.1},
        )

    def publish(self, task: NewTask) -> None:
        """Send the message of a task.

        Raises:
            OperationalError: the broker did not take it.
        """
        self._app.send_task(
            task.name,
            args=task.args,
            kwargs=task.kwargs,
            task_id=task.id,
            queue=task.queue,
            priority=task.priority,
            root_id=task.root_id or task.id,
            parent_id=task.parent_id,
        )

    def close(self) -> None:
        """Close the broker connections."""
        # kombu keeps one pool a process for each broker address. Emptied only, it would let the next dispatcher wait
        # for a connection for ever.
        pool = self._app.pool
        pool.force_close_all(close_pool=False)
        pool.setup()
        self._app.close()
