"""Live updates: who watches which task or its log, and how what no event told is made good.

A watch is subscribed, acknowledged, then read from MongoDB; events bring what follows. Events are only a fast path:
after each reconnect, and now and then, the feed reads again what the watched tasks have become.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from typing import Self, TypeVar

from pymongo.errors import PyMongoError

from gql_api import events
from gql_api.aio.background import background
from gql_api.api.pubsub.connection import PubSubConnection
from gql_api.api.pubsub.list_feed import ON_ITS_WAY, ListFeed
from gql_api.api.pubsub.mailbox import LogMailbox, Mailbox
from gql_api.api.store.tasks import TaskStore
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.telemetry.counters import BACKSTOP_FOUND, EVENTS

logger = logging.getLogger(__name__)

Box = TypeVar("Box", Mailbox | LogMailbox, LogMailbox)

_BACKSTOP_SECONDS = 10.0
_SILENCE_SECONDS = 15.0


class TaskFeed:
    """Tells watchers of the changes of their tasks.

    Args:
        settings: where Redis is.
        records: reads the revisions, and the records, of some tasks from MongoDB.
        silence_seconds: how long a quiet connection is trusted before it is asked for a sign of life.
        backstop_seconds: how often watched tasks are read again without any news; jittered by half of it.
    """

    def __init__(
        self,
        settings: Settings,
        records: TaskStore,
        backstop_seconds: float = _BACKSTOP_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self._wake_healer = asyncio.Event()
        self._connection = PubSubConnection(
            settings, self._hear, self._wake_healer.set, silence_seconds, self._hear_of_any
        )
        self.lists = ListFeed(self._connection, records)
        self._records = records
        self._backstop_seconds = backstop_seconds
        # By the id of the task. Whoever watches a log is told of its task too.
        self._mailboxes: dict[str, set[Mailbox | LogMailbox]] = {}
        self._log_mailboxes: dict[str, set[LogMailbox]] = {}
        self.backstop_found = 0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._connection)
            await stack.enter_async_context(background(self._keep_healed))
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._open.aclose()

    @property
    def connected(self) -> bool:
        """Whether Redis is there at this moment."""
        return self._connection.connected

    @property
    def watched(self) -> int:
        """How many tasks are being watched."""
        return len(self._mailboxes)

    def watch(self, task_id: str) -> contextlib.AbstractAsyncContextManager[Mailbox]:
        """Open a mailbox for the news of one task.

        When it is open Redis has acknowledged the subscription, so that no change after it is missed. While Redis is
        away it opens after a short wait, and the backstop brings the news.
        """
        return _Watch(self._connection, self._mailboxes, task_id)

    @contextlib.asynccontextmanager
    async def watch_log(self, task_id: str) -> AsyncIterator[LogMailbox]:
        """Open a mailbox for what one task logs, and for its end; see :meth:`watch`."""
        mailbox = LogMailbox()
        with (
            self._joined(self._mailboxes, task_id, events.channel(task_id), mailbox) as of_task,
            self._joined(self._log_mailboxes, task_id, events.log_channel(task_id), mailbox) as of_log,
        ):
            await self._connection.acknowledged(of_task, of_log)
            yield mailbox

    @contextlib.contextmanager
    def _joined(self, mailboxes: dict[str, set[Box]], task_id: str, channel: str, mailbox: Box) -> Iterator[str]:
        _join(self._connection, mailboxes, task_id, channel, mailbox)
        try:
            yield channel
        finally:
            _leave(self._connection, mailboxes, task_id, channel, mailbox)

    def _hear(self, channel: str, payload: bytes) -> None:
        """Hand an event to those who watch; what nobody watches any more is not even decoded."""
        task_id, is_of_log = events.subject_of(channel)
        try:
            if is_of_log:
                if log_watchers := self._log_mailboxes.get(task_id):
                    EVENTS.count += 1
                    batch = events.decode_log(payload)
                    for mailbox in log_watchers:
                        mailbox.put_lines(batch)
            elif watchers := self._mailboxes.get(task_id):
                EVENTS.count += 1
                _deliver(events.decode(payload), watchers)
        except events.EventError:
            logger.warning("Something that is no event came on the channel %s", channel)

    def _hear_of_any(self, channel: str, payload: bytes) -> None:
        self.lists.hear(channel, payload)

    async def _keep_healed(self) -> None:
        """Heal when a new connection is subscribed to everything again, and on the backstop."""
        while True:
            try:
                async with asyncio.timeout(self._backstop_seconds * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
                    await self._wake_healer.wait()
            except TimeoutError:
                events_come = self.connected
                found = await self._heal(may_be_on_its_way=events_come)
                found += await self.lists.check(may_be_on_its_way=events_come)
                self.backstop_found += found
                BACKSTOP_FOUND.inc(found)
                await self._count_logs()
            else:
                self._wake_healer.clear()
                for watchers in self._log_mailboxes.values():
                    for mailbox in watchers:
                        mailbox.look_again()
                await self._heal(may_be_on_its_way=False)
                await self.lists.check(may_be_on_its_way=False)

    async def _heal(self, *, may_be_on_its_way: bool) -> int:
        """Read how far all watched tasks are and deliver what is newer; return how many watchers had not been told.

        Args:
            may_be_on_its_way: whether events come at this moment, so that what is newer is better waited for.
        """
        if not self._mailboxes:
            return 0
        # Those that have been seen: one that is only just looked for may not exist, which its watcher finds out itself.
        seen = [id_ for id_, watchers in self._mailboxes.items() if any(mailbox.revision for mailbox in watchers)]
        try:
            revisions = await self._records.revisions(list(self._mailboxes))
            newer = self._newer(revisions)
            if newer and may_be_on_its_way:
                await self._wait_for_events()
                newer = self._newer(revisions)
            records = await self._records.get_many(newer) if newer else []
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched tasks are read again later: %s", error)
            return 0
        for task_id in seen:
            if task_id not in revisions:
                for mailbox in self._mailboxes.get(task_id, ()):
                    mailbox.delete()
        return sum(_make_good(record, mailbox) for record in records for mailbox in self._mailboxes.get(record.id, ()))

    async def _count_logs(self) -> None:
        """Let the logs be read again that are longer than what was heard of them."""
        if not self._log_mailboxes:
            return
        try:
            counts = await self._records.log_lines.counts(list(self._log_mailboxes))
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched logs are read again later: %s", error)
            return
        for task_id, count in counts.items():
            for mailbox in self._log_mailboxes.get(task_id, ()):
                mailbox.heard_of(count)

    def _newer(self, revisions: dict[str, int]) -> list[str]:
        """Which tasks are further than somebody who watches them knows."""
        return [
            task_id
            for task_id, revision in revisions.items()
            if any(mailbox.revision < revision for mailbox in self._mailboxes.get(task_id, ()))
        ]

    async def _wait_for_events(self) -> None:
        """Give those time that are on their way, unless the connection that they come on is a new one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ON_ITS_WAY.total_seconds()):
                await self._wake_healer.wait()


