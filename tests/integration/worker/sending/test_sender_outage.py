"""A program that sends tasks, or reads results, while MongoDB does not answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from celery import Celery, chord, group
from databases import Databases
from kombu.exceptions import OperationalError
from proxy import Mode, Proxy
from redis import Redis
from support import wait_until

from gql_api.adopt import adopt
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

_SECONDS = 0.6
_QUEUE = "sender-outage"


@pytest.fixture(scope="module")
def proxy(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy in front of MongoDB."""
    log = tmp_path_factory.mktemp("proxy") / "log"
    with log.open("wb") as output, Proxy({"mongodb": databases.mongodb.port}, output) as proxy:
        yield proxy


def _is_sent(app: Celery) -> bool:
    # On a busy machine one call may still be too short to connect.
    with contextlib.suppress(OperationalError):
        return bool(app.send_task("t").id)
    return False


@pytest.fixture
def app(settings: Settings, proxy: Proxy) -> Iterator[Celery]:
    """An adopted application that reaches MongoDB through the proxy, and has done so once."""
    app = adopt(Celery("outage", set_as_current=False, broker=settings.celery_broker_url))
    app.conf.task_default_queue = _QUEUE
    url = f"mongodb://127.0.0.1:{proxy.port('mongodb')}/?directConnection=true"
    update = {"mongodb_url": url, "store_timeout_seconds": _SECONDS}
    app._backend_cache = Backend(app, settings.model_copy(update=update))  # noqa: SLF001 - it would read the environment
    wait_until(lambda: _is_sent(app))
    yield app
    proxy.set("mongodb", Mode.OK)
    app.backend.connections.close()
    app.close()


_CALLS: dict[str, Callable[[Celery], object]] = {
    "delay": lambda app: app.signature("t").delay(),
    "retried": lambda app: app.send_task("t", retry=True, retry_policy={"max_retries": 5}),
    "countdown": lambda app: app.send_task("t", countdown=60),
    "group": lambda app: group([app.signature("t")], app=app).apply_async(),
    "chord": lambda app: chord([app.signature("t")], app.signature("t"), app=app).apply_async(),
    "state": lambda app: app.AsyncResult("t").state,
    "get": lambda app: app.AsyncResult("t").get(timeout=10),
    "revoke": lambda app: app.control.revoke("t"),
    "groups": lambda app: app.GroupResult.restore("g", app=app),
}


@pytest.mark.parametrize(
    ("call", "mode"), [*((call, Mode.REFUSE) for call in _CALLS), ("delay", Mode.HANG), ("get", Mode.HANG)]
)
def test_it_gets_the_error_of_celery_in_time(app: Celery, proxy: Proxy, call: str, mode: Mode) -> None:
    """Celery's users catch OperationalError. It comes once, after STORE_TIMEOUT_SECONDS, and nothing is sent."""
    with Redis.from_url(app.conf.broker_url) as redis:
        before = redis.llen(_QUEUE)
        proxy.set("mongodb", mode)
        began = time.monotonic()
        with pytest.raises(OperationalError, match="MongoDB"):
            _CALLS[call](app)
        # Without the timeout PyMongo would wait for a server for five seconds.
        assert time.monotonic() - began < 4
        assert redis.llen(_QUEUE) == before
    proxy.set("mongodb", Mode.OK)
    wait_until(lambda: _is_sent(app))
