"""Live updates: one Redis pub/sub connection for the process, and a mailbox for each watcher of a task or of its log.

A watch is subscribed, acknowledged, then read from MongoDB; events bring what follows. Events are only a fast path:
after each reconnect, and now and then, the feed reads again what the watched tasks have become.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypeVar

from pymongo.errors import PyMongoError
from redis.asyncio import Connection, ConnectionPool
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gql_api.background import background
from gql_api.mailbox import LogMailbox, Mailbox
from gql_api.store import TaskStore
from jobs import events
from jobs.record.reads import TaskRecord
from jobs.settings import Settings

logger = logging.getLogger(__name__)

Box = TypeVar("Box", Mailbox | LogMailbox, LogMailbox)

_SUBSCRIBE = "SUBSCRIBE"
_UNSUBSCRIBE = "UNSUBSCRIBE"
_BACKSTOP_SECONDS = 10.0
_ACK_SECONDS = 2.0
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 2.0
_SILENCE_SECONDS = 15.0


class Feed:
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
        timeout = settings.store_timeout_seconds
        self._pool = ConnectionPool.from_url(
            settings.redis_url, protocol=2, socket_connect_timeout=timeout, socket_timeout=timeout
        )
        self._records = records
        self._backstop_seconds = backstop_seconds
        self._silence_seconds = silence_seconds
        # By the id of the task. Whoever watches a log is told of its task too.
        self._mailboxes: dict[str, set[Mailbox | LogMailbox]] = {}
        self._log_mailboxes: dict[str, set[LogMailbox]] = {}
        # By channel, as what goes over the connection.
        self._acks: dict[str, asyncio.Event] = {}
        # How many SUBSCRIBEs of a channel are still to be acknowledged: only the last one's answer counts.
        self._unanswered: Counter[str] = Counter()
        self._outgoing: list[tuple[str, str]] = []
        self._connection: Connection | None = None
        self._heal_after_acks = False
        self._wake_sender = asyncio.Event()
        self._wake_healer = asyncio.Event()
        self.backstop_found = 0

    async def __aenter__(self) -> Self:
        self._running = background(self._receive, self._send, self._keep_healed)
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._running.__aexit__(None, None, None)
        await self._pool.disconnect()

    @property
    def connected(self) -> bool:
        """Whether Redis is there at this moment."""
        return self._connection is not None

    @property
    def watched(self) -> int:
        """How many tasks are being watched."""
        return len(self._mailboxes)

    @contextlib.asynccontextmanager
    async def watch(self, task_id: str) -> AsyncIterator[Mailbox]:
        """Open a mailbox for the news of one task.

        When this returns Redis has acknowledged the subscription, so that no change after it is missed. While Redis is
        away it returns after a short wait, and the backstop brings the news.
        """
        mailbox = Mailbox()
        with self._joined(self._mailboxes, task_id, events.channel(task_id), mailbox) as ack:
            await _all_acknowledged(ack)
            yield mailbox

    @contextlib.asynccontextmanager
    async def watch_log(self, task_id: str) -> AsyncIterator[LogMailbox]:
        """Open a mailbox for what one task logs, and for its end; see :meth:`watch`."""
        mailbox = LogMailbox()
        with (
            self._joined(self._mailboxes, task_id, events.channel(task_id), mailbox) as of_task,
            self._joined(self._log_mailboxes, task_id, events.log_channel(task_id), mailbox) as of_log,
        ):
            await _all_acknowledged(of_task, of_log)
            yield mailbox

    @contextlib.contextmanager
    def _joined(
        self, mailboxes: dict[str, set[Box]], task_id: str, channel: str, mailbox: Box
    ) -> Iterator[asyncio.Event]:
        watchers = mailboxes.setdefault(task_id, set())
        if not watchers:
            self._acks[channel] = asyncio.Event()
            self._request(_SUBSCRIBE, channel)
        watchers.add(mailbox)
        try:
            yield self._acks[channel]
        finally:
            watchers.discard(mailbox)
            if not watchers:
                del mailboxes[task_id], self._acks[channel]
                self._request(_UNSUBSCRIBE, channel)

    def _request(self, command: str, channel: str) -> None:
        self._outgoing.append((command, channel))
        self._wake_sender.set()

    async def _send(self) -> None:
        """Send what was asked for since the last time, in one write."""
        while True:
            await self._wake_sender.wait()
            self._wake_sender.clear()
            connection = self._connection
            if connection is None or not connection.is_connected or not self._outgoing:
                continue  # the next connection begins with all that is watched then
            requests, self._outgoing = self._outgoing, []
            self._unanswered.update(channel for command, channel in requests if command == _SUBSCRIBE)
            packed = connection.pack_commands(requests)
            with contextlib.suppress(RedisError, OSError):  # the receiver sees the same and reconnects
                await connection.send_packed_command(packed, check_health=False)

    async def _receive(self) -> None:
        """Hold the connection: connect, hear, and after each loss connect again and heal."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py
            try:
                await connection.connect()
                delay = _FIRST_RETRY_SECONDS
                self._resume(connection)
                await self._hear(connection)
            except (RedisError, OSError) as error:
                logger.warning("Redis does not answer, live updates wait: %s", error)
            finally:
                self._suspend()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(2 * delay, _LAST_RETRY_SECONDS)

    def _resume(self, connection: Connection) -> None:
        """Begin a connection with all that is being watched."""
        self._connection = connection
        self._unanswered.clear()
        self._outgoing = [(_SUBSCRIBE, channel) for channel in self._acks]
        self._heal_after_acks = bool(self._outgoing)
        self._wake_sender.set()

    def _suspend(self) -> None:
        """End a connection: nothing is subscribed any more."""
        self._connection = None
        for ack in self._acks.values():
            ack.clear()

    async def _hear(self, connection: Connection) -> None:
        asked = False
        while True:
            answer = await connection.read_response(disable_decoding=True, timeout=self._silence_seconds)
            if answer is None:
                if asked:
                    raise RedisTimeoutError(f"no sign of life for {2 * self._silence_seconds:g} seconds")
                asked = True
                await connection.send_command("PING", check_health=False)
                continue
            asked = False
            if isinstance(answer, list):  # a PING while nothing is subscribed is answered by a plain string
                kind, name, *rest = answer
                self._handle(kind, name, rest[0] if rest else None)

    def _handle(self, kind: bytes, name: bytes, payload: Any) -> None:
        channel = name.decode()
        if kind == b"message":
            self._deliver(channel, payload)
        elif kind == b"subscribe":
            self._acknowledge(channel)

    def _acknowledge(self, channel: str) -> None:
        self._unanswered[channel] -= 1
        if self._unanswered[channel] > 0:
            return
        del self._unanswered[channel]
        if channel in self._acks:
            self._acks[channel].set()
        if self._heal_after_acks and not self._unanswered:
            self._heal_after_acks = False
            self._wake_healer.set()

    def _deliver(self, channel: str, payload: bytes) -> None:
        task_id = events.task_id_of(channel)
        try:
            if events.is_log_channel(channel):
                batch = events.decode_log(payload)
                for log_mailbox in self._log_mailboxes.get(task_id, ()):
                    log_mailbox.put_lines(batch)
            else:
                record = events.decode(payload)
                for mailbox in self._mailboxes.get(task_id, ()):
                    if isinstance(record, TaskRecord):
                        mailbox.put(record)
                    else:
                        mailbox.delete()
        except events.EventError:
            logger.warning("Something that is no event came on the channel %s", channel)

    async def _keep_healed(self) -> None:
        """Heal when a new connection is subscribed to everything again, and on the backstop."""
        while True:
            try:
                async with asyncio.timeout(self._backstop_seconds * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
                    await self._wake_healer.wait()
            except TimeoutError:
                self.backstop_found += await self._heal()
                await self._count_logs()
            else:
                self._wake_healer.clear()
                for watchers in self._log_mailboxes.values():
                    for mailbox in watchers:
                        mailbox.look_again()
                await self._heal()

    async def _heal(self) -> int:
        """Read how far all watched tasks are and deliver what is newer; return to how many watchers it was news."""
        if not self._mailboxes:
            return 0
        # Those that have been seen: one that is only just looked for may not exist, which its watcher finds out itself.
        seen = [id_ for id_, watchers in self._mailboxes.items() if any(mailbox.revision for mailbox in watchers)]
        try:
            revisions = await self._records.revisions(list(self._mailboxes))
            newer = [task_id for task_id, revision in revisions.items() if self._is_news(task_id, revision)]
            records = await self._records.get_many(newer) if newer else []
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched tasks are read again later: %s", error)
            return 0
        for task_id in seen:
            if task_id not in revisions:
                for mailbox in self._mailboxes.get(task_id, ()):
                    mailbox.delete()
        return sum(mailbox.put(record) for record in records for mailbox in self._mailboxes.get(record.id, ()))

    async def _count_logs(self) -> None:
        """Let the logs be read again that are longer than what was heard of them."""
        if not self._log_mailboxes:
            return
        try:
            counts = await self._records.log_counts(list(self._log_mailboxes))
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, watched logs are read again later: %s", error)
            return
        for task_id, count in counts.items():
            for mailbox in self._log_mailboxes.get(task_id, ()):
                mailbox.heard_of(count)

    def _is_news(self, task_id: str, revision: int) -> bool:
        return any(mailbox.revision < revision for mailbox in self._mailboxes.get(task_id, ()))


async def _all_acknowledged(*acks: asyncio.Event) -> None:
    """Wait for Redis, but not for long: it may be away."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ACK_SECONDS):
            for ack in acks:
                await ack.wait()
