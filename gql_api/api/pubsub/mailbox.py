"""Mailboxes of the watchers of one task: the newest record, or a few batches of log lines, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gql_api.record.logs import LogBatch, LogLine
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

# A batch may have 32 KiB.
_MAX_BATCHES = 8
# The highest LOG_MAX_LINES.
_MAX_LINES = 100_000


class Mailbox:
    """A mailbox for at most one record, so that a slow watcher costs bounded memory and never receives stale records.

    A record that is not news is dropped (:meth:`Version.is_news`). Versions rise until MongoDB loses one that was put.
    """

    # There are thousands of mailboxes, and the event loop passes through all of them: slots make that faster.
    __slots__ = ("_accept", "_is_deleted", "_is_due", "_newest", "_schedule", "_waiting", "version")
    # True for a watcher from whom the task has always been hidden so far.
    is_hidden: bool = False

    def __init__(self) -> None:
        self._newest: TaskRecord | None = None
        self._is_deleted = False
        self.version = NO_VERSION  # the newest received
        # Set while a coroutine waits in take. An asyncio.Event is five times as large.
        self._waiting: asyncio.Future[None] | None = None
        self._schedule: Callable[[Callable[[], None]], None] | None = None
        self._accept: Callable[[TaskRecord], bool] = _refuse
        self._is_due = False

    def deliver_directly(
        self, schedule: Callable[[Callable[[], None]], None], accept: Callable[[TaskRecord], bool]
    ) -> None:
        """Deliver records to a function at the end of a tick of the event loop, without waking the watcher.

        Records are delivered directly only while the watcher waits in :meth:`take`: those it has taken come first. The
        watcher takes what the function does not accept.

        Args:
            schedule: schedules a callback for the end of the tick.
            accept: processes a record, and returns whether it did.
        """
        self._schedule, self._accept = schedule, accept

    def delete(self, _last: TaskRecord | None = None, /) -> None:
        """Note that the task has been deleted: :meth:`take` returns None behind the last record.

        A mailbox of a watcher that does not see all tasks compares the last record with its visibility.
        """
        self._is_deleted = True
        self._wake()

    def put(self, record: TaskRecord, version: Version) -> bool:
        """Add a record, with its version, and return whether it is news."""
        last = self.version
        # Most records have a higher revision, and thousands of mailboxes receive each: the whole rule takes a call.
        if (version.revision <= last.revision or last.is_final) and not version.is_news(last):
            return False
        self.version = version
        self._newest = record
        if self._schedule is None or self._waiting is None:
            self._wake()
        elif not self._is_due:
            self._is_due = True
            self._schedule(self._deliver)
        return True

    def correct(self, record: TaskRecord) -> None:
        """Add a record that is the truth, whatever came before."""
        self.version = NO_VERSION
        self.put(record, record.version)

    def rebase(self, version: Version) -> None:
        """Continue from an earlier version: MongoDB lost what came after it, and the next change is news again."""
        self.version = version

    def skip(self, version: Version) -> None:
        """Note a version that the watcher has read itself; drop a record that is not news then."""
        if self._newest is not None and not self._newest.version.is_news(version):
            self._newest = None
        if version.is_news(self.version):
            self.version = version

    async def take(self) -> TaskRecord | None:
        """Wait for the next record; None when the task has been deleted.

        Only one coroutine may wait at a time.
        """
        while self._newest is None:
            if self._is_deleted:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        record, self._newest = self._newest, None
        return record

    def _deliver(self) -> None:
        self._is_due = False
        if self._newest is None:
            return
        if self._waiting is not None and self._accept(self._newest):
            self._newest = None
        else:
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():  # a watcher that has just been cancelled has ended it
            waiting.set_result(None)


def _refuse(_record: TaskRecord) -> bool:
    return False


class LogMailbox:
    """A mailbox for the watcher of a task's log: it contains lines without a gap between them.

    When lines are missing, or too many wait, the mailbox drops its lines, and the watcher reads them from MongoDB. So a
    slow watcher costs bounded memory and misses nothing.
    """

    is_hidden: bool = False

    def __init__(self) -> None:
        self.has_left = False
        self.version = NO_VERSION  # the newest received
        self.is_final = False
        self._until: int | None = None
        self._batches: list[LogBatch] = []
        self._must_read = False
        self._filled = asyncio.Event()

    def put(self, record: TaskRecord, version: Version) -> bool:
        """Note the state of the task, and return whether it is news. All lines of a final task are stored."""
        if not version.is_news(self.version):
            return False
        self.correct(record)
        return True

    def correct(self, record: TaskRecord) -> None:
        """Note the true state of the task, whatever came before."""
        self.rebase(record.version)
        if record.is_final:
            self.is_final = True
            self._filled.set()

    def rebase(self, version: Version) -> None:
        """Continue from an earlier version; see :meth:`Mailbox.rebase`."""
        self.version = version

    def delete(self, _last: TaskRecord | None = None, /) -> None:
        """Note that the task has been deleted: it was final, and no lines will follow."""
        self.is_final = True
        self._filled.set()

    def leave(self) -> None:
        """Note that the task is not visible any more: its lines that wait are dropped, and the watcher ends."""
        self.has_left = True
        self._batches.clear()
        self._filled.set()

    def put_lines(self, batch: LogBatch) -> None:
        """Add lines, in the order in which they were stored."""
        # Lines before the first batch may be missing, because MongoDB may have been read before they were stored.
        if self._until is not None and batch.first - self._until > _MAX_LINES:
            # No log has so many lines: MongoDB knows better.
            self.read_again()
            return
        follows = self._until is not None and batch.first <= self._until + 1
        self._until = max(self._until or 0, batch.until)
        if batch.lines is None or not follows or len(self._batches) == _MAX_BATCHES:
            self.read_again()
        elif not self._must_read:
            self._batches.append(batch)
            self._filled.set()

    def compare_count(self, count: int) -> None:
        """Let the watcher read MongoDB when the task has logged more lines than arrived here."""
        if count > (self._until or 0):
            self.read_again()

    def read_again(self) -> None:
        """Let the watcher read MongoDB."""
        self._batches.clear()
        self._must_read = True
        self._filled.set()

    async def take(self) -> list[LogLine] | None:
        """Wait for lines; None when the watcher has to read them from MongoDB, as at the end of the task."""
        await self._filled.wait()
        self._filled.clear()
        batches, self._batches = self._batches, []
        must_read, self._must_read = self._must_read, False
        if must_read or self.is_final or self.has_left:
            return None
        return [line for batch in batches for line in batch.lines or ()]
