"""What a watcher of a list has not yet taken: the newest of each task, and whether the filter found it before."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from gql_api.events import Deletion
from gql_api.record.reads import TaskRecord

# So many tasks may wait. A watcher that falls further behind has to begin anew.
MAX_WAITING = 1000
# An event may come so long after a replay has read what it tells.
_LATE = timedelta(seconds=60)
_UNTOLD = (0, 0.0)

Predicate = Callable[[TaskRecord], bool]
"""A filter's reading in memory; raises :class:`LookupError` when it depends on what a record does not tell."""


class FellBehindError(Exception):
    """More has changed than a watcher has taken, and more than is kept for it."""


@dataclass
class News:
    """A change that a list hears of.

    ``is_sudden`` says that changes before it were missed: then nobody knows what the task was before.
    """

    record: TaskRecord
    is_sudden: bool = False

    def may_have_matched(self, holds: Predicate) -> bool:
        """Whether a filter may have found the task as it was before; no only when that is certain."""
        if self.is_sudden:
            return True
        try:
            return self._before is not None and holds(self._before)
        except LookupError:
            return True

    @cached_property
    def _before(self) -> TaskRecord | None:
        return self.record.before()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The newest of a task. ``matches`` is None when the record has to be read to know."""

    news: TaskRecord | Deletion
    matches: bool | None


@dataclass(eq=False)
class ListMailbox:
    """Predicate what a filter's watcher has to be told: tasks that the filter finds, found before, or may have found.

    Of each task it holds the newest only. What the filter never found takes no room.
    """

    holds: Predicate
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    # By id: the last revision that was told without its event, and when.
    _told: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    has_fallen_behind: bool = False
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, news: News) -> None:
        """Hear of a change; nothing older than what was heard before."""
        record = news.record
        if record.revision <= self._told.get(record.id, _UNTOLD)[0]:
            return
        try:
            matches = self.holds(record)
        except LookupError:
            matches = None
        if matches is not False or record.id in self._waiting or news.may_have_matched(self.holds):
            self._leave(record.id, Waiting(record, matches))

    def delete(self, deletion: Deletion, *, is_sudden: bool) -> None:
        """Hear that a task is no more; ``is_sudden`` as with :class:`News`."""
        try:
            matched = is_sudden or deletion.record is None or self.holds(deletion.record)
        except LookupError:
            matched = True
        if matched or deletion.task_id in self._waiting:
            self._leave(deletion.task_id, Waiting(deletion, matched))

    def replayed(self, record: TaskRecord, began: datetime) -> None:
        """Note what a replay tells that began at a time: an event of the same, or of less, may wait, or come late."""
        if record.updated_at >= began - _LATE:
            self._remember(record)
        waiting = self._waiting.get(record.id)
        if waiting is not None and isinstance(waiting.news, TaskRecord) and waiting.news.revision <= record.revision:
            del self._waiting[record.id]

    async def take(self) -> list[Waiting]:
        """Wait for changes, and take all.

        Raises:
            FellBehindError: some were dropped.
        """
        await self._filled.wait()
        self._filled.clear()
        if self.has_fallen_behind:
            raise FellBehindError
        waiting, self._waiting = self._waiting, {}
        return list(waiting.values())

    def _remember(self, record: TaskRecord) -> None:
        now = time.monotonic()
        self._told[record.id] = record.revision, now
        self._told.move_to_end(record.id)
        while now - next(iter(self._told.values()))[1] > _LATE.total_seconds():
            self._told.popitem(last=False)

    def _leave(self, task_id: str, waiting: Waiting) -> None:
        self._waiting.pop(task_id, None)
        self._waiting[task_id] = waiting
        if len(self._waiting) > MAX_WAITING:
            self._waiting.clear()
            self.has_fallen_behind = True
        self._filled.set()
