"""The Redis pub/sub connection of the process: its subscriptions, their acknowledgements, and its replacement."""

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
from gql_api.aio.compact import CompactEvent
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
    """A pub/sub client that replaces its connection, and restores its subscriptions, whenever the connection is lost.

    Args:
        settings: the address of Redis.
        on_message: called with the channel and the payload of every message of a subscribed channel.
        on_resumed: called when a new connection has all subscriptions again. Messages in between were missed.
        silence_seconds: the time without an answer after which the connection is tested with a PING.
        on_pattern_message: the same as ``on_message``, for messages of a subscribed pattern.
    """

    def __init__(
        self,
        settings: Settings,
        on_message: Callable[[str, bytes], None],
        on_resumed: Callable[[], None],
        silence_seconds: float = _SILENCE_SECONDS,
        on_pattern_message: Callable[[str, bytes], None] | None = None,
    ) -> None:
        timeout = settings.store_timeout_seconds
        self._pool = ConnectionPool.from_url(
            settings.redis_url,
            protocol=2,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            parser_class=self._make_parser,
        )
        self._on_message = on_message
        self._on_pattern_message = on_pattern_message or on_message
        self._on_resumed = on_resumed
        self._silence_seconds = silence_seconds
        # By kind and name: set while Redis is known to send what is published on the channel or by the pattern.
        self._acks: dict[tuple[str, str], CompactEvent] = {}
        # The number of SUBSCRIBEs that Redis has not acknowledged yet: only the answer to the last one counts.
        self._unanswered: Counter[tuple[str, str]] = Counter()
        self._outgoing: list[tuple[str, str]] = []
        self._connection: Connection | None = None
        self._is_resuming = False
        self._received = 0  # answers, over all connections
        self._wake_sender = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = background(self._receive, self._send, self._check_liveness)
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._running.__aexit__(None, None, None)
        await self._pool.disconnect()

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self._connection is not None

    def subscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Subscribe a channel, or the channels of a pattern, that is not subscribed yet."""
        self._acks[kind, name] = CompactEvent()
        self._request(kind, name)

    def unsubscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Unsubscribe a channel or a pattern."""
        del self._acks[kind, name]
        self._request(_UNSUBSCRIBE[kind], name)

    async def acknowledged(self, *names: str, kind: str = CHANNEL) -> None:
        """Wait until Redis has acknowledged subscriptions, for two seconds at most: Redis may be down."""
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
        """Send the requests since the last write, in one write."""
        while True:
            await self._wake_sender.wait()
            self._wake_sender.clear()
            connection = self._connection
            if connection is None or not connection.is_connected or not self._outgoing:
                continue  # the next connection begins with all subscriptions of that time
            requests, self._outgoing = self._outgoing, []
            self._unanswered.update(request for request in requests if request[0] in _UNSUBSCRIBE)
            packed = connection.pack_commands(requests)
            # The receiver meets the same error and reconnects. When it does so first, redis-py has lost its writer and
            # raises AttributeError.
            with contextlib.suppress(RedisError, OSError, AttributeError):
                await connection.send_packed_command(packed, check_health=False)

    def _make_parser(self, *args: Any, **options: Any) -> _Parser:
        self._parser = _Parser(*args, **options)
        return self._parser

    async def _receive(self) -> None:
        """Connect and read messages, and connect again after each loss."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py
            try:
                await connection.connect()
                delay = _FIRST_RETRY_SECONDS
                self._begin(connection)
                await self._read_messages(connection)
            except (RedisError, OSError) as error:
                logger.warning("Redis does not answer, live updates wait: %s", error)
            finally:
                self._end()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(2 * delay, _LAST_RETRY_SECONDS)

    def _begin(self, connection: Connection) -> None:
        self._connection = connection
        self._unanswered.clear()
        self._outgoing = list(self._acks)
        self._is_resuming = bool(self._outgoing)
        self._wake_sender.set()

    def _end(self) -> None:
        self._connection = None
        for ack in self._acks.values():
            ack.clear()

    async def _read_messages(self, connection: Connection) -> None:
        while True:
            # A timeout would cost more than the read itself: _check_liveness finds dead connections.
            answer = await connection.read_response(disable_decoding=True, timeout=math.inf)
            self._received += 1
            self._handle(answer)
            for answer in self._parser.received():
                self._handle(answer)

    async def _check_liveness(self) -> None:
        """Send a PING on a connection that is quiet, and close the connection when no answer comes."""
        quiet = None
        while True:
            # Counted before the PING is sent: its answer may come before the call returns.
            connection, received = self._connection, self._received
            if connection is not None and connection is quiet:
                with contextlib.suppress(RedisError, OSError):  # the receiver meets the same error and reconnects
                    await connection.send_command("PING", check_health=False)
            await asyncio.sleep(self._silence_seconds)
            if connection is None or connection is not self._connection or received != self._received:
                quiet = None
            elif connection is not quiet:
                quiet = connection
            else:
                logger.warning("Redis gave no sign of life for %g seconds", 2 * self._silence_seconds)
                # A PING would connect it again.
                quiet = None
                await connection.disconnect(nowait=True)

    def _handle(self, answer: Any) -> None:
        if not isinstance(answer, list):  # the answer to a PING without subscriptions is a string
            return
        kind = answer[0]
        if kind == b"message":
            self._on_message(_text(answer[1]), answer[2])
        elif kind == b"pmessage":
            self._on_pattern_message(_text(answer[2]), answer[3])
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
            self._on_resumed()


class _Parser(DefaultParser):  # type: ignore[misc, valid-type] # a name that redis-py gives to hiredis' parser
    """A parser that also yields the answers received together with another: to read each by itself takes 4x as long."""

    def on_connect(self, connection: Any) -> None:
        """Begin with a connection."""
        super().on_connect(connection)
        self._nothing = self._reader.gets()  # hiredis returns this object when it has no answer

    def received(self) -> Iterator[Any]:
        """Yield the answers that have been received already.

        Raises:
            RedisError: Redis refused a request, or sent something that is not an answer.
        """
        while (answer := self._reader.gets(False)) is not self._nothing:
            if isinstance(answer, RedisError):
                raise answer
            yield answer


def _text(name: bytes) -> str:
    # A pattern also matches channels of other programs, whose names may not be text.
    return name.decode(errors="replace")
