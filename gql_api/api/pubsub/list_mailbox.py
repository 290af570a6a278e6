"""Mailboxes of the watchers of lists: the newest change of each task that concerns the filter."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from gql_api.api.errors import ApiError
from gql_api.events import Deletion
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

# The number of tasks whose changes may wait. A watcher that falls further behind has to start again.
MAX_WAITING = 1000
# The longest time between a replay that reads a change and the event of the same change.
_MAX_EVENT_DELAY = timedelta(seconds=60)
_NOT_REPLAYED = (NO_VERSION, 0.0)

Predicate = Callable[[TaskRecord], bool]
"""A filter in memory; raises :class:`LookupError` when the result depends on fields that a record does not have."""


class FellBehindError(ApiError):
    """More changes wait for a watcher than its mailbox keeps."""


@dataclass
class RecordChange:
    """A change of a task, as lists receive it.

    ``is_sudden`` is True when changes before this one were missed, so that the previous state of the task is unknown.
    """

    record: TaskRecord
    is_sudden: bool = False

    def may_have_matched(self, predicate: Predicate) -> bool:
        """Return whether a filter may have matched the previous state; False only when that is certain."""
        if self.is_sudden:
            return True
        try:
            return self._before is not None and predicate(self._before)
        except LookupError:
            return True

    @cached_property
    def _before(self) -> TaskRecord | None:
        return self.record.before()


@dataclass(frozen=True, slots=True)
class PendingChange:
    """The latest change of a task. ``matches`` is None until the record has been read."""

    latest: TaskRecord | Deletion
    matches: bool | None


@dataclass(eq=False)
class ListMailbox:
    """A mailbox for the changes of tasks that a filter matches, has matched, or may have matched.

    It contains only the latest change of each task. Tasks that the filter never matched take no space.
    """

    matches: Predicate
    _waiting: dict[str, PendingChange] = field(default_factory=dict)
    # By id: the last version that a replay has read before its event came, and the time of that.
    _replayed: OrderedDict[str, tuple[Version, float]] = field(default_factory=OrderedDict)
    has_fallen_behind: bool = False
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, change: RecordChange) -> None:
        """Add a change. The changes of each task come in their order, and corrections after what they correct."""
        record = change.record
        if not record.version.is_news(self._replayed.get(record.id, _NOT_REPLAYED)[0]):
            return
        self._replayed.pop(record.id, None)  # or a later correction could not go back to it
        try:
            matches = self.matches(record)
        except LookupError:
            matches = None
        if matches is not False or record.id in self._waiting or change.may_have_matched(self.matches):
            self._add(record.id, PendingChange(record, matches))

    def delete(self, deletion: Deletion, *, is_sudden: bool) -> None:
        """Add the deletion of a task; ``is_sudden`` is the same as for :class:`RecordChange`."""
        try:
            matched = is_sudden or deletion.record is None or self.matches(deletion.record)
        except LookupError:
            matched = True
        if matched or deletion.task_id in self._waiting:
            self._add(deletion.task_id, PendingChange(deletion, matched))

    def replayed(self, record: TaskRecord, began: datetime) -> None:
        """Drop the events of a record that a replay has read: they may wait here already, or still come.

        Args:
            record: the record, as a majority of MongoDB's members has it: it cannot be lost.
            began: the time when the replay began.
        """
        pending = self._waiting.get(record.id)
        if pending is not None and isinstance(pending.latest, TaskRecord):
            if pending.latest.version.is_news(record.version):
                return
            del self._waiting[record.id]
        if record.updated_at >= began - _MAX_EVENT_DELAY:
            self._remember(record)

    def fall_behind(self) -> None:
        """Drop all changes: the watcher has to start again."""
        self._waiting.clear()
        self.has_fallen_behind = True
        self._filled.set()

    async def take(self) -> list[PendingChange]:
        """Wait for changes, and take all of them.

        Raises:
            FellBehindError: changes were dropped.
        """
        await self._filled.wait()
        self._filled.clear()
        if self.has_fallen_behind:
            raise FellBehindError
        waiting, self._waiting = self._waiting, {}
        return list(waiting.values())

    def _remember(self, record: TaskRecord) -> None:
        now = time.monotonic()
        self._replayed[record.id] = record.version, now
        self._replayed.move_to_end(record.id)
        while now - next(iter(self._replayed.values()))[1] > _MAX_EVENT_DELAY.total_seconds():
            self._replayed.popitem(last=False)

    def _add(self, task_id: str, change: PendingChange) -> None:
        self._waiting.pop(task_id, None)
        self._waiting[task_id] = change
        if len(self._waiting) > MAX_WAITING:
            self.fall_behind()
        self._filled.set()
