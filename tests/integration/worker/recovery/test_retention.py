"""How long finished tasks are kept, and which of them are kept for longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from gql_api.adopt import adopt
from gql_api.record import canvas, fields, writes
from gql_api.record.model import MessageParts, NewTask
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.recovery.retention import Retention

_NOW = datetime.now(UTC)


@pytest.fixture
def backend(settings: Settings) -> Iterator[Backend]:
    """A worker's backend that keeps finished tasks for a day."""
    app = adopt(Celery("keeper", set_as_current=False, broker=settings.celery_broker_url))
    backend = Backend(app, settings.model_copy(update={"retention_days": 1.0}))
    yield backend
    backend.connections.close()
    app.close()


def test_members_of_an_unfinished_chord_outlive_the_retention_time(backend: Backend) -> None:
    """They are deleted with the others once the chord is done."""
    member = MessageParts(headers={"group": "c"}, embed={"chord": {"task": "total"}})
    for task in (NewTask("member", "add", message=member), NewTask("alone", "add")):
        backend.store.change(writes.create(task), upsert=True)
        backend.store.change(writes.succeed(task.id, 1))
    old = datetime.now(UTC) - timedelta(days=2)
    backend.collection.update_many({}, {"$set": {fields.CREATED_AT: old, fields.FINISHED_AT: old}})
    chords = backend.database[fields.CHORDS]
    chords.update_one(*canvas.begin("c", None), upsert=True)
    Retention(backend).sweep(datetime.now(UTC))
    assert [record["_id"] for record in backend.collection.find()] == ["member"]
    chords.update_one(*canvas.close("c"))
    Retention(backend).sweep(datetime.now(UTC))
    assert list(backend.collection.find()) == []


def test_many_members_of_unfinished_chords_do_not_keep_other_tasks(backend: Backend) -> None:
    """A sweep goes on where the last one stopped, and begins again with the oldest after the last."""
    backend.store.change(writes.create(NewTask("alone", "add")), upsert=True)
    backend.store.change(writes.succeed("alone", 1))
    ended = datetime.now(UTC) - timedelta(days=2)
    task = {**(backend.collection.find_one() or {}), fields.CREATED_AT: ended, fields.FINISHED_AT: ended}
    backend.collection.replace_one({fields.ID: "alone"}, task)
    ids = [f"a-member-{number:04}" for number in range(2500)]
    backend.collection.insert_many([{**task, fields.ID: id_, fields.CHORD_ID: "c"} for id_ in ids])
    chords = backend.database[fields.CHORDS]
    chords.update_one(*canvas.begin("c", None), upsert=True)
    retention = Retention(backend)
    retention.sweep(datetime.now(UTC))
    assert backend.collection.count_documents({}) == len(ids) + 1
    retention.sweep(datetime.now(UTC))
    assert backend.collection.count_documents({}) == len(ids)
    assert backend.store.is_deleted("alone")
    chords.update_one(*canvas.close("c"))
    retention.sweep(datetime.now(UTC))
    assert backend.collection.count_documents({}) == len(ids) - 2000


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """An adopted application, whose results would expire after a second."""
    app = adopt(Celery("kept", set_as_current=False, broker=settings.celery_broker_url, result_expires=1))
    yield app
    app.close()


@pytest.mark.parametrize(("days", "kept"), [(None, [0, 29]), (0.0, [0, 29, 31, 400]), (1.5, [0])])
def test_tasks_are_kept_for_retention_days(
    app: Celery, settings: Settings, days: float | None, kept: list[int]
) -> None:
    """By default that is thirty days after their end, and 0 is for ever; result_expires does not count."""
    backend = Backend(app, settings if days is None else settings.model_copy(update={"retention_days": days}))
    for age in (0, 29, 31, 400):
        backend.store.change(writes.create(NewTask(id=f"task-{age}", name="t")), upsert=True)
        backend.store_result(f"task-{age}", age, "SUCCESS")
        ended = _NOW - timedelta(days=age)
        update = {"$set": {fields.CREATED_AT: ended, fields.FINISHED_AT: ended}}
        assert backend.collection.update_one({fields.ID: f"task-{age}"}, update).matched_count == 1
    Retention(backend).sweep(_NOW)
    backend.cleanup()
    found = [document[fields.ID] for document in backend.collection.find()]
    assert sorted(found) == sorted(f"task-{age}" for age in kept)
    backend.connections.close()
