"""Deliver the changes of tasks, and the lines of their logs, to their watchers, and repair what events missed.

A watch subscribes a channel, waits for the acknowledgement and then reads MongoDB; events bring what follows. Events
are only a fast path: after each reconnect, and at intervals, the feed reads the watched tasks again, and at once those
whose events contradict each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Self, TypeVar

from pymongo.errors import PyMongoError

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.aio.background import background
from gql_api.api.pubsub.connection import PubSubConnection
from gql_api.api.pubsub.judging import log_mailbox_for, mailbox_for
from gql_api.api.pubsub.list_feed import EVENT_GRACE, ListFeed
from gql_api.api.pubsub.mailbox import LogMailbox, Mailbox
from gql_api.api.pubsub.refusals import MAX_JUMP, note_refusal
from gql_api.api.pubsub.task_repair import TaskRepair
from gql_api.api.store.tasks import TaskStore
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.telemetry.counters import BACKSTOP_FOUND, EVENTS

logger = logging.getLogger(__name__)

AnyMailbox = TypeVar("AnyMailbox", Mailbox | LogMailbox, LogMailbox)

_BACKSTOP_SECONDS = 10.0
_SILENCE_SECONDS = 15.0


class TaskFeed:
    """The watchers of tasks and logs, and the repair of their mailboxes.

    Args:
        settings: the address of Redis.
        records: reads MongoDB.
        backstop_seconds: the longest time between two repairs without a reconnect; up to half is taken off at random.
        silence_seconds: the time without an answer after which the connection is tested with a PING.
    """

    def __init__(
        self,
        settings: Settings,
        records: TaskStore,
        backstop_seconds: float = _BACKSTOP_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self._reconnected = asyncio.Event()
        self._connection = PubSubConnection(
            settings, self._receive, self._reconnected.set, silence_seconds, self._receive_any
        )
        # Set when MongoDB has to decide between events.
        self._contradicted = asyncio.Event()
        self._unclear: set[str] = set()
        most = settings.watched_conditions_max
        self.lists = ListFeed(self._connection, records, self._contradicted.set, most)
        self._records = records
        self._channels = records.channels
        self._backstop_seconds = backstop_seconds
        # By the id of the task. The watcher of a log has its mailbox in both.
        self._mailboxes: dict[str, set[Mailbox | LogMailbox]] = {}
        self._log_mailboxes: dict[str, set[LogMailbox]] = {}
        self._repair = TaskRepair(records.committed, records.deletions, self._mailboxes)
        self.backstop_found = 0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._connection)
            await stack.enter_async_context(background(self._keep_repaired, self._keep_settled))
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._open.aclose()

    @property
    def connected(self) -> bool:
        """True while there is a connection to Redis."""
        return self._connection.connected

    @property
    def watched(self) -> int:
        """The number of tasks being watched."""
        return len(self._mailboxes)

    def watch(self, task_id: str, visibility: Visibility) -> contextlib.AbstractAsyncContextManager[Mailbox]:
        """Open a mailbox for the changes of one task, for as long as it is visible.

        When the mailbox opens, Redis has acknowledged the subscription, so that no later change is missed. While Redis
        is down, the mailbox opens after a short wait, and the backstop finds the changes.
        """
        mailbox = mailbox_for(visibility)
        return _Watch(self._connection, self._mailboxes, task_id, self._channels.task(task_id), mailbox)

    @contextlib.asynccontextmanager
    async def watch_log(self, task_id: str, visibility: Visibility) -> AsyncIterator[LogMailbox]:
        """Open a mailbox for the log of one task, and for the end of the task; see :meth:`watch`."""
        mailbox = log_mailbox_for(visibility)
        with (
            self._joined(self._mailboxes, task_id, self._channels.task(task_id), mailbox) as of_task,
            self._joined(self._log_mailboxes, task_id, self._channels.log(task_id), mailbox) as of_log,
        ):
            await self._connection.acknowledged(of_task, of_log)
            yield mailbox

    @contextlib.contextmanager
    def _joined(
        self, mailboxes: dict[str, set[AnyMailbox]], task_id: str, channel: str, mailbox: AnyMailbox
    ) -> Iterator[str]:
        _join(self._connection, mailboxes, task_id, channel, mailbox)
        try:
            yield channel
        finally:
            _leave(self._connection, mailboxes, task_id, channel, mailbox)

    def _receive(self, channel: str, payload: bytes) -> None:
        """Deliver an event to the watchers. Without watchers the payload is not decoded."""
        task_id, is_of_log = self._channels.subject_of(channel)
        # A context manager would take another microsecond of each event.
        try:
            if is_of_log:
                if log_watchers := self._log_mailboxes.get(task_id):
                    EVENTS.count += 1
                    batch = events.decode_log(payload)
                    for mailbox in log_watchers:
                        mailbox.put_lines(batch)
            elif watchers := self._mailboxes.get(task_id):
                EVENTS.count += 1
                if _deliver(events.decode(payload, task_id), watchers):
                    self._unclear.add(task_id)
                    self._contradicted.set()
        except Exception as error:  # noqa: BLE001 - note_refusal logs it
            note_refusal(channel, error)

    def _receive_any(self, channel: str, payload: bytes) -> None:
        try:
            self.lists.receive(channel, payload)
        except Exception as error:  # noqa: BLE001 - note_refusal logs it
            note_refusal(channel, error)

    async def _keep_repaired(self) -> None:
        """Repair all mailboxes when a new connection has all subscriptions again, and on the backstop."""
        while True:
            try:
                async with asyncio.timeout(self._backstop_seconds * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
                    await self._reconnected.wait()
            except TimeoutError:
                events_arrive = self.connected
                found = await self._repair.run(list(self._mailboxes), self._wait_for_events if events_arrive else None)
                found += await self.lists.scan(events_arrive=events_arrive)
                self.backstop_found += found
                BACKSTOP_FOUND.inc(found)
                await self._compare_logs()
            else:
                self._reconnected.clear()
                for watchers in self._log_mailboxes.values():
                    for mailbox in watchers:
                        mailbox.read_again()
                await self._repair.run(list(self._mailboxes))
                await self.lists.scan(events_arrive=False)

    async def _keep_settled(self) -> None:
        """Let MongoDB decide between contradicting events, as soon as they have come."""
        while True:
            await self._contradicted.wait()
            self._contradicted.clear()
            unclear, self._unclear = self._unclear, set()
            await self._repair.run(unclear)
            await self.lists.settle()

    async def _compare_logs(self) -> None:
        """Let watchers read the logs that have more lines than events have brought."""
        if not self._log_mailboxes:
            return
        try:
            counts = await self._records.log_lines.counts(list(self._log_mailboxes), EVERYTHING)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched logs are read again later: %s", error)
            return
        for task_id, count in counts.items():
            for mailbox in self._log_mailboxes.get(task_id, ()):
                mailbox.compare_count(count)

    async def _wait_for_events(self) -> None:
        """Wait for events that are under way, unless there is a new connection: those on the old one are lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVENT_GRACE.total_seconds()):
                await self._reconnected.wait()


