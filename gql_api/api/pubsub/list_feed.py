"""Deliver every change of every task to the watchers of lists.

One pattern subscription receives all events while there is a watcher. Events are only a fast path here too: after each
reconnect, and at intervals, the feed scans MongoDB. A scan reads what a majority has, behind a barrier, so that it
delivers nothing that can be lost, and finds which of the versions that events had brought are lost. Events and scans
are for all watchers, and each mailbox compares them with the visibility of its watcher.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta

from pymongo.errors import PyMongoError

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.api.errors import ClientError, OverloadedError
from gql_api.api.pubsub.connection import PATTERN, PubSubConnection
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.pubsub.list_mailbox import ListMailbox
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.api.pubsub.refusals import MAX_JUMP
from gql_api.api.store.tasks import TaskStore
from gql_api.events import Deletion
from gql_api.query.lists import Order, OrderField, PageRequest, Position
from gql_api.record import queries
from gql_api.record.model import Version
from gql_api.record.reads import Document, TaskRecord
from gql_api.telemetry.counters import EVENTS

logger = logging.getLogger(__name__)

# A write becomes visible later than its timestamp, so that a scan of MongoDB begins earlier than the last one ended.
_OVERLAP = timedelta(seconds=10)
# A change without an event reaches clients after newer changes, at the next scan, so that a replay begins earlier: by
# more than the longest time between two scans (11 seconds), the grace for events, and the overlap.
_REPLAY_MARGIN = timedelta(seconds=25)
_MIN_TIME = datetime.min.replace(tzinfo=UTC)
# The event of a change that is newer may still be under way.
EVENT_GRACE = timedelta(seconds=1)
_PAGE = 500
_BY_CHANGE = Order(OrderField.UPDATED_AT, descending=False)


def conditions_in(query: object) -> int:
    """Return how many conditions a filter has, from its query: the work to compare it with a record."""
    if isinstance(query, dict):
        return sum(map(conditions_in, query.values())) or 1
    # A list of values is one condition, a list of filters as many as they have.
    return sum(map(conditions_in, query)) if isinstance(query, list) and query and isinstance(query[0], dict) else 1


def start_of_replay(since: datetime) -> datetime:
    """Return the time from which on a replay reads changes, for a client whose last change was at ``since``."""
    return max(since, _MIN_TIME + _REPLAY_MARGIN) - _REPLAY_MARGIN


class ListFeed:
    """The events and the scans that keep the watchers of lists informed.

    Args:
        connection: the pub/sub connection of the process.
        records: reads MongoDB.
        on_contradiction: called when MongoDB has to decide between events, by :meth:`settle`.
        max_conditions: how many conditions the filters of all watchers may have.
    """

    def __init__(
        self,
        connection: PubSubConnection,
        records: TaskStore,
        on_contradiction: Callable[[], object],
        max_conditions: int = sys.maxsize,
    ) -> None:
        self.watched_conditions = 0
        self._max_conditions = max_conditions
        self._connection = connection
        self._records = records
        self._channels = records.channels
        self._on_contradiction = on_contradiction
        self._watchers = ListWatchers()
        self._unclear: set[str] = set()
        self._unread: set[str] = set()
        # By the clock of MongoDB: the end of the last scan.
        self._scanned_until: datetime | None = None

    @property
    def watchers(self) -> int:
        """The number of lists being watched."""
        return len(self._watchers)

    @property
    def is_listening(self) -> bool:
        """True while there are watchers, from when Redis has acknowledged their subscription or the wait timed out."""
        return self._watchers.listening_since is not None

    @contextlib.asynccontextmanager
    async def watch(self, filter_: ListFilter, since: datetime | None = None) -> AsyncIterator[ListMailbox]:
        """Open a mailbox for the changes of visible tasks from now on.

        Args:
            filter_: which tasks there are for the watcher, and which of them it watches.
            since: the time from which on the watcher reads changes from MongoDB too, if it does.

        When the mailbox opens, Redis has acknowledged the subscription. While Redis is down, the mailbox opens after a
        short wait, and scans of MongoDB find the changes.
        """
        visibility = filter_.visibility
        # Each filter counts one more, for the work that it may be for every event.
        conditions = 1 + conditions_in(filter_.query)
        conditions += conditions_in(visibility.query) if visibility.query else 0
        if self.watched_conditions + conditions > self._max_conditions:
            raise OverloadedError("watched conditions", "The API watches lists with too many conditions")
        mailbox = ListMailbox(filter_, since)
        watchers = self._watchers
        if not watchers:
            self._connection.subscribe(self._channels.all_tasks, PATTERN)
        watchers.add(mailbox)
        self.watched_conditions += conditions
        try:
            if watchers.watched_since is None:
                began = await self._records.now()
                watchers.watched_since = watchers.watched_since or began
                self._scanned_until = self._scanned_until or began
                watchers.complete_until = self._scanned_until - _OVERLAP
            if mailbox.since is None and not visibility.is_lasting:
                mailbox.since = await self._records.now()
            await self._connection.acknowledged(self._channels.all_tasks, kind=PATTERN)
            watchers.listening_since = watchers.listening_since or await self._records.now()
            yield mailbox
        finally:
            watchers.remove(mailbox)
            self.watched_conditions -= conditions
            if not watchers:
                self._connection.unsubscribe(self._channels.all_tasks, PATTERN)
                self._scanned_until = None

    async def changed_since(
        self,
        since: datetime,
        visibility: Visibility,
        fields: dict[str, int] | None = None,
        query: Document | None = None,
    ) -> AsyncIterator[TaskRecord]:
        """Read the tasks that have changed since a time, in the order of their changes, as a majority has them.

        Args:
            since: the time.
            visibility: the tasks that there are for the reader.
            fields: the fields to read; None for all.
            query: a filter of the tasks; None for all.

        Those that are not visible, and may have been so before, are among them: the caller compares each with the
        visibility. Behind a barrier (``TaskStore.committed``) it misses no change that was stored before.
        """
        after, lists, start_session = Position(since, ""), self._records.lists, self._records.committed.session
        while True:
            request = PageRequest(_BY_CHANGE, _PAGE, after)
            records = await lists.page(query or {}, request, visibility.lasting, fields, start_session)
            for record in records:
                yield record
            if len(records) < _PAGE:
                return
            after = Position.of(records[-1], _BY_CHANGE)

    def resumable(self, at: datetime) -> datetime:
        """Return the time from which a client resumes that has just received a change made at ``at``.

        It is not further ahead than the last scan allows: an earlier change whose event was lost may not have been
        found yet, for however long MongoDB has been away. In health, scans come often enough for ``at`` itself.
        """
        if self._scanned_until is None:
            return at
        return min(at, self._scanned_until - _OVERLAP + _REPLAY_MARGIN)

    def receive(self, channel: str, payload: bytes) -> None:
        """Deliver an event to the watchers.

        Raises:
            EventError: the payload is not an event.
        """
        if not self._watchers:
            return
        event = events.decode(payload, self._channels.subject_of(channel)[0])
        EVENTS.count += 1
        if isinstance(event, Deletion):
            self._watchers.delete(event)
        elif event.revision - self._watchers.received.last(event.id).revision > MAX_JUMP or (
            self._watchers.depends_on_mongodb(event)
        ):
            self._unread.add(event.id)
            self._on_contradiction()
        elif not self._watchers.put(event) and event.version.contradicts(self._watchers.received.last(event.id)):
            self._unclear.add(event.id)
            self._on_contradiction()
        if self._watchers.received.is_full:
            self._watchers.give_up()

    async def scan(self, *, events_arrive: bool) -> int:
        """Deliver the changes in MongoDB whose events were not received, and return the number of their tasks.

        Args:
            events_arrive: whether there is a connection to Redis, so that events of the newest changes may still come.
        """
        if self._scanned_until is None:
            return 0
        try:
            return await self._scan(self._scanned_until - _OVERLAP, EVENT_GRACE if events_arrive else timedelta())
        except (PyMongoError, ClientError) as error:
            logger.warning("MongoDB does not answer, the next scan finds what has changed: %s", error)
            return 0

    async def settle(self) -> None:
        """Let MongoDB decide between the events that contradicted each other, and deliver what it has of others.

        These have very high revisions, or do not tell in which states a task was while events were lost.
        """
        unclear, self._unclear = self._unclear, set()
        unread, self._unread = list(self._unread), set()
        held = {
            task_id: version for task_id, version in self._watchers.received.unconfirmed().items() if task_id in unclear
        }
        if not held and not unread:
            return
        try:
            await self._records.committed.barrier()
            await self._check(held)  # a scan finds out whether a task that has vanished was deleted
            for start in range(0, len(unread), _PAGE):
                for record in await self._records.committed.records(unread[start : start + _PAGE], EVERYTHING):
                    self._watchers.put(record, is_sudden=True, is_certain=True)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the next scan finds what it has lost: %s", error)

    async def _scan(self, since: datetime, margin: timedelta) -> int:
        until, found, missed = await self._records.now() - margin, 0, list[str]()
        unconfirmed = self._watchers.received.unconfirmed()
        await self._records.committed.barrier()
        async for record in self.changed_since(since, EVERYTHING, queries.CHANGE_ONLY):
            if unconfirmed.get(record.id) == record.version:
                self._watchers.confirm(record.id, unconfirmed.pop(record.id))
            elif self._watchers.is_news(record) and self._watchers.concerns(record.id, record.updated_at):
                if record.updated_at <= until:
                    missed.append(record.id)
                unconfirmed.pop(record.id, None)
        for start in range(0, len(missed), _PAGE):
            for record in await self._records.committed.records(missed[start : start + _PAGE], EVERYTHING):
                found += self._watchers.put(record, is_sudden=True, is_certain=True)
        corrected, vanished = await self._check(unconfirmed)
        # Read after the tasks: a task has its tombstone before it is deleted.
        async for deletion in self._records.deletions.since(since, EVERYTHING):
            vanished.pop(deletion.task_id, None)
            if self._watchers.concerns(deletion.task_id, deletion.at) and deletion.at <= until:
                found += self._watchers.delete(deletion)
        found += corrected + sum(self._watchers.retract(task_id, lost) for task_id, lost in vanished.items())
        if self._scanned_until is not None:  # the last watcher may have left meanwhile
            self._scanned_until = until
            self._watchers.complete_until = until - _OVERLAP
        return found

    async def _check(self, held: Mapping[str, Version]) -> tuple[int, dict[str, Version]]:
        """Correct the versions that events had brought before the last barrier and MongoDB does not have any more.

        Returns:
            the number of corrected tasks, and the versions of the tasks that MongoDB does not have at all.
        """
        ids, found, vanished = list(held), 0, dict[str, Version]()
        for start in range(0, len(ids), _PAGE):
            chunk = ids[start : start + _PAGE]
            stored = await self._records.committed.versions(chunk, EVERYTHING)
            vanished |= {task_id: held[task_id] for task_id in chunk if task_id not in stored}
            lost = []
            for task_id, version in stored.items():
                if version == held[task_id]:
                    self._watchers.confirm(task_id, version)
                elif not version.is_news(held[task_id]):
                    lost.append(task_id)
            for record in await self._records.committed.records(lost, EVERYTHING) if lost else ():
                found += self._watchers.correct(record, held[record.id])
        return found, vanished
