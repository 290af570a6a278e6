"""The one Redis pub/sub connection of the process: what is subscribed, what is acknowledged, and what a loss undoes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self

from redis.asyncio import Connection, ConnectionPool
from redis.asyncio.connection import DefaultParser
from redis.exceptions import RedisError

from gql_api.aio.background import background
from gql_api.settings import Settings

logger = logging.getLogger(__name__)

CHANNEL = "SUBSCRIBE"
PATTERN = "PSUBSCRIBE"
_UNSUBSCRIBE = {CHANNEL: "UNSUBSCRIBE", PATTERN: "PUNSUBSCRIBE"}
_ACKNOWLEDGED = {b"subscribe": CHANNEL, b"psubscribe": PATTERN}
_ACK_SECONDS = 2.0
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 2.0
_SILENCE_SECONDS = 15.0


class PubSubConnection:
    """Subscribes channels and hears what comes on them, through as many connections as it takes, one at a time.

    Args:
        settings: where Redis is.
        hear: told of every message on a channel, with the channel.
        resumed: told when a new connection is subscribed to everything again; what came in between was missed.
        silence_seconds: how long a quiet connection is trusted before it is asked for a sign of life.
        hear_pattern: told of every message by a pattern, with the channel.
    """

    def __init__(
        self,
        settings: Settings,
        hear: Callable[[str, bytes], None],
        resumed: Callable[[], None],
        silence_seconds: float = _SILENCE_SECONDS,
        hear_pattern: Callable[[str, bytes], None] | None = None,
    ) -> None:
        timeout = settings.store_timeout_seconds
        self._pool = ConnectionPool.from_url(
            settings.redis_url,
            protocol=2,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            parser_class=self._make_parser,
        )
        self._tell = hear
        self._tell_of_pattern = hear_pattern or hear
        self._resumed = resumed
        self._silence_seconds = silence_seconds
        # By kind and name: set while Redis is known to send what is published there.
        self._acks: dict[tuple[str, str], asyncio.Event] = {}
        # How many SUBSCRIBEs of a channel are still to be acknowledged: only the last one's answer counts.
        self._unanswered: Counter[tuple[str, str]] = Counter()
        self._outgoing: list[tuple[str, str]] = []
        self._connection: Connection | None = None
        self._is_resuming = False
        self._has_heard = False
        self._wake_sender = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = background(self._receive, self._send, self._doubt)
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._running.__aexit__(None, None, None)
        await self._pool.disconnect()

    @property
    def connected(self) -> bool:
        """Whether Redis is there at this moment."""
        return self._connection is not None

    def subscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Begin to hear a channel, or the channels of a pattern, which is not subscribed yet."""
        self._acks[kind, name] = asyncio.Event()
        self._request(kind, name)

    def unsubscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Hear no more of it."""
        del self._acks[kind, name]
        self._request(_UNSUBSCRIBE[kind], name)

    async def acknowledged(self, *names: str, kind: str = CHANNEL) -> None:
        """Wait until Redis has acknowledged subscriptions, but not for long: it may be away."""
        waiting = [ack for name in names if not (ack := self._acks[kind, name]).is_set()]
        if waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ACK_SECONDS):
                    for ack in waiting:
                        await ack.wait()

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
                continue  # the next connection begins with all that is subscribed then
            requests, self._outgoing = self._outgoing, []
            self._unanswered.update(request for request in requests if request[0] in _UNSUBSCRIBE)
            packed = connection.pack_commands(requests)
            # The receiver sees the same and reconnects. When it does so first, redis-py has no writer, and says it so.
            with contextlib.suppress(RedisError, OSError, AttributeError):
                await connection.send_packed_command(packed, check_health=False)

    def _make_parser(self, *args: Any, **options: Any) -> _Parser:
        self._parser = _Parser(*args, **options)
        return self._parser

    async def _receive(self) -> None:
        """Hold the connection: connect, hear, and after each loss connect again."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py
            try:
                await connection.connect()
                delay = _FIRST_RETRY_SECONDS
                self._begin(connection)
                await self._hear(connection)
            except (RedisError, OSError) as error:
                logger.warning("Redis does not answer, live updates wait: %s", error)
            finally:
                self._end()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(2 * delay, _LAST_RETRY_SECONDS)

    def _begin(self, connection: Connection) -> None:
        """Begin a connection with all that is to be heard."""
        self._connection = connection
        self._unanswered.clear()
        self._outgoing = list(self._acks)
        self._is_resuming = bool(self._outgoing)
        self._wake_sender.set()

    def _end(self) -> None:
        """End a connection: nothing is subscribed any more."""
        self._connection = None
        for ack in self._acks.values():
            ack.clear()

    async def _hear(self, connection: Connection) -> None:
        while True:
            # Without a timeout, which would cost more than the reading: see _doubt.
            answer = await connection.read_response(disable_decoding=True, timeout=math.inf)
            self._has_heard = True
            self._handle(answer)
            for answer in self._parser.received():
                self._handle(answer)

    async def _doubt(self) -> None:
        """Ask a connection that is quiet for a sign of life, and give it up when none comes."""
        asked = None
        while True:
            connection, self._has_heard = self._connection, False
            await asyncio.sleep(self._silence_seconds)
            if connection is None or connection is not self._connection or self._has_heard:
                asked = None
            elif asked is connection:
                logger.warning("Redis gave no sign of life for %g seconds", 2 * self._silence_seconds)
                await connection.disconnect(nowait=True)
            else:
                asked = connection
                with contextlib.suppress(RedisError, OSError):  # the receiver sees the same and reconnects
                    await connection.send_command("PING", check_health=False)

    def _handle(self, answer: Any) -> None:
        if not isinstance(answer, list):  # a PING while nothing is subscribed is answered by a plain string
            return
        kind = answer[0]
        if kind == b"message":
            self._tell(_text(answer[1]), answer[2])
        elif kind == b"pmessage":
            self._tell_of_pattern(_text(answer[2]), answer[3])
        elif kind in _ACKNOWLEDGED:
            self._acknowledge((_ACKNOWLEDGED[kind], answer[1].decode()))

    def _acknowledge(self, request: tuple[str, str]) -> None:
        self._unanswered[request] -= 1
        if self._unanswered[request] > 0:
            return
        del self._unanswered[request]
        if request in self._acks:
            self._acks[request].set()
        if self._is_resuming and not self._unanswered:
            self._is_resuming = False
            self._resumed()


class _Parser(DefaultParser):  # type: ignore[misc, valid-type] # a name that redis-py gives to hiredis' parser
    """Also tells what has been received together with an answer, which read one by one takes four times as long."""

    def on_connect(self, connection: Any) -> None:
        """Begin with a connection."""
        super().on_connect(connection)
        self._nothing = self._reader.gets()  # what it says when it has no answer

    def received(self) -> Iterator[Any]:
        """Yield the answers that have been received already.

        Raises:
            RedisError: Redis refuses something, or it is no answer.
        """
        while (answer := self._reader.gets(False)) is not self._nothing:
            if isinstance(answer, RedisError):
                raise answer
            yield answer


def _text(name: bytes) -> str:
    """The name of a channel. By a pattern also those of strangers are heard, which may be no text."""
    return name.decode(errors="replace")
