"""The states that a task was in, as its record or an event knows them."""

from __future__ import annotations

from datetime import datetime

import pytest
from task_life import BEGAN, Clock, TaskLife

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.past.former_states import states_since, with_former_metadata
from gql_api.record.reads import TaskRecord

_UNKNOWN = "unknown"


@pytest.fixture
def life() -> TaskLife:
    """A task at revision 7, whose metadata changed with revisions 3 and 5."""
    life = TaskLife("t", Clock(), {"a": 1})
    life.move(Status.STARTED)
    life.replace_metadata({"a": 2})
    life.move(Status.RETRY)
    life.replace_metadata({"a": 3})
    life.progress()
    life.move(Status.STARTED)
    return life


def _states(record: TaskRecord, revision: int = 0, at: datetime = BEGAN) -> list[tuple[str, object]]:
    return [
        (state.status.value, _UNKNOWN if "metadata" in state.omitted else state.metadata["a"])
        for state in states_since(record, revision, at)
    ]


def test_a_record_knows_all_states_with_the_metadata_that_are_kept(life: TaskLife) -> None:
    """Each status with the metadata of its time, the present state left out."""
    assert _states(life.stored()) == [("QUEUED", 1), ("STARTED", 1), ("STARTED", 2), ("RETRY", 2), ("RETRY", 3)]


def test_states_begin_with_that_of_a_revision_or_a_time(life: TaskLife) -> None:
    """The state that the task was in then is the first; one of two starts that is earlier counts."""
    record = life.stored()
    times = [entry.at for entry in record.history]
    assert _states(record, 4, record.updated_at) == [("RETRY", 2), ("RETRY", 3)]
    assert _states(record, 7, times[2]) == [("STARTED", 2), ("RETRY", 2), ("RETRY", 3)]
    assert _states(record, 6, record.updated_at) == [("RETRY", 3)]


def test_an_event_knows_the_metadata_that_it_replaced_only(life: TaskLife) -> None:
    """Former metadata are in no event: before the last change of theirs they are not known."""
    assert _states(life.event(), 4, life.event().updated_at) == [("RETRY", _UNKNOWN), ("RETRY", 3)]
    life.replace_metadata({"a": 4})
    assert _states(life.event(), 6, life.event().updated_at) == [("RETRY", _UNKNOWN), ("STARTED", 3)]


def test_former_metadata_without_their_first_revision_are_known_right_before_their_end(life: TaskLife) -> None:
    """Processes of earlier versions neither note that revision, nor the metadata that they replace."""
    life.replace_metadata({"a": 4}, knows_first=False)
    states = _states(life.stored(), 4, life.stored().updated_at)
    assert states == [("RETRY", 2), ("RETRY", _UNKNOWN), ("STARTED", 3)]


def test_the_states_before_the_kept_history_are_not_known(life: TaskLife) -> None:
    """Those from then on are."""
    life.document[f.HISTORY] = life.document[f.HISTORY][2:]
    with pytest.raises(LookupError):
        _states(life.stored())
    assert _states(life.stored(), 4, life.stored().updated_at) == [("RETRY", 2), ("RETRY", 3)]


def test_what_may_have_been_different_is_not_known(life: TaskLife) -> None:
    """The time of the change is not, the queue not after a retry, and the end only in final states."""
    (state,) = states_since(life.stored(), 6, life.stored().updated_at)
    assert state.omitted == {f.UPDATED_AT, f.QUEUE, f.ERROR}
    life.move(Status.SUCCESS)
    life.progress()
    *_, started, succeeded = states_since(life.stored(), 0, BEGAN)
    assert (started.finished_at, succeeded.finished_at) == (None, life.stored().finished_at)


def test_a_new_task_has_no_former_state() -> None:
    """Nothing comes before its creation."""
    assert _states(TaskLife("t", Clock(), {"a": 1}).stored()) == []


@pytest.mark.parametrize("has_moved", [True, False])
def test_the_queue_of_a_task_that_ended_as_it_waited_for_a_retry_is_not_known(*, has_moved: bool) -> None:
    """The only attempt may have run in another queue; that of a task which ended in its only attempt is known."""
    life = TaskLife("t", Clock(), {"a": 1})
    life.move(Status.STARTED)
    if has_moved:
        life.move(Status.RETRY, "b")
    life.move(Status.REVOKED)
    assert all((f.QUEUE in state.omitted) is has_moved for state in states_since(life.stored(), 0, BEGAN))
    life.replace_metadata({"a": 2})
    ((former, _),) = with_former_metadata(life.stored(), BEGAN)
    assert (f.QUEUE in former.omitted) is has_moved
