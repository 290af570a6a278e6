"""What the watchers of lists have received, and what they do not have to remember."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from task_life import Clock, TaskLife

from gql_api.access.visibility import EVERYTHING, Visibility, visibility_of
from gql_api.api.pubsub import received
from gql_api.api.pubsub.list_filter import ListFilter, RecordChange, Verdict
from gql_api.api.pubsub.list_mailbox import FellBehindError, ListMailbox
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.api.pubsub.received import ReceivedVersions
from gql_api.events import Deletion
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
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
    return ListMailbox(ListFilter(EVERYTHING, TaskFilter()))


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
    versions, version = ReceivedVersions[str](), _record(1).version
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
    record, matches = _record(2), Verdict(matches=True, is_visible=True, was_visible=True, may_have_matched=True)
    mailbox.put(record, matches)
    mailbox.replayed(record, _BEGAN)
    mailbox.put(record, matches)
    mailbox.put(newer := _record(3), matches)
    assert await _taken(mailbox) == [newer]


def _id_of(latest: TaskRecord | Deletion) -> str:
    return latest.task_id if isinstance(latest, Deletion) else latest.id


def _list_of(kind: str, visibility: Visibility = EVERYTHING) -> ListMailbox:
    filter_ = TaskFilter(metadata=[MetadataCondition("kind", {Operator.EQ: kind})])
    return ListMailbox(ListFilter(visibility, filter_))


def _visibility_of(customer: int) -> Visibility:
    return Visibility(TaskFilter(metadata=[MetadataCondition("customer", {Operator.EQ: customer})]))


@pytest.mark.parametrize("maximum", [10, 0])
async def test_the_lists_that_have_a_lost_state_receive_its_correction(
    maximum: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that MongoDB has does not show the lost state. If there are too many to remember, all receive it."""
    monkeypatch.setattr(received, "_MAX_HOLDERS", maximum)
    watchers, had, other = ListWatchers(), _list_of("lost"), _list_of("other")
    for mailbox in (had, other):
        watchers.add(mailbox)
    life = TaskLife("t", Clock(), {"kind": "stored"})
    stored = life.stored()
    watchers.put(life.event())
    life.replace_metadata({"kind": "lost"})
    watchers.put(life.event())
    assert [change.matches for change in await had.take()] == [True]
    assert watchers.correct(stored, life.stored().version)
    assert [change.matches for change in await had.take()] == [False]
    watchers.put(TaskLife("u", Clock(), {"kind": "other"}).event())
    assert {_id_of(change.latest) for change in await other.take()} == ({"u"} if maximum else {"t", "u"})


async def test_a_lost_creation_is_taken_back_from_those_who_saw_the_task() -> None:
    """Nothing is left of it that could be compared with a visibility; others do not learn that there was a task."""
    watchers, alice, bob = ListWatchers(), *(_list_of("a", visibility_of(owner, None)) for owner in ("alice", "bob"))
    of_all, other = ListMailbox(ListFilter(EVERYTHING, TaskFilter())), _list_of("b")
    for mailbox in (alice, bob, of_all, other):
        watchers.add(mailbox)
    lost = TaskLife("t", Clock(), {"kind": "a"}, **{fields.OWNER: "alice"}).event()
    watchers.put(lost)
    assert await _taken(alice) == [lost]
    assert watchers.retract("t", lost.version)
    for mailbox in (alice, of_all):
        (deletion,) = await _taken(mailbox)
        assert isinstance(deletion, Deletion)
    watchers.put(seen := TaskLife("u", Clock(), {"kind": "a"}, **{fields.OWNER: "bob"}).event())
    watchers.put(last := TaskLife("v", Clock(), {"kind": "b"}).event())
    assert (await _taken(bob), await _taken(other)) == ([seen], [last])


