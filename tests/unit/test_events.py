from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest

from gql_api import events
from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.fitness.rules import MisfitError
from gql_api.record.past.former_states import state_before
from gql_api.record.reads import TaskRecord


def _document(**more: Any) -> dict[str, Any]:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return {
        "_id": "t1", "revision": 3, "status": "STARTED", "name": "add", "args": [1], "kwargs": {}, "metadata": {"a": 1},
        "attempts": 1, "queue": "celery", "priority": 0, "root_id": "t1", "created_at": now, "updated_at": now,
        "history": [], **more,
    }  # fmt: skip


def _record(payload: bytes) -> TaskRecord:
    record = events.decode(payload)
    assert isinstance(record, TaskRecord)
    return record


def test_a_deletion_is_an_event_too() -> None:
    """A deletion is not read as a record."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    last = {"_id": "t1", "revision": 3, "status": "SUCCESS", "updated_at": at, "metadata": {"a": 1}}
    news = events.decode(events.deleted(last, at))
    assert isinstance(news, events.Deletion)
    assert (news.task_id, news.at) == ("t1", at)
    assert news.record is not None
    assert news.record.metadata == {"a": 1}


def test_a_deletion_of_much_metadata_leaves_it_out() -> None:
    """The event of a deletion has the same limit as the others, and names the metadata that it leaves out."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    last = {
        "_id": "t1",
        "revision": 3,
        "status": "SUCCESS",
        "updated_at": at,
        "metadata": {"a": "x" * events.MAX_BYTES},
    }
    payload = events.deleted(last, at)
    assert len(payload) < events.MAX_BYTES
    news = events.decode(payload)
    assert isinstance(news, events.Deletion)
    assert news.record is not None
    with pytest.raises(LookupError):
        _ = news.record.metadata


def test_an_event_carries_the_record() -> None:
    """An event has the fields that a subscriber needs, without a read of MongoDB."""
    record = _record(events.encode(_document()))
    assert (record.id, record.revision, record.status) == ("t1", 3, Status.STARTED)
    assert record.metadata == {"a": 1}
    assert record.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert record.omitted == frozenset()


def test_what_is_folded_up_is_there_for_those_who_ask() -> None:
    """A record of an event equals the record of its document, whichever field is read first."""
    began = {"revision": 1, "status": "QUEUED", "at": datetime(2026, 1, 2, tzinfo=UTC)}
    document = _document(
        args=[1, {"a": [2]}], kwargs={"b": None}, history=[began, {**began, "revision": 3, "status": "STARTED"}]
    )
    for name in ("args", "kwargs", "metadata", "history", "children", "result", "updated_at"):
        assert getattr(_record(events.encode(document)), name) == getattr(TaskRecord(document), name)
    before = state_before(_record(events.encode(document)))
    assert before is not None
    assert (before.status, before.metadata, before.args) == (Status.QUEUED, {"a": 1}, [1, {"a": [2]}])


def test_an_event_has_names_that_no_record_has() -> None:
    """The event's own names begin with an underscore, as no field of a record but the id does."""
    names = [value for name, value in vars(fields).items() if name.isupper() and isinstance(value, str)]
    assert [name for name in names if name.startswith("_")] == ["_id"]
    small, large = _document(owner="o"), _document(result="x" * 40_000)
    payloads = [events.encode(small), events.encode(large), events.deleted(small, small["created_at"])]
    sent = {name for payload in payloads for name in bson.decode(payload)}
    assert sent - set(names) == {"_omitted", "_folded", "_deleted_at"}


@pytest.mark.parametrize(
    ("large", "omitted"),
    [
        ({"result": "x" * 40_000}, {"result"}),
        ({"result": 1, "args": ["x" * 40_000]}, {"result", "args"}),
        ({"error": {"traceback": "x" * 40_000}}, {"args", "kwargs", "error"}),
        ({"metadata": {"a": "x" * 40_000}}, {"args", "kwargs", "metadata"}),
    ],
)
def test_a_large_event_says_what_it_leaves_out(large: dict[str, Any], omitted: set[str]) -> None:
    """Above 32 KiB an event omits fields, the metadata last, and reading one is an error, not a wrong answer."""
    payload = events.encode(_document(**large))
    record = _record(payload)
    assert len(payload) <= events.MAX_BYTES
    assert record.omitted == omitted
    with pytest.raises(LookupError):
        getattr(record, min(omitted))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"1",
        b"{}",
        b"\x05\x00\x00\x00\x00",
        b"\xff" * 40,
        bson.encode({"_id": "t1", "revision": 1, "status": "QUEUED"}),
        bson.encode({"_id": "t1", "revision": 1, "status": "QUEUED", "_folded": {}}),
        bson.encode({"_id": "t1", "revision": 1, "status": "LOST", "_folded": b""}),
        bson.encode({"_id": "t1", "revision": 1, "status": "QUEUED", "_folded": b""}),
        bson.encode({"_id": "t1", "revision": 1, "status": "QUEUED", "_folded": b"", "updated_at": "now"}),
    ],
)
def test_a_foreign_payload_is_refused(payload: bytes) -> None:
    """Any client of Redis can publish to a channel: a payload that is not an event is refused."""
    with pytest.raises(events.EventError):
        events.decode(payload)


def test_channels_name_their_task() -> None:
    """A channel leads back to its task, whatever the id."""
    channels = events.Channels("db")
    assert channels.task("a:b") == "gql-api:db:task:a:b"
    assert channels.subject_of(channels.task("a:b")) == ("a:b", False)


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "3"}, {"revision": 2**60}, {"revision": -1}, {"revision": 1.5}, {"attempts": None},
        {"created_at": "now"}, {"queue": 5}, {"priority": [1]}, {"error": "x"}, {"error": {"type": 1}},
        {"_omitted": "revision"}, {"_omitted": ["updated_at"]}, {"_omitted": [{}]}, {"_deleted_at": 5},
        {"_deleted_at": {"a": 1}}, {"_id": 5}, {"_id": "another"}, {"finished_at": 1},
    ],
)  # fmt: skip
def test_an_event_with_a_wrong_type_is_refused(change: dict[str, Any]) -> None:
    """The types of all fields are checked before a watcher receives them."""
    event = {**bson.decode(events.encode(_document())), **change}
    with pytest.raises(events.EventError):
        events.decode(bson.encode(event), "t1")


@pytest.mark.parametrize("lazy", [{"history": 5}, {"metadata": "x"}, {"kwargs": [1]}, {"history": [{"at": 1}]}])
def test_a_lazy_field_of_a_wrong_type_is_refused_when_it_is_read(lazy: dict[str, Any]) -> None:
    """It is checked when it is decoded."""
    event = {**bson.decode(events.encode(_document())), "_folded": bson.encode(lazy)}
    record = _record(bson.encode(event))
    with pytest.raises(MisfitError):
        getattr(record, next(iter(lazy)))


@pytest.mark.parametrize(
    "event",
    [
        {"first": "1", "until": 2}, {"first": 1}, {"first": 3, "until": 2}, {"first": 1, "until": 2**60},
        {"first": 1, "until": 1, "lines": 5}, {"first": 1, "until": 1, "lines": [{}]}, {"first": -1, "until": 1},
        {"first": 1, "until": 1, "lines": [{"position": 9, "at": datetime(2026, 1, 1, tzinfo=UTC), "level": 20,
                                            "message": "m"}]},
    ],
)  # fmt: skip
def test_lines_of_a_wrong_type_are_refused(event: dict[str, Any]) -> None:
    """The same holds for events of log lines."""
    with pytest.raises(events.EventError):
        events.decode_log(bson.encode(event))
