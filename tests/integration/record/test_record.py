from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import DuplicateKeyError
from redis import Redis

from gql_api import events
from gql_api.record import claims, control, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask, Progress
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

METADATA = {"a.b": {"$set": "$owner", "": [1, 2.0, None]}, "%": "x", "ref": {"$ref": "c", "$id": 1}}
_ERROR = ErrorInfo("ValueError", "no", "builtins", ["no"], "Traceback ...")
_CHANGES: dict[str, Callable[[str], Write]] = {
    "start": lambda id_: writes.start(id_, worker="w$orker"),
    "progress": lambda id_: writes.progress(id_, Progress(1.0, 2.0, "$owner", {"$x": 1})),
    "custom": lambda id_: writes.custom_state(id_, "UPLOADING", {"to.where": "$status"}),
    "retry": lambda id_: writes.retry(id_, _ERROR),
    "succeed": lambda id_: writes.succeed(id_, {"$literal": "$name"}, last_progress=Progress(2.0)),
    "fail": lambda id_: writes.fail(id_, _ERROR),
    "revoke": lambda id_: writes.fail(id_, ErrorInfo("TaskRevokedError", "$why"), status=Status.REVOKED),
    "forget": writes.forget,
}


@pytest.fixture
def connections(settings: Settings) -> Iterator[Connections]:
    """A worker's connections to the test's own database."""
    connections = Connections(settings)
    yield connections
    connections.close()


@pytest.fixture
def store(connections: Connections) -> Store:
    """The records of the test's own database."""
    return Store(connections)


@pytest.fixture
def published(settings: Settings, connections: Connections) -> Iterator[Callable[[], list[TaskRecord]]]:
    """Return the records published since the last call, on any task's channel."""
    with Redis.from_url(settings.celery_broker_url) as redis, redis.pubsub() as pubsub:
        pubsub.psubscribe(connections.channels.all_tasks)
        assert pubsub.get_message(timeout=5) is not None

        def collect() -> list[TaskRecord]:
            # Behind what the store has sent, which Redis may not have read yet.
            connections.publish([(connections.channels.task("end"), b"end")])
            payloads = []
            while (message := pubsub.get_message(timeout=5)) and message["data"] != b"end":
                payloads.append(message["data"])
            records = [events.decode(payload) for payload in payloads]
            return [record for record in records if isinstance(record, TaskRecord)]

        yield collect


def _new(task_id: str) -> NewTask:
    return NewTask(id=task_id, name="add", args=["$a", {"$b.c": 1}], kwargs={"$x": "$y"}, metadata=METADATA)


def test_a_new_record_is_what_was_asked_for(store: Store) -> None:
    """Creation stores every value as given, evaluates none, and takes its times from the database."""
    assert store.change(writes.create(_new("t")), upsert=True)
    record = store.find("t")
    assert record is not None
    assert (record.status, record.revision, record.attempts) == (Status.QUEUED, 1, 0)
    assert (record.args, record.kwargs, record.metadata) == (["$a", {"$b.c": 1}], {"$x": "$y"}, METADATA)
    assert record.created_at == record.updated_at
    assert record.created_at.tzinfo is not None
    assert [(entry.revision, entry.status) for entry in record.history] == [(1, Status.QUEUED)]


def test_an_id_is_taken_once(store: Store) -> None:
    """A second record of the same id is refused and leaves the first alone."""
    store.change(writes.create(_new("t")), upsert=True)
    with pytest.raises(DuplicateKeyError):
        store.change(writes.create(NewTask(id="t", name="other")), upsert=True)
    record = store.find("t")
    assert record is not None
    assert record.name == "add"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.sampled_from(sorted(_CHANGES)), min_size=1, max_size=12))
def test_any_order_of_writes_keeps_the_promises(
    store: Store, published: Callable[[], list[TaskRecord]], names: list[str]
) -> None:
    """Late, repeated and reordered writes never change a final state, nor the metadata, nor repeat a revision.

    What a write changed is announced once, and what it did not change is not announced.
    """
    id_ = str(uuid.uuid4())
    store.change(writes.create(_new(id_)), upsert=True)
    published()
    before = store.find(id_)
    for name in names:
        assert before is not None
        taken = store.change(_CHANGES[name](id_)) is not None
        after = store.find(id_)
        assert after is not None
        assert after.revision == before.revision + taken
        assert (after.metadata, after.args) == (METADATA, ["$a", {"$b.c": 1}])
        # A worker of the acceptance tests may publish as well.
        published_revisions = [record.revision for record in published() if record.id == id_]
        assert published_revisions == ([after.revision] if taken else [])
        if before.is_final:
            assert after.status == before.status
            assert name == "forget" or not taken
        revisions = [entry.revision for entry in after.history]
        assert revisions == sorted(set(revisions))
        before = after


def test_values_of_task_functions_are_never_evaluated(store: Store) -> None:
    """A result, message or meta that looks like a MongoDB expression is stored as it is."""
    store.change(writes.create(_new("t")), upsert=True)
    for name in ("start", "progress"):
        store.change(_CHANGES[name]("t"))
    record = store.find("t")
    assert record is not None
    assert record.worker == "w$orker"
    assert record.progress == Progress(1.0, 2.0, "$owner", {"$x": 1})
    store.change(_CHANGES["custom"]("t"))
    record = store.find("t")
    assert record is not None
    assert record.custom_state == ("UPLOADING", {"to.where": "$status"})
    store.change(_CHANGES["succeed"]("t"))
    record = store.find("t")
    assert record is not None
    assert record.result == {"$literal": "$name"}
    assert [entry.message for entry in record.history] == [None, None, "UPLOADING", None]
    assert [entry.worker for entry in record.history] == [None, "w$orker", "w$orker", "w$orker"]


