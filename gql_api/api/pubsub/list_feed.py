"""Deliver every change of every task to the watchers of lists.

One pattern subscription receives all events while there is a watcher. Events are only a fast path here too: after each
reconnect, and at intervals, the feed compares the changes in MongoDB with the events that it has received.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from pymongo.errors import PyMongoError

from gql_api import events
from gql_api.api.errors import ClientError
from gql_api.api.pubsub.connection import PATTERN, PubSubConnection
from gql_api.api.pubsub.list_mailbox import ListMailbox, Predicate, RecordChange
from gql_api.api.store.tasks import TaskStore
from gql_api.events import Deletion
from gql_api.query.lists import Order, OrderField, PageRequest, Position
from gql_api.record import queries
from gql_api.record.reads import TaskRecord
from gql_api.telemetry.counters import EVENTS

logger = logging.getLogger(__name__)

# A write becomes visible later than its timestamp, so that a scan of MongoDB begins earlier than the last one ended.
_OVERLAP = timedelta(seconds=10)
# A change without an event reaches clients after newer changes, at the next scan, so that a replay begins earlier.
_REPLAY_MARGIN = timedelta(seconds=15)
_MIN_TIME = datetime.min.replace(tzinfo=UTC)
# The event of a change that is newer may still be under way.
EVENT_GRACE = timedelta(seconds=1)
# Longer than the time between two scans and their overlap.
_REMEMBERED_SECONDS = 60.0
_NOT_RECEIVED = (0.0, 0.0)
_PAGE = 500
_BY_CHANGE = Order(OrderField.UPDATED_AT, descending=False)


def start_of_replay(since: datetime) -> datetime:
    """Return the time from which on a replay reads changes, for a client whose last change was at ``since``."""
    return max(since, _MIN_TIME + _REPLAY_MARGIN) - _REPLAY_MARGIN


class ListFeed:
    """The watchers of lists, and the events that they have received.

    Args:
        connection: the pub/sub connection of the process.
        records: reads MongoDB.
    """

    def __init__(self, connection: PubSubConnection, records: TaskStore) -> None:
        self._connection = connection
        self._records = records
        self._mailboxes: set[ListMailbox] = set()
        # By id: the last revision received, infinite for a deleted task, and the time of that.
        self._received: OrderedDict[str, tuple[float, float]] = OrderedDict()
        # By the clock of MongoDB: the beginning of the first watch, the time from which on all events are received, and
        # the end of the last scan.
        self._watched_since: datetime | None = None
        self._listening_since: datetime | None = None
        self._scanned_until: datetime | None = None

    @property
    def watchers(self) -> int:
        """The number of lists being watched."""
        return len(self._mailboxes)

    @property
    def is_listening(self) -> bool:
        """True while there are watchers, from when Redis has acknowledged their subscription or the wait timed out."""
        return self._listening_since is not None

    @contextlib.asynccontextmanager
    async def watch(self, predicate: Predicate) -> AsyncIterator[ListMailbox]:
        """Open a mailbox for the changes from now on.

        When the mailbox opens, Redis has acknowledged the subscription. While Redis is down, the mailbox opens after a
        short wait, and scans of MongoDB find the changes.
        """
        mailbox = ListMailbox(predicate)
        if not self._mailboxes:
            self._connection.subscribe(events.ALL_TASKS, PATTERN)
        self._mailboxes.add(mailbox)
        try:
            if self._watched_since is None:
                began = await self._records.now()
                self._watched_since = self._watched_since or began
                self._scanned_until = self._scanned_until or began
            await self._connection.acknowledged(events.ALL_TASKS, kind=PATTERN)
            self._listening_since = self._listening_since or await self._records.now()
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
            if not self._mailboxes:
                self._connection.unsubscribe(events.ALL_TASKS, PATTERN)
                self._watched_since = self._listening_since = self._scanned_until = None
                self._received.clear()

    async def changed_since(self, since: datetime, fields: dict[str, int] | None = None) -> AsyncIterator[TaskRecord]:
        """Read the tasks that have changed since a time, in the order of their changes."""
        after = Position(since, "")
        while True:
            records = await self._records.lists.page({}, PageRequest(_BY_CHANGE, _PAGE, after), fields)
            for record in records:
                yield record
            if len(records) < _PAGE:
                return
            after = Position.of(records[-1], _BY_CHANGE)

    def receive(self, channel: str, payload: bytes) -> None:
        """Deliver an event to the watchers."""
        if not self._mailboxes:
            return
        try:
            event = events.decode(payload)
        except events.EventError:
            logger.warning("A message on the channel %s is not an event", channel)
            return
        EVENTS.count += 1
        if isinstance(event, Deletion):
            self._delete(event)
        else:
            self._put(event)

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
            logger.warning("MongoDB does not answer, what has changed is looked for later: %s", error)
            return 0

    async def _scan(self, since: datetime, margin: timedelta) -> int:
        until, found = await self._records.now() - margin, 0
        missed = [
            record.id
            async for record in self.changed_since(since, queries.CHANGE_ONLY)
            if self._is_newer(record)
            and self._concerns_watchers(record.id, record.updated_at)
            and record.updated_at <= until
        ]
        for start in range(0, len(missed), _PAGE):
            for record in await self._records.get_many(missed[start : start + _PAGE]):
                found += self._put(record, is_sudden=True)
        async for task_id, at in self._records.deletions.since(since):
            if self._concerns_watchers(task_id, at) and at <= until:
                found += self._delete(Deletion(task_id, at))
        if self._scanned_until is not None:  # the last watcher may have left meanwhile
            self._scanned_until = until
        return found

    def _put(self, record: TaskRecord, *, is_sudden: bool = False) -> bool:
        if not self._is_newer(record):
            return False
        change = RecordChange(record, is_sudden=is_sudden or self._missed_before(record))
        self._remember(record.id, record.revision)
        for mailbox in self._mailboxes:
            mailbox.put(change)
        return True

    def _delete(self, deletion: Deletion) -> bool:
        if self._received.get(deletion.task_id, _NOT_RECEIVED)[0] == math.inf:
            return False
        last = deletion.record
        is_sudden = last is None or self._missed(last.id, last.revision, last.updated_at, deletion.at)
        self._remember(deletion.task_id, math.inf)
        for mailbox in self._mailboxes:
            mailbox.delete(deletion, is_sudden=is_sudden)
        return True

    def _is_newer(self, record: TaskRecord) -> bool:
        return record.revision > self._received.get(record.id, _NOT_RECEIVED)[0]

    def _concerns_watchers(self, task_id: str, at: datetime) -> bool:
        """Return whether a change was made since the first watcher came, or follows one that watchers received."""
        return task_id in self._received or (self._watched_since is not None and at >= self._watched_since)

    def _missed_before(self, record: TaskRecord) -> bool:
        """Return whether the event of the change before a record's last one was missed."""
        if record.revision == 1:
            return False
        last = record.history[-1]
        earlier = last if last.revision < record.revision else record.history[-2]
        changed_between = earlier.revision < (record.metadata_revision or 0) < record.revision
        if changed_between and record.id not in self._received:
            return True  # the time is unknown: the history does not have changes of metadata
        return self._missed(record.id, record.revision - 1, earlier.at, record.updated_at)

    def _missed(self, task_id: str, revision: int, at: datetime, now: datetime) -> bool:
        """Return whether the event of a change should have been received, and was not."""
        if task_id in self._received:
            # The last record in a deletion may be older than a record received before.
            return self._received[task_id][0] != revision
        is_remembered = now - at < timedelta(seconds=_REMEMBERED_SECONDS / 2)
        return is_remembered and self._listening_since is not None and at > self._listening_since

    def _remember(self, task_id: str, revision: float) -> None:
        now = time.monotonic()
        self._received[task_id] = revision, now
        self._received.move_to_end(task_id)
        while self._received and now - next(iter(self._received.values()))[1] > _REMEMBERED_SECONDS:
            self._received.popitem(last=False)
