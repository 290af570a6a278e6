"""Records that do not fit, beside others that recovery has to move on."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, MinKey, ObjectId, Regex, Timestamp
from celery import chain
from recovery_bench import Bench

from gql_api.record import fields as f
from gql_api.record.fields import Status

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_UNSET: Any = object()
# Each breaks a rule, and would end a scan that takes all records for its own.
_BROKEN = [
    (f.PRIORITY, "x"),
    (f.ATTEMPTS, _UNSET),
    (f.REVISION, _UNSET),
    (f.REVISION, "x"),
    (f.REVISION, 2**62),
    (f.HISTORY, "x"),
    (f.QUEUE, 5),
    (f.ROOT_ID, None),
    (f.LOST_WORKERS, "x"),
    (f.ATTEMPTS, Decimal128("1")),
    (f.CREATED_AT, Timestamp(1, 1)),
    (f.UPDATED_AT, MinKey()),
    (f.ATTEMPTS, Regex("x")),
]
# They keep the rules, but no message can be made of them.
_UNSENDABLE = [(f.MESSAGE_PARTS, {"embed": "x"}), (f.MESSAGE_PARTS, 7), (f.ARGS, {"a": 1})]


def _break(bench: Bench, ids: list[str], broken: list[tuple[str, Any]]) -> None:
    for task_id, (name, value) in zip(ids, broken, strict=True):
        change = {"$unset": {name: 1}} if value is _UNSET else {"$set": {name: value}}
        bench.backend.collection.update_one({f.ID: task_id}, change)


def _due(bench: Bench, ids: list[str], status: Status) -> None:
    """Let tasks be due before all others."""
    bench.backend.collection.update_many({f.ID: {"$in": ids}}, {"$set": {f.DUE_AT: _LONG_AGO, f.STATUS: status}})


def _set_aside(bench: Bench) -> set[Any]:
    return {document[f.ID] for document in bench.backend.collection.find({f.SET_ASIDE: {"$exists": True}})}


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SCHEDULED, Status.RETRY, Status.STARTED])
def test_a_record_that_does_not_fit_stops_its_own_task_only(
    bench: Bench, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are sent; the record is logged once, and set aside after three scans."""
    broken, unsendable, good = bench.create(len(_BROKEN)), bench.create(len(_UNSENDABLE)), bench.create(2)
    if status is Status.STARTED:
        bench.start([*broken, *unsendable, *good])
    _due(bench, [*broken, *unsendable], status)
    bench.backend.collection.update_many({f.ID: {"$in": good}}, {"$set": {f.STATUS: status}})
    _break(bench, [*broken, *unsendable], [*_BROKEN, *_UNSENDABLE])
    recovery = bench.recovery()
    for _ in range(3):
        bench.scan(recovery)
        assert set(bench.queued()) >= set(good)
    assert _set_aside(bench) >= set(broken)
    lines = [line for line in caplog.messages if "leaves task" in line]
    assert len(lines) == len(set(lines)) >= len(broken)
    assert not [line for line in caplog.messages if "step of recovery failed" in line]


def test_what_follows_a_revoked_task_ends_beside_one_that_cannot(bench: Bench) -> None:
    """The chain of a revoked task ends, though the message of one that was revoked before it cannot be read."""
    bad, step = bench.create(1), bench.app.signature("job", queue=bench.queue).set(task_id=str(uuid.uuid4()))
    first = chain(bench.app.signature("job", queue=bench.queue), step, app=bench.app).apply_async().parent.id
    bench.app.control.revoke(first)
    _due(bench, bad, Status.REVOKED)
    _break(bench, bad, [(f.MESSAGE_PARTS, {"embed": "x"})])
    bench.scan(bench.recovery())
    assert bench.find(step.id)[0].status is Status.REVOKED


def test_expired_tasks_and_old_ones_go_beside_records_that_do_not_fit(bench: Bench) -> None:
    """Retention deletes the old tasks, and expiry revokes the late ones, whatever stands before them."""
    expired, broken, old, bad = bench.create(1), bench.create(2), bench.create(1), bench.create(3)
    bench.backend.collection.update_many({f.ID: {"$in": [*expired, *broken]}}, {"$set": {f.EXPIRES_AT: _LONG_AGO}})
    _break(bench, broken, [(f.HISTORY, 1), (f.REVISION, "x")])
    ended = {f.STATUS: Status.SUCCESS, f.FINISHED_AT: _LONG_AGO, f.CREATED_AT: _LONG_AGO}
    bench.backend.collection.update_many({f.ID: {"$in": [*old, *bad]}}, {"$set": ended, "$unset": {f.DUE_AT: 1}})
    _break(bench, bad, [(f.REVISION, _UNSET), (f.CREATED_AT, "x"), (f.METADATA, 1)])
    bench.backend.collection.insert_one({f.ID: ObjectId(), **ended})
    recovery = bench.recovery()
    for _ in range(3):
        bench.scan(recovery)
    assert bench.find(*expired)[0].status is Status.REVOKED
    assert _set_aside(bench) == set(broken)
    assert bench.backend.collection.count_documents({f.ID: {"$in": old}}) == 0


@pytest.mark.parametrize("message", [b"null", b"not JSON", b"[]", b'{"headers": 5}', b'{"headers": {"id": {}}}'])
def test_a_message_that_cannot_be_read_hides_no_other_queue(bench: Bench, message: bytes) -> None:
    """Lost messages of one queue are sent again though the next message of another is anything."""
    lost, [waiting] = bench.create(2), bench.create(1)
    other = f"q-{uuid.uuid4()}"
    bench.backend.collection.update_one({f.ID: waiting}, {"$set": {f.QUEUE: other}})
    bench.redis.lpush(other, message)
    bench.scan(bench.recovery())
    assert bench.queued() == lost
    assert bench.redis.lrange(other, 0, -1) == [message]


def test_a_chord_that_cannot_be_repaired_keeps_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and the rest of the scan is done."""
    chords = bench.backend.database[f.CHORDS]
    chords.insert_one({f.ID: "bad", "done": False, f.UPDATED_AT: _LONG_AGO, "size": "x"})
    recovery = bench.recovery()
    for _ in range(2):
        chords.update_one({f.ID: "bad"}, {"$set": {f.UPDATED_AT: _LONG_AGO}})
        bench.scan(recovery)
    assert len([line for line in caplog.messages if "cannot be repaired" in line]) == 1
