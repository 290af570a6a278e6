"""The watchers of lists, and what they have received: delivers changes, deletions and corrections to them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub.list_filter import ListFilter, RecordChange
from gql_api.api.pubsub.list_index import ListIndex
from gql_api.api.pubsub.list_mailbox import ListMailbox
from gql_api.api.pubsub.received import DELETED, REMEMBERED_SECONDS, ReceivedVersions
from gql_api.events import Deletion
from gql_api.query.filter import TaskFilter
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

# The event of a change that is older is not remembered for certain: half of the time allows for the way of the event.
_REMEMBERED = timedelta(seconds=REMEMBERED_SECONDS / 2)
_MIN_TIME = datetime.min.replace(tzinfo=UTC)
_OF_EVERYTHING = ListFilter(EVERYTHING, TaskFilter())


class ListWatchers:
    """The mailboxes of all lists that are watched, and the last version of each task that they have received.

    Lists with equal filters are compared with each change once.

    Attributes:
        watched_since: the beginning of the first watch, by the clock of MongoDB; None without watchers.
        listening_since: the time from which on all events are received.
        complete_until: the time before which no change was missed: a scan has found those whose events were lost.
    """

    def __init__(self) -> None:
        self.watched_since: datetime | None = None
        self.listening_since: datetime | None = None
        self.complete_until = _MIN_TIME
        self.received = ReceivedVersions[ListFilter]()
        self._mailboxes: dict[ListFilter, set[ListMailbox]] = {}
        self._index = ListIndex[ListFilter]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, mailbox: ListMailbox) -> None:
        """Add a watcher."""
        mailboxes = self._mailboxes.setdefault(mailbox.filter, set())
        if not mailboxes:
            self._index.add(mailbox.filter, mailbox.filter.required)
        mailboxes.add(mailbox)
        self._count += 1

    def remove(self, mailbox: ListMailbox) -> None:
        """Remove a watcher; with the last one, what all of them have received is forgotten."""
        mailboxes = self._mailboxes[mailbox.filter]
        mailboxes.remove(mailbox)
        self._count -= 1
        if not mailboxes:
            del self._mailboxes[mailbox.filter]
            self._index.remove(mailbox.filter)
        if not self._mailboxes:
            self.watched_since = self.listening_since = None
            self.complete_until = _MIN_TIME
            self.received.clear()

    def put(self, record: TaskRecord, *, is_sudden: bool = False, is_certain: bool = False) -> bool:
        """Deliver a record if it is news, and return whether it is.

        Args:
            record: the record.
            is_sudden: whether changes before this one were missed for certain.
            is_certain: whether MongoDB cannot lose the record.
        """
        version, last = record.version, self.received.last(record.id)
        if not version.is_news(last):
            return False
        if is_sudden or self._missed_before(record):
            was_received = last is not NO_VERSION
            # From then on, only the time counts.
            first = last if was_received else Version(record.revision, self.complete_until, record.status)
            holders = self._deliver(RecordChange.after(record, first, was_received=was_received))
        else:
            holders = self._deliver(RecordChange.next(record))
        if is_certain:
            self.received.confirm(record.id, version)
        else:
            self.received.add(record.id, version, holders)
        return True

    def depends_on_mongodb(self, record: TaskRecord) -> bool:
        """Return whether only MongoDB knows in which states a task was since the watchers received it last.

        That is so if changes before the record were missed, and the metadata have changed with one of them.
        """
        last = self.received.last(record.id)
        return (
            (record.metadata_revision or 0) > last.revision
            and record.version.is_news(last)
            and self._missed_before(record)
        )

    def delete(self, deletion: Deletion) -> bool:
        """Deliver a deletion, and return whether it is news."""
        task_id, last = deletion.task_id, deletion.record
        if self.received.last(task_id) is DELETED:
            return False
        is_sudden = last is None or self._missed(last.id, last.revision, last.updated_at, deletion.at)
        held = self.received.holders(task_id)
        self.received.confirm(task_id, DELETED)
        for filter_ in self._concerned(deletion.last, None if is_sudden else (), held):
            is_visible = filter_.visibility.certainly_sees(deletion.last)
            matched = filter_ in (held or ()) or filter_.matched_last(deletion, is_sudden=is_sudden)
            for mailbox in self._mailboxes[filter_]:
                mailbox.delete(deletion, is_visible=is_visible, matched=matched)
        return True

    def correct(self, record: TaskRecord, lost: Version) -> bool:
        """Deliver a record that MongoDB has instead of a lost version."""
        if self.received.last(record.id) != lost or record.version.is_news(lost):
            return False  # something newer has come meanwhile, or is on its way
        self._deliver(RecordChange.after(record, lost))
        self.received.confirm(record.id, record.version)
        return True

    def retract(self, task_id: str, lost: Version) -> bool:
        """Deliver the end of a task whose creation was lost; it may be created again."""
        if self.received.last(task_id) != lost:
            return False
        deletion, held = Deletion(task_id, lost.updated_at), self.received.holders(task_id)
        self.received.forget(task_id)
        # Nothing is left of the task to be compared with filters, but these lists have it.
        concerned = dict.fromkeys(self._mailboxes, False) if held is None else {_OF_EVERYTHING: True, **held}
        for filter_, was_seen in concerned.items():
            is_visible = was_seen or filter_.visibility.sees_everything
            for mailbox in self._mailboxes.get(filter_, ()):
                mailbox.delete(deletion, is_visible=is_visible, matched=True)
        return True

    def confirm(self, task_id: str, version: Version) -> None:
        """Note that MongoDB cannot lose the version that the watchers have."""
        if self.received.last(task_id) == version:
            self.received.confirm(task_id, version)

    def give_up(self) -> None:
        """Let all watchers resume with ``since``: too much has come since MongoDB could confirm it."""
        self.received.clear()
        for mailboxes in self._mailboxes.values():
            for mailbox in mailboxes:
                mailbox.fall_behind()

    def is_news(self, record: TaskRecord) -> bool:
        """Return whether the watchers have not received a record, nor a newer one."""
        return record.version.is_news(self.received.last(record.id))

    def concerns(self, task_id: str, at: datetime) -> bool:
        """Return whether a change was made since the first watcher came, or follows one that watchers received."""
        return task_id in self.received or (self.watched_since is not None and at >= self.watched_since)

    def _deliver(self, change: RecordChange) -> Mapping[ListFilter, bool] | None:
        """Deliver a change to the lists that it concerns, and return the lists that have the task afterwards.

        Of each it is known whether the task is certainly visible to its watchers. None if there may be others: they
        receive the next change that is sudden, like all lists.
        """
        record, holders = change.record, dict[ListFilter, bool]()
        known = self.received.holders(record.id)
        held, may_all_hold = known or {}, change.is_sudden and known is None
        for filter_ in self._mailboxes if may_all_hold else self._concerned(record, change.former, held):
            saw = held.get(filter_) if held else None
            verdict = filter_.judge(change, is_held=may_all_hold or saw is not None, was_seen=saw is True)
            if verdict is None:
                continue
            for mailbox in self._mailboxes[filter_]:
                mailbox.put(record, verdict)
            if verdict.matches is not False and not filter_.shows_everything:
                holders[filter_] = verdict.is_visible is True
        return None if known is None and not change.is_sudden else holders

    def _concerned(
        self,
        record: TaskRecord | None,
        former: Sequence[TaskRecord] | None,
        held: Mapping[ListFilter, bool] | None,
    ) -> Iterable[ListFilter]:
        """Return the lists that a change may concern, of a task that is known or not, in former states."""
        if record is None:
            return self._mailboxes
        concerned = self._index.candidates(record, former)
        if held:
            concerned |= held.keys() & self._mailboxes.keys()  # some may have no watchers any more
        return concerned

    def _missed_before(self, record: TaskRecord) -> bool:
        """Return whether the event of the change before a record's last one was missed."""
        if record.revision == 1:
            return False
        last = record.history[-1]
        earlier = last if last.revision < record.revision else record.history[-2]
        changed_between = earlier.revision < (record.metadata_revision or 0) < record.revision
        if changed_between and record.id not in self.received:
            return True  # the time is unknown: the history does not have changes of metadata
        return self._missed(record.id, record.revision - 1, earlier.at, record.updated_at)

    def _missed(self, task_id: str, revision: int, at: datetime, now: datetime) -> bool:
        """Return whether the event of a change should have been received, and was not."""
        if task_id in self.received:
            # The last record in a deletion may be older than a record received before.
            return self.received.last(task_id).revision != revision
        return now - at < _REMEMBERED and self.listening_since is not None and at > self.listening_since
