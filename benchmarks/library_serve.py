"""`gql-api serve` with a part of ours replaced by a library: a side of live.py, which shows what ours gains.

    python benchmarks/live.py --sides gql-api,library-handshake,library-framing,library-websocket,library-pubsub

`handshake`: the websockets library answers plain handshakes. `framing`: it frames each message, which uvicorn writes by
itself. `websocket`: all of uvicorn's own HTTP and WebSocket protocols. `pubsub`: redis-py's PubSub receives events.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Self

from redis.asyncio import Redis
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gql_api.aio.background import background
from gql_api.api.pubsub import task_feed
from gql_api.api.pubsub.connection import CHANNEL, PATTERN
from gql_api.api.websocket import handler
from gql_api.api.websocket.transport import AsgiTransport
from gql_api.server import serve
from gql_api.settings import Settings

_DRAIN_SECONDS = 1


class LibraryPubSub:
    """The interface of :class:`gql_api.api.pubsub.connection.PubSubConnection`, by redis-py's PubSub."""

    def __init__(
        self,
        settings: Settings,
        on_message: Callable[[str, bytes], None],
        on_resumed: Callable[[], None],
        silence_seconds: float = 15.0,
        on_pattern_message: Callable[[str, bytes], None] | None = None,
    ) -> None:
        timeout = settings.store_timeout_seconds
        self._redis = Redis.from_url(
            settings.redis_url,
            protocol=2,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            health_check_interval=silence_seconds,
        )
        self._pubsub = self._redis.pubsub()
        self._on_message = on_message
        self._on_resumed = on_resumed
        self._on_pattern_message = on_pattern_message or on_message
        self._acks: dict[tuple[str, str], asyncio.Event] = {}
        self._requests: asyncio.Queue[tuple[Callable[..., Any], str]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self._pubsub.connect()  # type: ignore[no-untyped-call] # redis-py
        self._running = background(self._receive, self._send)
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._running.__aexit__(None, None, None)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py
        await self._redis.aclose()

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        connection: Any = self._pubsub.connection
        return bool(connection and connection.is_connected)

    def subscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Subscribe a channel or a pattern."""
        self._acks[kind, name] = asyncio.Event()
        self._requests.put_nowait((self._pubsub.subscribe if kind == CHANNEL else self._pubsub.psubscribe, name))

    def unsubscribe(self, name: str, kind: str = CHANNEL) -> None:
        """Unsubscribe a channel or a pattern."""
        del self._acks[kind, name]
        self._requests.put_nowait((self._pubsub.unsubscribe if kind == CHANNEL else self._pubsub.punsubscribe, name))

    async def acknowledged(self, *names: str, kind: str = CHANNEL) -> None:
        """Wait until Redis has acknowledged subscriptions."""
        for name in names:
            await self._acks[kind, name].wait()

    async def _send(self) -> None:
        while True:
            requests = [await self._requests.get()]
            while not self._requests.empty():
                requests.append(self._requests.get_nowait())
            for command, group in itertools.groupby(requests, key=lambda request: request[0]):
                await command(*(name for _, name in group))

    async def _receive(self) -> None:
        while True:
            message = await self._pubsub.get_message(timeout=None)
            if message is None:
                continue
            name = message["channel"].decode(errors="replace")
            if message["type"] == "message":
                self._on_message(name, message["data"])
            elif message["type"] == "pmessage":
                self._on_pattern_message(name, message["data"])
            elif message["type"] in {"subscribe", "psubscribe"}:
                self._acknowledge(CHANNEL if message["type"] == "subscribe" else PATTERN, name)

    def _acknowledge(self, kind: str, name: str) -> None:
        ack = self._acks.get((kind, name))
        if ack is None:
            return
        if ack.is_set():  # redis-py has connected anew, and subscribed again
            self._on_resumed()
        ack.set()


def _replace(part: str) -> None:
    if part in {"handshake", "websocket"}:
        vars(serve)["HttpProtocol"] = HttpToolsProtocol
    if part == "websocket":
        vars(serve)["WebSocketProtocol"] = WebSocketsSansIOProtocol
    if part == "framing":
        vars(handler)["transport_of"] = AsgiTransport
    if part == "pubsub":
        vars(task_feed)["PubSubConnection"] = LibraryPubSub


def main() -> None:
    """Replace one part and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["handshake", "framing", "websocket", "pubsub"])
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    _replace(options.part)
    serve.run(Settings.load(), serve.Options("127.0.0.1", options.port, 1, _DRAIN_SECONDS))


if __name__ == "__main__":
    main()
