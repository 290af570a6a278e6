"""What a watcher has not yet taken: the newest record, or a few batches of log, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gql_api.record.logs import LogBatch, LogLine
from gql_api.record.reads import TaskRecord

# Of lines that may be 32 KiB each batch.
_MAX_BATCHES = 8


class Mailbox:
    """Predicate at most one record, so that a slow watcher costs bounded memory and never sees anything stale.

    Revisions only rise: what is not newer than the newest seen, put or taken, is dropped.
    """

    # There are thousands, each of which is met in its turn: what is in one place is met sooner.
    __slots__ = ("_hand_to", "_is_deleted", "_is_due", "_later", "_newest", "_waiting", "revision")

    def __init__(self) -> None:
        self._newest: TaskRecord | None = None
        self._is_deleted = False
        self.revision = 0  # of the newest put
        # Of the one who takes, until it is woken. Nothing else is needed of an Event, which is five times as large.
        self._waiting: asyncio.Future[None] | None = None
        self._later: Callable[[Callable[[], None]], None] | None = None
        self._hand_to: Callable[[TaskRecord], bool] = _nobody
        self._is_due = False

    def hand_over(self, later: Callable[[Callable[[], None]], None], to: Callable[[TaskRecord], bool]) -> None:
        """Give records to a function at the end of a turn of the event loop, without waking the one who takes them.

        Only while that one waits for the next: what it has in hand comes first. What the function does not accept is
        for it to take.
        """
        self._later, self._hand_to = later, to

    def delete(self) -> None:
        """Hear that the task is no more."""
        self._is_deleted = True
        self._wake()

    def put(self, record: TaskRecord) -> bool:
        """Leave a record; return whether it was news."""
        if record.revision <= self.revision:
            return False
        self.revision = record.revision
        self._newest = record
        if self._later is None or self._waiting is None:
            self._wake()
        elif not self._is_due:
            self._is_due = True
            self._later(self._hand)
        return True

    async def take(self) -> TaskRecord | None:
        """Wait for a record newer than all taken before; None when there will be none, for the task was deleted.

        One at a time.
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

    def _hand(self) -> None:
        self._is_due = False
        if self._newest is None:
            return
        if self._waiting is not None and self._hand_to(self._newest):
            self._newest = None
        else:
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():  # it is when the one who takes has just been cancelled
            waiting.set_result(None)


def _nobody(_record: TaskRecord) -> bool:
    return False


class LogMailbox:
    """Predicate lines that follow each other without a gap, for whoever watches what a task logs.

    When some are missing, or too many wait, they are dropped and have to be read from MongoDB. So a slow watcher costs
    bounded memory and misses nothing.
    """

    def __init__(self) -> None:
        self.revision = 0  # of the newest record put
        self.is_final = False
        self._until: int | None = None
        self._batches: list[LogBatch] = []
        self._behind = False
        self._filled = asyncio.Event()

    def put(self, record: TaskRecord) -> bool:
        """Hear how the task is; return whether it was news. All that a final task has logged is stored."""
        if record.revision <= self.revision:
            return False
        self.revision = record.revision
        if record.is_final:
            self.is_final = True
            self._filled.set()
        return True

    def delete(self) -> None:
        """Hear that the task is no more: it was final, and nothing will follow."""
        self.is_final = True
        self._filled.set()

    def put_lines(self, batch: LogBatch) -> None:
        """Leave lines, in the order in which they were stored."""
        # What came before the first batch is not known: MongoDB may have been read before that.
        follows = self._until is not None and batch.first <= self._until + 1
        self._until = max(self._until or 0, batch.until)
        if batch.lines is None or not follows or len(self._batches) == _MAX_BATCHES:
            self.look_again()
        elif not self._behind:
            self._batches.append(batch)
            self._filled.set()

    def heard_of(self, count: int) -> None:
        """Look again when the task has logged more than came here."""
        if count > (self._until or 0):
            self.look_again()

    def look_again(self) -> None:
        """Let MongoDB be read."""
        self._batches.clear()
        self._behind = True
        self._filled.set()

    async def take(self) -> list[LogLine] | None:
        """Wait for lines; None when they have to be read from MongoDB, as at the end of the task."""
        await self._filled.wait()
        self._filled.clear()
        batches, self._batches = self._batches, []
        behind, self._behind = self._behind, False
        if behind or self.is_final:
            return None
        return [line for batch in batches for line in batch.lines or ()]
