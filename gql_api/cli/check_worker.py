"""The check whether a worker consumes, by Celery's remote control."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from gql_api.dispatch import protocol_config
from gql_api.settings import Settings


def is_consuming(settings: Settings, hostname: str, timeout: float) -> bool:
    """Ask a worker over the broker whether it consumes. A worker that does not answer in time does not."""
    app = Celery("gql_api.check_worker", set_as_current=False)
    app.conf.update(
        protocol_config(settings),
        broker_transport_options={"socket_timeout": timeout, "socket_connect_timeout": timeout},
    )
    try:
        replies = app.control.broadcast("consuming", destination=[hostname], reply=True, timeout=timeout, limit=1)
    except (OperationalError, RedisError, OSError):
        return False
    return any(reply.get(hostname) == {"consuming": True} for reply in replies or ())
