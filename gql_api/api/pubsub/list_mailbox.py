"""Mailboxes of the watchers of lists: the newest change of each task that concerns the filter."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gql_api.api.errors import ApiError
from gql_api.api.pubsub.list_filter import ListFilter, Verdict
from gql_api.events import Deletion
from gql_api.record.model import NO_VERSION, Version
from gql_api.record.reads import TaskRecord

# The number of tasks whose changes may wait. A watcher that falls further behind has to start again.
MAX_WAITING = 1000
# The longest time between a replay that reads a change and the event of the same change.
_MAX_EVENT_DELAY = timedelta(seconds=60)
_NOT_REPLAYED = (NO_VERSION, 0.0)


class FellBehindError(ApiError):
    """More changes wait for a watcher than its mailbox keeps."""


@dataclass(frozen=True, slots=True)
class PendingChange:
    """The latest change of a task.

    Attributes:
        latest: the change.
        matches: whether the task is visible and the filter matches it; None until the record has been read.
        is_known: whether the watcher may know that the task exists: it is visible, or was before it changed.
        may_have_matched: whether the watcher may have the task in its list; False only when it has not for certain.
    """

    latest: TaskRecord | Deletion
    matches: bool | None
    is_known: bool = True
    may_have_matched: bool = True


@dataclass(eq=False)
class ListMailbox:
    """A mailbox for the changes of visible tasks that a filter matches, has matched, or may have matched.

    It contains only the latest change of each task. Tasks that the filter never matched take no space, and so do those
    that were not visible.

    Attributes:
        filter: the filter, with the visibility of the watcher.
        since: the time from which on the watcher may have received tasks, if that is needed.
    """

    filter: ListFilter
    since: datetime | None = None
    _waiting: dict[str, PendingChange] = field(default_factory=dict)
    # By id: the last version that a replay has read before its event came, and the time of that.
    _replayed: OrderedDict[str, tuple[Version, float]] = field(default_factory=OrderedDict)
    has_fallen_behind: bool = False
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, record: TaskRecord, verdict: Verdict) -> None:
        """Add a change, with its meaning for the list.

        The changes of each task come in their order, and corrections after what they correct.
        """
        if not record.version.is_news(self._replayed.get(record.id, _NOT_REPLAYED)[0]):
            return
        self._replayed.pop(record.id, None)  # or a later correction could not go back to it
        matches, pending = verdict.matches, self._waiting.get(record.id)
        was_known = pending is not None and pending.is_known
        if verdict.is_visible is False and was_known and pending is not None and pending.matches is False:
            return  # it has left already, and later changes are none of the watcher's
        is_known = verdict.is_visible or was_known or verdict.was_visible
        if matches is False and is_known is False:
            return
        if not is_known or (matches and verdict.is_visible is None):
            matches = None  # MongoDB decides
        may_have_matched = verdict.may_have_matched or pending is not None
        self._add(record.id, PendingChange(record, matches, bool(is_known), may_have_matched))

    def delete(self, deletion: Deletion, *, is_visible: bool, matched: bool) -> None:
        """Add the deletion of a task that is certainly visible, or is not, and that may have matched, or has not."""
        pending = self._waiting.get(deletion.task_id)
        if not is_visible:
            if pending is not None and pending.is_known:
                # For the watcher the task has left: it may have been deleted when it was not visible any more.
                self._waiting[deletion.task_id] = replace(pending, matches=False)
        elif matched or pending is not None:
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
