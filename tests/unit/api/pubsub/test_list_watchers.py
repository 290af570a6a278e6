"""What the watchers of lists have received, and what they do not have to remember."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub import received
from gql_api.api.pubsub.list_mailbox import FellBehindError, ListMailbox, RecordChange
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.api.pubsub.received import ReceivedVersions
from gql_api.events import Deletion
from gql_api.record import fields
from gql_api.record.reads import TaskRecord

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _record(revision: int, status: str = "STARTED", task_id: str = "t", seconds: int | None = None) -> TaskRecord:
    at = _BEGAN + timedelta(seconds=revision if seconds is None else seconds)
    history = [{fields.REVISION: 1, fields.STATUS: "QUEUED", fields.AT: at}]
    document = {fields.ID: task_id, fields.REVISION: revision, fields.STATUS: status, fields.UPDATED_AT: at}
    return TaskRecord({**document, fields.HISTORY: [*history, {**history[0], fields.REVISION: revision}]})


async def _taken(mailbox: ListMailbox) -> list[TaskRecord | Deletion]:
    return [change.latest for change in await mailbox.take()]


@pytest.fixture
def mailbox() -> ListMailbox:
    """The mailbox of a list of all tasks."""
    return ListMailbox(EVERYTHING, lambda _: True)


@pytest.fixture
def watchers(mailbox: ListMailbox) -> ListWatchers:
    """The watchers of lists, of which there is one."""
    watchers = ListWatchers()
    watchers.add(mailbox)
    return watchers


async def test_the_end_reaches_lists_at_a_revision_that_was_used_before(
    watchers: ListWatchers, mailbox: ListMailbox
) -> None:
    """Progress that MongoDB lost hides neither the end of its task nor a later change."""
    assert watchers.put(_record(3))
    assert watchers.put(_record(3, seconds=10))
    assert watchers.put(end := _record(3, "SUCCESS", seconds=20))
    assert await _taken(mailbox) == [end]
    assert not watchers.put(_record(4, seconds=30))


async def test_a_correction_goes_back_to_what_a_replay_has_read(watchers: ListWatchers, mailbox: ListMailbox) -> None:
    """A replay drops the event of the record that it has read, and not the correction of a lost one that came later."""
    mailbox.replayed(stored := _record(2), _BEGAN)
    watchers.put(lost := _record(3))
    assert await _taken(mailbox) == [lost]
    assert watchers.correct(stored, lost.version)
    assert await _taken(mailbox) == [stored]


async def test_a_replay_that_is_behind_an_event_drops_nothing(watchers: ListWatchers, mailbox: ListMailbox) -> None:
    """The event may be of a lost version, and is corrected then, to what the replay has read."""
    watchers.put(lost := _record(3))
    mailbox.replayed(stored := _record(2), _BEGAN)
    assert await _taken(mailbox) == [lost]
    assert watchers.correct(stored, lost.version)
    assert await _taken(mailbox) == [stored]


async def test_a_version_that_was_overtaken_is_not_corrected(watchers: ListWatchers, mailbox: ListMailbox) -> None:
    """What came while MongoDB was read, and what it has by then, stays."""
    lost = _record(3)
    watchers.put(newer := _record(4))
    assert not watchers.correct(_record(2), lost.version)
    assert not watchers.retract("t", lost.version)
    assert not watchers.correct(_record(5), newer.version)
    assert await _taken(mailbox) == [newer]


async def test_a_task_whose_creation_was_lost_can_come_back(watchers: ListWatchers, mailbox: ListMailbox) -> None:
    """Its watchers receive a deletion, then the task again: another try may create it under the same id."""
    watchers.put(lost := _record(1, "QUEUED"))
    assert watchers.retract("t", lost.version)
    (gone,) = await _taken(mailbox)
    assert isinstance(gone, Deletion)
    assert watchers.put(again := _record(1, "QUEUED", seconds=60))
    assert await _taken(mailbox) == [again]


async def test_too_much_that_nothing_confirms_ends_the_watches(
    watchers: ListWatchers, mailbox: ListMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, however long MongoDB is away: then clients resume with since."""
    monkeypatch.setattr(received, "_MAX_UNCONFIRMED", 3)
    is_full = []
    for number in range(4):
        watchers.put(_record(1, "QUEUED", task_id=str(number)))
        is_full.append(watchers.received.is_full)
    watchers.give_up()
    assert [*is_full, watchers.received.is_full] == [False, False, False, True, False]
    with pytest.raises(FellBehindError):
        await mailbox.take()


async def test_a_version_is_kept_until_it_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes; a minute later it is forgotten."""
    clock = [0.0]
    monkeypatch.setattr("gql_api.api.pubsub.received.time.monotonic", lambda: clock[0])
    versions, version = ReceivedVersions(), _record(1).version
    versions.add("t", version)
    clock[0] = 3600
    versions.confirm("other", version)
    assert versions.unconfirmed() == {"t": version}
    versions.confirm("t", version)
    assert (versions.unconfirmed(), versions.last("t")) == ({}, version)
    clock[0] += 61
    versions.confirm("other", version)
    assert "t" not in versions


async def test_a_replayed_event_that_waits_is_dropped(mailbox: ListMailbox) -> None:
    """The event of a record that a replay has read is not sent behind it."""
    record = _record(2)
    mailbox.put(RecordChange(record))
    mailbox.replayed(record, _BEGAN)
    mailbox.put(RecordChange(record))
    mailbox.put(RecordChange(newer := _record(3)))
    assert await _taken(mailbox) == [newer]