class _Watch(contextlib.AbstractAsyncContextManager[Mailbox]):
    """The watch of one task. There are thousands of them, and a generator would need three more objects for each."""

    __slots__ = ("_channel", "_connection", "_mailbox", "_mailboxes", "_task_id")

    def __init__(
        self,
        connection: PubSubConnection,
        mailboxes: dict[str, set[Mailbox | LogMailbox]],
        task_id: str,
        channel: str,
        mailbox: Mailbox,
    ) -> None:
        self._connection = connection
        self._mailboxes = mailboxes
        self._task_id = task_id
        self._channel = channel
        self._mailbox = mailbox

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
    connection: PubSubConnection, mailboxes: dict[str, set[AnyMailbox]], task_id: str, channel: str, mailbox: AnyMailbox
) -> None:
    """Add a watcher of a task or its log. The first one subscribes the channel."""
    watchers = mailboxes.setdefault(task_id, set())
    if not watchers:
        connection.subscribe(channel)
    watchers.add(mailbox)


def _leave(
    connection: PubSubConnection, mailboxes: dict[str, set[AnyMailbox]], task_id: str, channel: str, mailbox: AnyMailbox
) -> None:
    """Remove a watcher. The last one unsubscribes the channel."""
    watchers = mailboxes[task_id]
    watchers.discard(mailbox)
    if not watchers:
        del mailboxes[task_id]
        connection.unsubscribe(channel)


def _deliver(event: TaskRecord | events.Deletion, watchers: Iterable[Mailbox | LogMailbox]) -> bool:
    """Deliver an event, and return whether MongoDB has to decide.

    It has to if the event contradicts another one that a watcher has received, or has a revision that is so much higher
    that no event of the task would be news after it, or does not have what decides whether the task is visible.
    """
    if not isinstance(event, TaskRecord):
        for mailbox in watchers:
            mailbox.delete(event.last)
        return False
    version, is_unclear = event.version, False
    for mailbox in watchers:
        try:
            is_jump = version.revision - mailbox.version.revision > MAX_JUMP
            if is_jump or (not mailbox.put(event, version) and version.contradicts(mailbox.version)):
                is_unclear = True
        except LookupError:
            is_unclear = True
    return is_unclear