def test_the_history_keeps_the_last_fifty(store: Store) -> None:
    """A task that is retried for ever does not grow for ever."""
    store.change(writes.create(_new("t")), upsert=True)
    for _ in range(30):
        store.change(_CHANGES["start"]("t"))
        store.change(_CHANGES["retry"]("t"))
    record = store.find("t")
    assert record is not None
    assert [entry.revision for entry in record.history] == list(range(12, 62))


def test_texts_that_are_no_unicode_are_stored_anyhow(store: Store) -> None:
    """A lone surrogate in an exception must not keep the failure from being recorded."""
    store.change(writes.create(_new("t")), upsert=True)
    store.change(writes.fail("t", ErrorInfo("E", "bad \ud800", None, ["\ud800"], "tb \udfff")))
    record = store.find("t")
    assert record is not None
    assert record.error == ErrorInfo("E", "bad \\ud800", None, ["\ud800"], "tb \\udfff")


def _claim(store: Store, task_id: str) -> TaskRecord | None:
    return store.change(claims.claim(task_id, Claim("m" * 32, "w", "run", 1, 60.0)))


def test_what_was_cancelled_while_it_ran_is_not_claimed_again(store: Store) -> None:
    """A task that is requeued after a cancel request can only be revoked."""
    store.change(writes.create(_new("t")), upsert=True)
    assert _claim(store, "t")
    assert store.change(control.request_cancel("t", "no $more", force=False))
    assert store.change(claims.requeue("t", claims.held_by(1), "given back"))
    assert _claim(store, "t") is None
    assert store.change(control.cancel_waiting("t", "no $more"))
    record = store.find("t")
    assert record is not None
    assert (record.status, record.error and record.error.message) == (Status.REVOKED, "no $more")


def test_a_retry_after_a_cancel_is_due_at_once(store: Store) -> None:
    """A task that was cancelled before its retry is due at once, so that a worker can end it."""
    for task_id, cancelled in (("yes", True), ("no", False)):
        store.change(writes.create(_new(task_id)), upsert=True)
        assert _claim(store, task_id)
        if cancelled:
            assert store.change(control.request_cancel(task_id, None, force=False))
        record = store.change(writes.retry(task_id, None, due_in=3600.0, fence=claims.held_by(1)))
        assert record is not None
        assert record.due_at is not None
        assert (record.due_at - record.updated_at > timedelta(minutes=59)) is not cancelled


def test_what_expires_is_claimed_in_time_only(store: Store) -> None:
    """A task that can expire is claimed by the clock of the database, and not once it has."""
    taking = Claim("m" * 32, "w", "run", 1, 60.0)
    for task_id, seconds, taken in (("late", 0.0, False), ("early", 3600.0, True)):
        store.change(writes.create(replace(_new(task_id), expires_in=seconds)), upsert=True)
        assert _claim(store, task_id) is None
        assert (store.change(claims.claim_in_time(task_id, taking)) is not None) == taken
        assert (store.change(claims.expire(task_id)) is not None) != taken


def _times(record: TaskRecord | None) -> tuple[Status, datetime, datetime, datetime]:
    assert record is not None
    assert record.due_at is not None
    assert record.scheduled_for is not None
    assert record.expires_at is not None
    return record.status, record.due_at, record.scheduled_for, record.expires_at


def test_a_task_that_waits_in_its_queue_stays_there(store: Store) -> None:
    """Rescheduled to now, what is QUEUED keeps its place: its message is in the broker, as old as it was."""
    before = store.change(writes.create(replace(_new("t"), expires_in=3600.0)), upsert=True)
    assert before is not None
    for _ in range(3):
        status, due_at, starts, expires_at = _times(store.change(control.reschedule("t", before.created_at)))
        assert (status, due_at) == (Status.QUEUED, before.due_at)
        assert expires_at - starts == timedelta(seconds=3600)


def test_a_task_is_moved_there_and_back(store: Store) -> None:
    """Moved to a later time a task is SCHEDULED; moved to now it is due now, and expires as long after as before."""
    created = store.change(writes.create(replace(_new("t"), delay=60.0, expires_in=5.0)), upsert=True)
    assert created is not None
    later = created.created_at + timedelta(hours=2)
    for time, expected in ((later, Status.SCHEDULED), (created.created_at, Status.QUEUED), (later, Status.SCHEDULED)):
        record = store.change(control.reschedule("t", time))
        assert record is not None
        status, due_at, starts, expires_at = _times(record)
        assert status is expected
        assert due_at == starts == max(time, record.updated_at)
        assert expires_at == due_at + timedelta(seconds=5)
    assert _claim(store, "t") is None


def test_a_time_beyond_python_is_read_as_its_last(store: Store) -> None:
    """An expiry that Python cannot represent does not make the record unreadable."""
    far = datetime(9999, 12, 31, tzinfo=UTC)
    assert store.change(writes.create(replace(_new("t"), scheduled_for=far, expires_in=1e9)), upsert=True)
    record = store.find("t")
    assert record is not None
    assert record.expires_at is not None
    assert record.expires_at.year == 9999
