"""The watchers of lists, and what they have received: delivers changes, deletions and corrections to them. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

from gql_api.api.pubsub.list_mailbox import ListMailbox, RecordChange
from gql_api.api.pubsub.received import DELETED, REMEMBERED_SECONDS, ReceivedVersions
from gql_api.events import Deletion
from gql_api.record.model import Version
from gql_api.record.reads import TaskRecord

# The event of a change that is older is not remembered for certain: half of the time allows for the way of the event.
_REMEMBERED = timedelta(seconds=REMEMBERED_SECONDS / 2)


class ListWatchers:
    """The mailboxes of all lists that are watched, and the last version of each task that they have received.

    Attributes:
        watched_since: the beginning of the first watch, by the clock of MongoDB; None without watchers.
        listening_since: the time from which on all events are received.
    """

    def __init__(self) -> None:
        self.watched_since: datetime | None = None
        self.listening_since: datetime | None = None
        self.received = ReceivedVersions()
        self._mailboxes: set[ListMailbox] = set()

    def __len__(self) -> int:
        return len(self._mailboxes)

    def add(self, mailbox: ListMailbox) -> None:
        """Add a watcher."""
        self._mailboxes.add(mailbox)

    def remove(self, mailbox: ListMailbox) -> None:
        """Remove a watcher; with the last one, what all of them have received is forgotten."""
        self._mailboxes.discard(mailbox)
        if not self._mailboxes:
            self.watched_since = self.listening_since = None
            self.received.clear()

    def put(self, record: TaskRecord, *, is_sudden: bool = False, is_certain: bool = False) -> bool:
        """Deliver a record if it is news, and return whether it is.

        Args:
            record: the record.
            is_sudden: whether changes before this one were missed for certain.
            is_certain: whether MongoDB cannot lose the record.
        """
        version = record.version
        if not version.is_news(self.received.last(record.id)):
            return False
        self._deliver(RecordChange(record, is_sudden=is_sudden or self._missed_before(record)))
        remember = self.received.confirm if is_certain else self.received.add
        remember(record.id, version)
        return True

    def delete(self, deletion: Deletion) -> bool:
        """Deliver a deletion, and return whether it is news."""
        if self.received.last(deletion.task_id) is DELETED:
            return False
        last = deletion.record
        is_sudden = last is None or self._missed(last.id, last.revision, last.updated_at, deletion.at)
        self.received.confirm(deletion.task_id, DELETED)
        for mailbox in self._mailboxes:
            mailbox.delete(deletion, is_sudden=is_sudden)
        return True

    def correct(self, record: TaskRecord, lost: Version) -> bool:
        """Deliver a record that MongoDB has instead of a lost version."""
        if self.received.last(record.id) != lost or record.version.is_news(lost):
            return False  # something newer has come meanwhile, or is on its way
        self._deliver(RecordChange(record, is_sudden=True))
        self.received.confirm(record.id, record.version)
        return True

    def retract(self, task_id: str, lost: Version) -> bool:
        """Deliver the end of a task whose creation was lost; it may be created again."""
        if self.received.last(task_id) != lost:
            return False
        self.delete(Deletion(task_id, lost.updated_at))
        self.received.forget(task_id)
        return True

    def confirm(self, task_id: str, version: Version) -> None:
        """Note that MongoDB cannot lose the version that the watchers have."""
        if self.received.last(task_id) == version:
            self.received.confirm(task_id, version)

    def give_up(self) -> None:
        """Let all watchers resume with ``since``: too much has come since MongoDB could confirm it."""
        self.received.clear()
        for mailbox in self._mailboxes:
            mailbox.fall_behind()

    def is_news(self, record: TaskRecord) -> bool:
        """Return whether the watchers have not received a record, nor a newer one."""
        return record.version.is_news(self.received.last(record.id))

    def concerns(self, task_id: str, at: datetime) -> bool:
        """Return whether a change was made since the first watcher came, or follows one that watchers received."""
        return task_id in self.received or (self.watched_since is not None and at >= self.watched_since)

    def _deliver(self, change: RecordChange) -> None:
        for mailbox in self._mailboxes:
            mailbox.put(change)

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
