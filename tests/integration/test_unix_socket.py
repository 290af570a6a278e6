"""Redis on a Unix socket, with users and passwords: the API, workers and senders use it by one address."""

from __future__ import annotations

import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from support import process, wait_until, wait_until_async

from gql_api.adopt import adopt
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.app import open_services
from gql_api.cli.embedded_servers import RedisServer
from gql_api.dispatch import Dispatcher
from gql_api.record.model import NewTask
from gql_api.settings import Settings

_PASSWORD, _ENCODED = "p@/w", "p%40%2Fw"


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """The socket of a Redis that asks for a password."""
    # The path of a socket has at most 107 bytes, fewer than that of pytest's folder may have.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        options = ["--unixsocket", str(path), "--requirepass", _PASSWORD]
        users = ["--user", "shop", "on", f">{_PASSWORD}", "~*", "&*", "+@all"]
        server = RedisServer(Path(folder) / "data", 0)
        with process([*server.command(), *options, *users], Path(folder) / "redis.log"):
            wait_until(lambda: _is_listening(path))
            yield path


def _is_listening(path: Path) -> bool:
    """Return whether a server accepts connections on a socket, which exists before that."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("user", ["", "shop"])
async def test_every_connection_has_the_password_of_the_broker(
    settings: Settings, path: Path, store: TaskStore, user: str
) -> None:
    """The API publishes messages and receives events, and the events of an adopted application go there too."""
    with Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0)) as redis, pytest.raises(AuthenticationError):
        redis.ping()
    url = f"redis+socket://{user}:{_ENCODED}@{path}?virtual_host=2"
    guarded = Settings(**{**settings.model_dump(exclude={"redis_url"}), "celery_broker_url": url})
    async with open_services(guarded) as services, TaskFeed(guarded, store) as feed:
        assert await services.redis.ping()

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
    app = adopt(Celery("guarded", broker=url, set_as_current=False))
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0)
    queue, dispatcher = f"queue-{uuid.uuid4()}", Dispatcher(guarded)
    dispatcher.publish([NewTask(id="guarded", name="t", queue=queue)])
    dispatcher.close()
    for address in (guarded.redis_url, app.backend.settings.redis_url):
        with Redis.from_url(address) as redis:
            assert redis.llen(queue) == 1
    app.backend.connections.close()
    app.close()
