"""The acknowledgements of a worker's consumer while the broker does not answer."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from celery import Celery
from proxy import Mode, Proxy
from redis import Redis

from gql_api.cli.embedded_servers import HOST
from gql_api.settings import Settings
from gql_api.worker.app.consumer import TolerantAcks

_QUEUE = "acknowledged"
_TIMEOUT = 1.0


def test_one_acknowledgement_waits_for_a_broker_that_does_not_answer(settings: Settings, tmp_path: Path) -> None:
    """The others do not wait as well, and the worker has room for other messages; the next channel acknowledges."""
    options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    received: list[Any] = []
    with (
        Redis.from_url(settings.celery_broker_url) as redis,
        (tmp_path / "proxy.log").open("wb") as log,
        Proxy({"redis": redis.get_connection_kwargs()["port"]}, log) as proxy,
        Celery(broker=f"redis://{HOST}:{proxy.port('redis')}/0", set_as_current=False).connection_for_read(
            transport_options=options
        ) as connection,
    ):
        for number in range(8):
            connection.SimpleQueue(_QUEUE).put(number)
        for is_hanging in (True, False):
            channel = connection.channel()
            channel.do_restore = False
            TolerantAcks(None).start(SimpleNamespace(task_consumer=SimpleNamespace(channel=channel)))
            messages = [channel.basic_get(_QUEUE) for _ in range(4)]
            assert None not in messages
            received += messages
            if is_hanging:
                proxy.set("redis", Mode.HANG)
            began = time.monotonic()
            for message in messages:
                message.ack()
            assert time.monotonic() - began < 2 * _TIMEOUT
            channel.basic_qos(0, 1, False)
            assert channel.qos.can_consume()
            proxy.set("redis", Mode.OK)
            channel.close()
        unacknowledged = {tag.decode() for tag in redis.hkeys("unacked")}
        assert {message.delivery_tag for message in received[4:]}.isdisjoint(unacknowledged)
