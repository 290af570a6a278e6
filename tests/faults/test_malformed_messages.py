"""Workers of each pool among messages that no Celery program sends, of which a stock worker survives none."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from fault_site import Site
from malformed import encoded, malformed, not_messages, valid
from redis import Redis
from support import wait_until

from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_NAME = "fault_tasks.work"
_UNACKNOWLEDGED = "gql-api:rejected:unacked"
_CONTROL = "/0.celery.pidbox"


def _leave_unacknowledged(redis: Redis, entries: list[bytes]) -> None:
    """Leave entries behind as a worker that was killed long ago does."""
    for entry in entries:
        tag = str(uuid.uuid4())
        redis.hset("unacked", tag, entry)
        redis.zadd("unacked_index", {tag: time.time() - 1e6})


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_no_message_ends_a_worker(site: Site, pool: str) -> None:
    """Neither one of a queue, nor one of remote control, nor an entry of the unacknowledged messages."""
    contents = [*not_messages(), *(raw for _, raw in malformed(_NAME, "celery"))]
    entries = [b"no JSON", b"null", b"[1, 2, 3]", b'[null, "", "celery"]', b'[{}, "", "celery"]', b"[" * 10_000]
    good = site.record("work")
    message = {**valid(good, _NAME), "body": encoded([[], {}, {}])}
    with site.broker() as redis:
        _leave_unacknowledged(redis, [*entries, json.dumps([message, "", "celery"]).encode()])
        redis.lpush("celery", *contents)
        worker = site.worker("worker", "--pool", pool)
        assert site.finished(site.send("work")).status is Status.SUCCESS
        for content in not_messages():
            redis.publish(_CONTROL, content)
            redis.publish("/0.celeryev/worker.heartbeat", content)
        assert site.finished(site.send("work")).status is Status.SUCCESS
        wait_until(lambda: redis.llen(_UNACKNOWLEDGED) == len(entries), 60, "the entries to be set aside")
    assert site.finished(good, 60).status is Status.SUCCESS
    assert "pong" in site.ask("inspect", "worker", "ping")
    log = worker.log.read_text()
    assert log.count("cannot be handled and is kept") == len(contents) + len(entries)
    assert "canary" not in log
    assert worker.process.poll() is None
