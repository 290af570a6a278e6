"""Mailboxes of watchers that do not see all tasks: they compare each record with the visibility of their watcher.

A task that is not visible is for its watcher like one that does not exist. It may come to exist when its metadata
changes, and one that is not visible any more is like a deleted one.
"""

from __future__ import annotations

from gql_api.access.visibility import Visibility
from gql_api.api.pubsub.mailbox import LogMailbox, Mailbox
from gql_api.record.logs import LogBatch
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord


def mailbox_for(visibility: Visibility) -> Mailbox:
    """Create the mailbox of a watcher of a task."""
    return Mailbox() if visibility.sees_everything else JudgingMailbox(visibility)


def log_mailbox_for(visibility: Visibility) -> LogMailbox:
    """Create the mailbox of a watcher of a log."""
    return LogMailbox() if visibility.sees_everything else JudgingLogMailbox(visibility)


class JudgingMailbox(Mailbox):
    """A mailbox for the records of a task while it is visible."""

    __slots__ = ("_is_settled", "_visibility", "is_hidden")

    def __init__(self, visibility: Visibility) -> None:
        super().__init__()
        self._visibility = visibility
        # True until the task has been visible for the first time. Its versions are noted meanwhile.
        self.is_hidden = True
        # True once the task is known to be visible for as long as it exists.
        self._is_settled = False

    def put(self, record: TaskRecord, version: Version) -> bool:
        """Add a record if it is visible and news, and return whether it is.

        Raises:
            LookupError: that depends on a field that the record does not know.
        """
        if self._is_settled:
            return super().put(record, version)
        if self._is_deleted:
            return False
        if not version.is_news(self.version):
            if self.is_hidden and self._visibility.sees(record):
                super().delete()  # a later version came first, in which it is not visible any more
            return False
        if self._visibility.sees(record):
            self.is_hidden, self._is_settled = False, self._visibility.is_lasting
            return super().put(record, version)
        self.version = version
        if not self.is_hidden:
            self._newest = None  # it was visible, and is not any more
            super().delete()
        return False

    def delete(self, last: TaskRecord | None = None, /) -> None:
        """Note that the task has been deleted, if it was visible."""
        if not self.is_hidden or self._visibility.certainly_sees(last):
            super().delete()


class JudgingLogMailbox(LogMailbox):
    """A mailbox for the lines of a task's log while the task is visible.

    Lines do not tell whether their task is still visible. If that can change, the watcher reads all of them from
    MongoDB, which compares the task with the visibility.
    """

    def __init__(self, visibility: Visibility) -> None:
        super().__init__()
        self._visibility = visibility
        self.is_hidden = True

    def put(self, record: TaskRecord, version: Version) -> bool:
        """Note the state of the task, and return whether it is news."""
        if self.is_hidden and not version.is_news(self.version) and self._visibility.sees(record):
            self.leave()  # a later version came first, in which it is not visible any more
        return super().put(record, version)

    def correct(self, record: TaskRecord) -> None:
        """Note the true state of the task, if it is visible, whatever came before.

        Raises:
            LookupError: whether it is visible depends on a field that the record does not know.
        """
        if self.has_left:
            return
        if self._visibility.sees(record):
            was_hidden, self.is_hidden = self.is_hidden, False
            if was_hidden:
                self.read_again()  # the lines until now
            super().correct(record)
        elif self.is_hidden:
            self.rebase(record.version)
        else:
            self.leave()

    def delete(self, last: TaskRecord | None = None, /) -> None:
        """Note that the task has been deleted, if it was visible."""
        if not self.is_hidden or self._visibility.certainly_sees(last):
            super().delete()

    def put_lines(self, batch: LogBatch) -> None:
        """Add lines, or let the watcher read them."""
        if self.is_hidden:
            return
        super().put_lines(batch)
        if not self._visibility.is_lasting:
            self.read_again()

    def compare_count(self, count: int) -> None:
        """Let the watcher read MongoDB when the visible task has logged more lines than arrived here."""
        if not self.is_hidden:
            super().compare_count(count)

    def read_again(self) -> None:
        """Let the watcher read MongoDB, if the task is visible."""
        if not self.is_hidden:
            super().read_again()


def is_seen(mailbox: Mailbox | LogMailbox, version: Version) -> bool:
    """Return whether the watcher of a mailbox that has a version knows that the task exists."""
    return version != NO_VERSION and not mailbox.is_hidden
