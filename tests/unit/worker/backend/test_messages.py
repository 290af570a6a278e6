from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.messages import SENT_AT_HEADER, parts_of_message, sent_at_header, sent_at_of

_TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def _record(status: Status, due_at: datetime | None) -> TaskRecord:
    return TaskRecord({"_id": "t", "revision": 1, "status": status, **({} if due_at is None else {"due_at": due_at})})


def test_a_message_carries_the_time_at_which_its_task_was_queued() -> None:
    """The header is exact to the millisecond, as the record is, and not kept in the record."""
    headers = sent_at_header(_record(Status.QUEUED, _TIME))
    assert sent_at_of(headers) == _TIME
    assert parts_of_message({**headers, "mine": 1}, {}, lambda value: value).headers == {"mine": 1}


@pytest.mark.parametrize(("status", "due_at"), [(Status.STARTED, _TIME), (Status.QUEUED, None)])
def test_a_task_that_is_not_queued_has_no_time(status: Status, due_at: datetime | None) -> None:
    """The time of another state, or of a task that recovery leaves alone, says nothing about a message."""
    assert sent_at_header(_record(status, due_at)) == {}


@pytest.mark.parametrize("value", [None, 5, "", "yesterday", ["2026"]])
def test_a_header_of_another_program_is_ignored(value: Any) -> None:
    """A header that is not a time is read as none."""
    assert sent_at_of({SENT_AT_HEADER: value}) is None
    assert sent_at_of({}) is None
