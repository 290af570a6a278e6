"""A worker sets aside what it cannot handle, and goes on; driven from outside, by whatever is pushed into its queue."""

from __future__ import annotations

import json
import uuid

from databases import Databases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from malformed import encoded, malformed, not_messages, valid
from redis import Redis
from support import Api, wait_until

from gql_api.record import fields, writes
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_NAME = "long_running_task"
_LIST = "gql-api:rejected:celery"
_MAX_KEPT = 100


def _run_good_task(api: Api) -> None:
    """Run a task after the messages that were pushed before, which workers take in their order."""
    task_id = api.create(_NAME, kwargs={"task_input": "good", "seconds": 0})
    assert api.finished(task_id, 60)["status"] == "SUCCESS"


def test_no_message_ends_a_worker(api: Api, redis: Redis) -> None:
    """Each of hundreds of malformed messages is set aside and logged without its arguments; the next good one runs."""
    messages = dict(malformed(_NAME, "celery"))
    contents = [*not_messages(), *messages.values()]
    length = api.worker_log.stat().st_size
    redis.lpush("celery", *contents)
    _run_good_task(api)
    log = api.worker_log.read_bytes()[length:].decode()
    assert log.count("cannot be handled and is kept") == len(contents)
    assert "Traceback" not in log
    assert "canary" not in log
    kept = redis.lrange(_LIST, 0, -1)
    assert len(kept) == _MAX_KEPT
    assert json.loads(kept[0])["headers"]["compression"] == "application/x-gzip"


def test_the_task_of_a_malformed_message_fails(api: Api, databases: Databases, redis: Redis) -> None:
    """Its next message would be the same, so recovery does not send one."""
    urls = Settings(
        mongodb_url=databases.mongodb.url, mongodb_database="acceptance", celery_broker_url=databases.redis.url
    )
    connections = Connections(urls)
    task_id = str(uuid.uuid4())
    filter_, update = writes.create(NewTask(id=task_id, name=_NAME))
    # Otherwise recovery, which misses the message after two seconds, may be quicker than this test.
    unmissed = {"$set": {fields.DUE_AT: writes.from_now(3600)}}
    Store(connections).change((filter_, [*update, unmissed]), upsert=True)
    connections.close()
    redis.lpush("celery", json.dumps(valid(task_id, _NAME, timelimit="x")))
    task = api.finished(task_id)
    assert (task["status"], task["attempts"]) == ("FAILURE", 0)
    assert task["error"]["message"] == (
        "its message cannot be handled: timelimit: must be a list of two numbers of seconds"
    )


_JSON: SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def _fuzzed(draw: st.DrawFn) -> bytes:
    """Draw a message with random values in some of its places."""
    message = valid(str(uuid.uuid4()), draw(st.sampled_from([_NAME, "celery.chord", "celery.backend_cleanup"])))
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from([message, message["headers"], message["properties"]]))
        if isinstance(part, dict) and part:
            part[draw(st.sampled_from(sorted(part)))] = draw(_JSON)
    if draw(st.booleans()):
        message["body"] = encoded(draw(_JSON | st.tuples(_JSON, _JSON, _JSON)))
    return json.dumps(message).encode()


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(_fuzzed() | st.binary(max_size=64), min_size=60, max_size=60))
def test_no_random_message_ends_a_worker(api: Api, redis: Redis, contents: list[bytes]) -> None:
    """Whatever types the parts of a message have, the worker is alive afterwards."""
    redis.lpush("celery", *contents)
    _run_good_task(api)
    wait_until(lambda: not redis.llen("celery"))