class _Watch(contextlib.AbstractAsyncContextManager[Mailbox]):
    """One who watches a task. Of thousands each is kept: a generator, which does the same, is three more objects."""

    __slots__ = ("_channel", "_connection", "_mailbox", "_mailboxes", "_task_id")

    def __init__(
        self, connection: PubSubConnection, mailboxes: dict[str, set[Mailbox | LogMailbox]], task_id: str
    ) -> None:
        self._connection = connection
        self._mailboxes = mailboxes
        self._task_id = task_id
        self._channel = events.channel(task_id)
        self._mailbox = Mailbox()

    async def __aenter__(self) -> Mailbox:
        _join(self._connection, self._mailboxes, self._task_id, self._channel, self._mailbox)
        try:
            await self._connection.acknowledged(self._channel)
        except BaseException:
            self._leave()
            raise
        return self._mailbox

    async def __aexit__(self, *_exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        _leave(self._connection, self._mailboxes, self._task_id, self._channel, self._mailbox)


def _join(
    connection: PubSubConnection, mailboxes: dict[str, set[Box]], task_id: str, channel: str, mailbox: Box
) -> None:
    """Be one of the watchers of a task or its log: the first one subscribes the channel."""
    watchers = mailboxes.setdefault(task_id, set())
    if not watchers:
        connection.subscribe(channel)
    watchers.add(mailbox)


def _leave(
    connection: PubSubConnection, mailboxes: dict[str, set[Box]], task_id: str, channel: str, mailbox: Box
) -> None:
    """Watch no more: the last one unsubscribes."""
    watchers = mailboxes[task_id]
    watchers.discard(mailbox)
    if not watchers:
        del mailboxes[task_id]
        connection.unsubscribe(channel)


def _deliver(news: TaskRecord | events.Deletion, watchers: set[Mailbox | LogMailbox]) -> None:
    if isinstance(news, TaskRecord):
        for mailbox in watchers:
            mailbox.put(news)
    else:
        for mailbox in watchers:
            mailbox.delete()


def _make_good(record: TaskRecord, mailbox: Mailbox | LogMailbox) -> bool:
    """Deliver a record, and tell whether an event should have. Who is only just coming reads MongoDB first."""
    has_come = mailbox.revision > 0
    return mailbox.put(record) and has_come
