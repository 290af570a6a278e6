from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.int64 import Int64
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo import MongoClient, ReturnDocument
from strategies import JSON_VALUES, OBJECTS

from gql_api.api.creation.documents import NotCompleteError, complete
from gql_api.dispatch import for_version, hiding, time_limited
from gql_api.record import due, fields, writes
from gql_api.record.model import Arguments, MessageParts, NewTask
from gql_api.record.reads import FAST_CODEC, Document
from gql_api.settings import Settings

_TEXTS = st.sampled_from(["t", "$name", "$$NOW", "a.b", "é", "\ud800", "", "x" * 300])
_ARGUMENTS = st.builds(Arguments, st.lists(JSON_VALUES, max_size=3), OBJECTS)
_HEADERS = st.dictionaries(st.sampled_from(["timelimit", "group", "a.b", "$x"]), JSON_VALUES, max_size=3)
_PARTS = st.one_of(
    st.none(),
    st.builds(lambda: for_version(hiding(time_limited(1.5)), "t#1")),
    st.builds(MessageParts, _HEADERS, OBJECTS, st.none() | _TEXTS, st.none() | st.just([1]), st.none() | OBJECTS),
    st.just(MessageParts({"group": "g"}, {"chord": {"task": "body"}})),
)
_TASKS = st.builds(
    NewTask,
    id=st.uuids().map(str),
    name=_TEXTS,
    args=st.lists(JSON_VALUES, max_size=3),
    kwargs=OBJECTS,
    metadata=OBJECTS,
    queue=_TEXTS,
    priority=st.integers(-1, 2**40),
    parent_id=st.none() | _TEXTS,
    root_id=st.none() | _TEXTS,
    message=_PARTS,
    expires_in=st.none() | st.floats(0.001, 10**8),
    expires_after=st.none() | st.floats(0.001, 10**8),
    idempotency_key=st.none() | st.uuids().map(str),
    input_digest=st.none() | st.just("digest"),
    replay_of=st.none() | st.just("$other"),
    sender_token=st.none() | st.just("token"),
    shown=st.none() | _ARGUMENTS,
    owner=st.none() | _TEXTS,
    tenant=st.none() | _TEXTS,
    actor=st.none() | _TEXTS,
    key_space=st.none() | st.just("space"),
)


def test_a_complete_document_is_what_mongodb_makes(settings: Settings) -> None:
    """Whatever a task is, an insert stores the fields and types that the update of a single creation stores."""
    with MongoClient[Document](settings.mongodb_url) as client:
        tasks = client[settings.mongodb_database].get_collection(fields.TASKS, codec_options=FAST_CODEC)

        @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_TASKS, st.booleans())
        def are_equal(task: NewTask, shares_queues: bool) -> None:
            write = due.unsent(writes.create(task)) if shares_queues else writes.create(task)
            updated = tasks.find_one_and_update(*write, upsert=True, return_document=ReturnDocument.AFTER)
            assert updated is not None
            made = complete(write, updated[fields.CREATED_AT])
            tasks.delete_one({fields.ID: task.id})
            tasks.insert_one(dict(made))
            inserted = tasks.find_one_and_delete({fields.ID: task.id})
            assert inserted is not None
            assert _typed(inserted) == _typed(updated)
            # What is returned without a read has the same types too, but for integers of 64 bits.
            assert _typed(made, small=int) == _typed(updated, small=int)

        are_equal()


@pytest.mark.parametrize("task", [NewTask("t", "t", delay=1.0), NewTask("t", "t", scheduled_for=datetime.now(UTC))])
def test_what_mongodb_compares_is_left_to_it(task: NewTask) -> None:
    """Whether a task starts later, MongoDB decides by its clock when it stores the record."""
    with pytest.raises(NotCompleteError):
        complete(writes.create(task), datetime(2026, 1, 1))  # noqa: DTZ001 - as MongoDB's times are read


def _typed(value: Any, small: type = Int64) -> Any:
    """Return a value in which values of different types are not equal, and the order of fields does not matter."""
    if isinstance(value, dict):
        return {key: _typed(item, small) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, small) for item in value]
    kind = small if type(value) is Int64 else type(value)
    return kind, repr(value) if isinstance(value, float) else value
