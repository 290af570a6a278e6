"""Redis with TLS: every connection of the API, of workers and of senders, by both spellings of its options."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from databases import Databases
from redis import Redis
from support import wait_until_async
from tls import make_certificate, tls_in_front_of

from gql_api.adopt import adopt
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.app import open_services
from gql_api.dispatch import Dispatcher
from gql_api.events import Channels
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.store.publisher import Publisher


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The certificate of the server and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def address(databases: Databases, files: tuple[Path, Path]) -> Iterator[str]:
    """The address of the Redis of the tests, with TLS."""
    with tls_in_front_of(databases.redis.port, *files) as port:
        yield f"rediss://127.0.0.1:{port}/0"


_OPTIONS = [
    "ssl_cert_reqs=CERT_NONE",
    "ssl_cert_reqs=none",
    "ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={certificate}",
    "ssl_cert_reqs=required&ssl_ca_certs={certificate}",
    "ssl_cert_reqs=CERT_OPTIONAL&ssl_ca_certs={certificate}&ssl_check_hostname=false",
    "ssl_cert_reqs=required&ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}",
]


@pytest.mark.parametrize("options", _OPTIONS)
async def test_every_connection_works(
    settings: Settings, address: str, files: tuple[Path, Path], store: TaskStore, options: str
) -> None:
    """The API publishes messages, receives events and answers /readyz; workers and senders publish and connect."""
    url = f"{address}?{options.format(certificate=files[0], key=files[1])}"
    secure = Settings(**{**settings.model_dump(exclude={"redis_url"}), "celery_broker_url": url})
    async with open_services(secure) as services, TaskFeed(secure, store) as feed:
        assert await services.redis.ping()

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
        await asyncio.to_thread(_publish, secure)
    app = adopt(Celery("secure", broker=url, set_as_current=False))
    for connect in (app.connection_for_read, app.connection_for_write):
        with connect() as connection:
            connection.ensure_connection(max_retries=0)
    assert app.backend.settings.redis_url.startswith(address)
    _publish_event(app.backend.settings)


def _publish(settings: Settings) -> None:
    _publish_event(settings)
    queue, dispatcher = f"queue-{uuid.uuid4()}", Dispatcher(settings)
    dispatcher.publish([NewTask(id="secure", name="t", queue=queue)])
    dispatcher.close()
    with Redis.from_url(settings.redis_url) as redis:
        assert redis.llen(queue) == 1


def _publish_event(settings: Settings) -> None:
    publisher = Publisher(settings.redis_url, 5.0)
    publisher.publish([(Channels(settings.mongodb_database).task("secure"), b"")])
    publisher.close()