async def test_a_lost_state_in_which_a_task_was_visible_is_taken_back() -> None:
    """The record that MongoDB has does not show it: the task leaves the lists of those who saw it only."""
    watchers, customers = ListWatchers(), [_list_of("a", _visibility_of(customer)) for customer in (1, 2)]
    for mailbox in customers:
        watchers.add(mailbox)
    life = TaskLife("t", Clock(), {"kind": "a", "customer": 3})
    stored = life.stored()
    watchers.put(life.event())
    life.replace_metadata({"kind": "a", "customer": 1})
    watchers.put(life.event())
    assert [change.matches for change in await customers[0].take()] == [True]
    assert watchers.correct(stored, life.stored().version)
    watchers.put(last := TaskLife("u", Clock(), {"kind": "a", "customer": 2}).event())
    (left,) = await customers[0].take()
    assert (left.matches, left.is_known) == (False, True)
    assert await _taken(customers[1]) == [last]


@pytest.mark.parametrize("was_missed", [False, True])
async def test_a_task_leaves_a_visibility_that_depends_on_its_status(*, was_missed: bool) -> None:
    """Although the filter reads nothing that has changed; a task that the filter never matched is no news."""
    watchers, queued = ListWatchers(), Visibility(TaskFilter(statuses=[fields.Status.QUEUED]))
    had, other = (_list_of(kind, queued) for kind in ("a", "b"))
    for mailbox in (had, other):
        watchers.add(mailbox)
    life = TaskLife("t", Clock(), {"kind": "a"})
    watchers.put(life.event())
    assert [change.matches for change in await had.take()] == [True]
    watchers.confirm("t", life.stored().version)
    life.move(fields.Status.STARTED)
    if was_missed:
        life.progress()
    watchers.put(life.event())
    assert [(change.matches, change.is_known) for change in await had.take()] == [(False, True)]
    watchers.put(last := TaskLife("u", Clock(), {"kind": "b"}).event())
    assert await _taken(other) == [last]


async def test_a_task_leaves_lists_when_its_states_since_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """More transitions were missed than a record keeps: only lists that it can never have been in have no news."""
    monkeypatch.setattr(fields, "HISTORY_LENGTH", 2)
    queued, of_another = (
        ListMailbox(ListFilter(EVERYTHING, TaskFilter(names=names, statuses=[fields.Status.QUEUED])))
        for names in (None, ["b"])
    )
    watchers, life = ListWatchers(), TaskLife("t", Clock(), {})
    for mailbox in (queued, of_another):
        watchers.add(mailbox)
    watchers.put(life.event())
    assert [change.matches for change in await queued.take()] == [True]
    watchers.confirm("t", life.stored().version)
    for status in (fields.Status.STARTED, fields.Status.RETRY, fields.Status.STARTED, fields.Status.SUCCESS):
        life.move(status)
    watchers.put(life.event())
    assert [change.matches for change in await queued.take()] == [False]
    watchers.put(last := TaskLife("u", Clock(), {}, **{fields.NAME: "b"}).event())
    assert await _taken(of_another) == [last]


async def test_lists_with_equal_filters_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of their watchers receive the change, and a list that no event concerns is not compared at all."""
    compared, judge = list[ListFilter](), ListFilter.judge

    def counted(self: ListFilter, change: RecordChange, **known: bool) -> Verdict | None:
        compared.append(self)
        return judge(self, change, **known)

    monkeypatch.setattr(ListFilter, "judge", counted)
    watchers, mailboxes, other = ListWatchers(), [_list_of("a") for _ in range(3)], _list_of("b")
    for mailbox in (*mailboxes, other):
        watchers.add(mailbox)
    watchers.put(record := TaskLife("t", Clock(), {"kind": "a"}).event())
    for mailbox in mailboxes:
        assert await _taken(mailbox) == [record]
    assert compared == [mailboxes[0].filter]
    for mailbox in (*mailboxes, other):
        watchers.remove(mailbox)
    assert len(watchers) == 0
