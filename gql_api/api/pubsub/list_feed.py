"""Live lists: every change of every task, for those who watch what a filter finds.

One pattern subscription hears all events, as long as anybody watches. Events are only a fast path here too: after each
reconnect, and now and then, what has changed in MongoDB is compared with what was heard.
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
from gql_api.api.pubsub.list_mailbox import ListMailbox, News, Predicate
from gql_api.api.store.tasks import TaskStore
from gql_api.events import Deletion
from gql_api.query.lists import Order, OrderField, PageRequest, Position
from gql_api.record import queries
from gql_api.record.reads import TaskRecord
from gql_api.telemetry.counters import EVENTS

logger = logging.getLogger(__name__)

# A write becomes visible after the time that it bears: so much earlier a reading of changes begins.
_OVERLAP = timedelta(seconds=10)
# A change without an event is told after newer ones, at the next look at MongoDB: so much earlier a replay begins.
_LOOK = timedelta(seconds=15)
_FIRST = datetime.min.replace(tzinfo=UTC)
# What is so new may still be on its way here.
ON_ITS_WAY = timedelta(seconds=1)
# Longer than the time between two looks at MongoDB, and the overlap of these.
_REMEMBERED_SECONDS = 60.0
_UNHEARD = (0.0, 0.0)
_PAGE = 500
_BY_CHANGE = Order(OrderField.UPDATED_AT, descending=False)


def start_of_replay(since: datetime) -> datetime:
    """From when on changes have to be read for a client that was told up to a time."""
    return max(since, _FIRST + _LOOK) - _LOOK


class ListFeed:
    """Tells watchers of lists of every change.

    Args:
        channels: the Redis connection of the process.
        records: MongoDB.
    """

    def __init__(self, channels: PubSubConnection, records: TaskStore) -> None:
        self._channels = channels
        self._records = records
        self._mailboxes: set[ListMailbox] = set()
        # By id: the last revision that was heard of, infinite for a task that was deleted, and when.
        self._heard: OrderedDict[str, tuple[float, float]] = OrderedDict()
        # By the clock of MongoDB: since when somebody watches, from when on everything was heard, and up to when that
        # was checked.
        self._watched_since: datetime | None = None
        self._listening_since: datetime | None = None
        self._checked_until: datetime | None = None

    @property
    def watchers(self) -> int:
        """How many lists are being watched."""
        return len(self._mailboxes)

    @property
    def is_listening(self) -> bool:
        """Whether somebody watches, and Redis has acknowledged it, or was waited for in vain."""
        return self._listening_since is not None

    @contextlib.asynccontextmanager
    async def watch(self, holds: Predicate) -> AsyncIterator[ListMailbox]:
        """Open a mailbox for what changes from now on.

        When this returns Redis has acknowledged the subscription. While Redis is away it returns after a short wait,
        and MongoDB is looked at instead, now and then.
        """
        mailbox = ListMailbox(holds)
        if not self._mailboxes:
            self._channels.subscribe(events.ALL_TASKS, PATTERN)
        self._mailboxes.add(mailbox)
        try:
            if self._watched_since is None:
                began = await self._records.now()
                self._watched_since = self._watched_since or began
                self._checked_until = self._checked_until or began
            await self._channels.acknowledged(events.ALL_TASKS, kind=PATTERN)
            self._listening_since = self._listening_since or await self._records.now()
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
            if not self._mailboxes:
                self._channels.unsubscribe(events.ALL_TASKS, PATTERN)
                self._watched_since = self._listening_since = self._checked_until = None
                self._heard.clear()

    async def changed_since(self, since: datetime, fields: dict[str, int] | None = None) -> AsyncIterator[TaskRecord]:
        """Read the tasks that have changed since a time, those first that changed first."""
        after = Position(since, "")
        while True:
            found = await self._records.lists.page({}, PageRequest(_BY_CHANGE, _PAGE, after), fields)
            for record in found:
                yield record
            if len(found) < _PAGE:
                return
            after = Position.of(found[-1], _BY_CHANGE)

    def hear(self, channel: str, payload: bytes) -> None:
        """Hand an event to those who watch."""
        if not self._mailboxes:
            return
        try:
            news = events.decode(payload)
        except events.EventError:
            logger.warning("Something that is no event came on the channel %s", channel)
            return
        EVENTS.count += 1
        if isinstance(news, Deletion):
            self._delete(news)
        else:
            self._put(news)

    async def check(self, *, may_be_on_its_way: bool) -> int:
        """Look in MongoDB for what was not heard of, tell it, and return how many tasks that were.

        Args:
            may_be_on_its_way: whether events come at this moment, so that the newest changes are better waited for.
        """
        if self._checked_until is None:
            return 0
        try:
            return await self._check(self._checked_until - _OVERLAP, ON_ITS_WAY if may_be_on_its_way else timedelta())
        except (PyMongoError, ClientError) as error:
            logger.warning("MongoDB does not answer, what has changed is looked for later: %s", error)
            return 0

    async def _check(self, since: datetime, margin: timedelta) -> int:
        until, found = await self._records.now() - margin, 0
        unheard = [
            record.id
            async for record in self.changed_since(since, queries.CHANGE_ONLY)
            if self._is_news(record) and self._is_owed(record.id, record.updated_at) and record.updated_at <= until
        ]
        for start in range(0, len(unheard), _PAGE):
            for record in await self._records.get_many(unheard[start : start + _PAGE]):
                found += self._put(record, is_sudden=True)
        async for task_id, at in self._records.deletions.since(since):
            if self._is_owed(task_id, at) and at <= until:
                found += self._delete(Deletion(task_id, at))
        if self._checked_until is not None:  # the last watcher may have left meanwhile
            self._checked_until = until
        return found

    def _put(self, record: TaskRecord, *, is_sudden: bool = False) -> bool:
        if not self._is_news(record):
            return False
        news = News(record, is_sudden=is_sudden or self._missed_before(record))
        self._remember(record.id, record.revision)
        for mailbox in self._mailboxes:
            mailbox.put(news)
        return True

    def _delete(self, deletion: Deletion) -> bool:
        if self._heard.get(deletion.task_id, _UNHEARD)[0] == math.inf:
            return False
        last = deletion.record
        is_sudden = last is None or self._missed(last.id, last.revision, last.updated_at, deletion.at)
        self._remember(deletion.task_id, math.inf)
        for mailbox in self._mailboxes:
            mailbox.delete(deletion, is_sudden=is_sudden)
        return True

    def _is_news(self, record: TaskRecord) -> bool:
        return record.revision > self._heard.get(record.id, _UNHEARD)[0]

    def _is_owed(self, task_id: str, at: datetime) -> bool:
        """Whether watchers are told of a change at a time; what was before the first of them came is not theirs."""
        return task_id in self._heard or (self._watched_since is not None and at >= self._watched_since)

    def _missed_before(self, record: TaskRecord) -> bool:
        """Whether the change before a record's last one should have been heard of, and was not."""
        if record.revision == 1:
            return False
        last = record.history[-1]
        earlier = last if last.revision < record.revision else record.history[-2]
        changed_between = earlier.revision < (record.metadata_revision or 0) < record.revision
        if changed_between and record.id not in self._heard:
            return True  # nobody knows when, for the history does not tell changes of metadata
        return self._missed(record.id, record.revision - 1, earlier.at, record.updated_at)

    def _missed(self, task_id: str, revision: int, at: datetime, now: datetime) -> bool:
        """Whether a change at a time should have been heard of, and was not."""
        if task_id in self._heard:
            # A deletion tells of a revision that may be older than what was heard.
            return self._heard[task_id][0] != revision
        is_remembered = now - at < timedelta(seconds=_REMEMBERED_SECONDS / 2)
        return is_remembered and self._listening_since is not None and at > self._listening_since

    def _remember(self, task_id: str, revision: float) -> None:
        now = time.monotonic()
        self._heard[task_id] = revision, now
        self._heard.move_to_end(task_id)
        while self._heard and now - next(iter(self._heard.values()))[1] > _REMEMBERED_SECONDS:
            self._heard.popitem(last=False)
