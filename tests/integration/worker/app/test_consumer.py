"""The acknowledgements of a worker's consumer, also while the broker does not answer."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from proxy import Mode, Proxy
from redis import Redis

from gql_api.cli.embedded_servers import HOST
from gql_api.settings import Settings
from gql_api.worker.app.consumer import KeepClient, NoRestore, TolerantAcks
from gql_api.worker.backend.backend import Backend

_QUEUE = "acknowledged"
# A machine that stalls must not cause one.
_TIMEOUT = 3.0


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
            tried = _note_acknowledgements(channel)
            TolerantAcks(None).start(SimpleNamespace(task_consumer=SimpleNamespace(channel=channel)))
            messages = [channel.basic_get(_QUEUE) for _ in range(4)]
            assert None not in messages
            received += messages
            if is_hanging:
                proxy.set("redis", Mode.HANG)
            for message in messages:
                message.ack()
            assert len(tried) == (1 if is_hanging else len(messages))
            channel.basic_qos(0, 1, False)
            assert channel.qos.can_consume()
            proxy.set("redis", Mode.OK)
            channel.close()
        unacknowledged = {tag.decode() for tag in redis.hkeys("unacked")}
        assert {message.delivery_tag for message in received[4:]}.isdisjoint(unacknowledged)


def _note_acknowledgements(channel: Any) -> list[str]:
    """Let a channel note the messages whose acknowledgement it sends, and return the list of them."""
    tried: list[str] = []
    acknowledge = channel.basic_ack

    def note(delivery_tag: str, **options: Any) -> None:
        tried.append(delivery_tag)
        acknowledge(delivery_tag, **options)

    channel.basic_ack = note
    return tried


def test_a_channel_keeps_its_client_as_long_as_its_pool(settings: Settings) -> None:
    """It acknowledges with the same client, and with another one after its connections were replaced."""
    queue = f"kept-{uuid.uuid4()}"
    with (
        Redis.from_url(settings.celery_broker_url) as redis,
        Celery(broker=settings.celery_broker_url, set_as_current=False).connection_for_read() as connection,
    ):
        channel = connection.channel()
        KeepClient(None).start(SimpleNamespace(task_consumer=SimpleNamespace(channel=channel)))
        clients = []
        for number in range(3):
            connection.SimpleQueue(queue).put(number)
            message = channel.basic_get(queue)
            assert redis.hexists("unacked", message.delivery_tag)
            message.ack()
            channel.qos._flush()  # noqa: SLF001 - kombu's name
            assert not redis.hexists("unacked", message.delivery_tag)
            with channel.conn_or_acquire() as client:
                clients.append(client)
            assert channel._create_client(asynchronous=True) is not client  # noqa: SLF001 - kombu's name
            if number == 1:
                channel._disconnect_pools()  # noqa: SLF001 - as kombu does when a channel cannot connect
        assert clients[0] is clients[1] is not clients[2]


@dataclass(eq=False)
class _Active:
    """A task that runs, as Celery knows it."""

    message: Any


@pytest.mark.parametrize("backend", ["disabled", "none"])
def test_a_new_connection_restores_messages_only_in_a_mixture(settings: Settings, backend: str) -> None:
    """Those of tasks that have not started, and only where stock workers share the queues."""
    queue = f"restored-{uuid.uuid4()}"
    app = Celery("restoring", set_as_current=False, broker=settings.celery_broker_url)
    app._backend_cache = Backend(app, settings.model_copy(update={"stock_result_backend": backend}))  # noqa: SLF001 - it would read the environment
    step = NoRestore(SimpleNamespace())
    with Redis.from_url(settings.celery_broker_url) as redis, app.connection_for_read() as connection:
        for number in range(2):
            connection.SimpleQueue(queue).put(number)
        lost, new = connection.channel(), connection.channel()
        for channel in (lost, new):
            connection.SimpleQueue(queue, channel=channel).close()
        step.start(SimpleNamespace(app=app, task_consumer=SimpleNamespace(channel=lost)))
        running, waiting = lost.basic_get(queue), lost.basic_get(queue)
        active = _Active(running)
        state.active_requests.add(active)
        step.stop(SimpleNamespace(app=app, task_consumer=SimpleNamespace(channel=lost)))
        assert redis.llen(queue) == 0
        step.start(SimpleNamespace(app=app, task_consumer=SimpleNamespace(channel=new)))
        tags = [json.loads(message)["properties"]["delivery_tag"] for message in redis.lrange(queue, 0, -1)]
        assert tags == ([waiting.delivery_tag] if backend == "disabled" else [])
        for message in (running, waiting):
            message.ack()
    app.backend.connections.close()
    app.close()
