"""The heartbeat of a worker."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.concurrency.solo import TaskPool
from redis import Redis
from support import wait_until

from gql_api.adopt import adopt
from gql_api.record import fields
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.registration.announcer import Announcer


def test_a_worker_lives_on_without_the_id_of_its_broker(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The heartbeat goes on when the id of the broker cannot be read, and has it as soon as it can."""
    settings = settings.model_copy(update={"worker_heartbeat_seconds": 0.05})
    app = adopt(Celery("announcer-tests", set_as_current=False, broker=settings.celery_broker_url))
    prefix, hostname = f"{uuid.uuid4()}.", f"worker-{uuid.uuid4()}"
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    backend = app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    worker = SimpleNamespace(app=app, hostname=hostname, pool_cls=TaskPool, pool=SimpleNamespace(num_processes=1))

    def entry() -> Any:
        return backend.database[fields.WORKERS].find_one({"_id": hostname})

    def later_beat(beat: Any) -> Any:
        found = entry()
        return found if found is not None and found["beat_at"] > beat["beat_at"] else None

    announcer = Announcer(worker)
    with Redis.from_url(settings.celery_broker_url) as redis:
        # No text, as the id of a broker is.
        redis.set(f"{prefix}gql_api.broker", b"\xff")
        announcer.start(worker)
        try:
            first = wait_until(entry)
            assert wait_until(lambda: later_beat(first))["broker"] is None
            assert "This worker cannot read the id of its broker" in caplog.text
            redis.set(f"{prefix}gql_api.broker", "known")
            wait_until(lambda: entry()["broker"] == "known")
            redis.set(f"{prefix}gql_api.broker", b"\xff")
            known = entry()
            without = wait_until(lambda: later_beat(known))
            assert wait_until(lambda: later_beat(without))["broker"] == "known"
        finally:
            announcer.stop(worker)
            redis.delete(f"{prefix}gql_api.broker")
    assert entry() is None
    backend.connections.close()
    app.close()
