"""The pub/sub connection of the process, on the event loops that a server may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio import Connection
from support import wait_until_async

from gql_api.api.pubsub.connection import PubSubConnection
from gql_api.settings import Settings

_SILENCE_SECONDS = 0.2


class _SlowToSend(Connection):
    """A connection whose PINGs return after Redis has answered, as they may with uvloop."""

    pubsub: PubSubConnection
    pings = 0
    opened = 0

    async def connect(self) -> None:
        """Connect, and count that."""
        type(self).opened += 1
        await super().connect()  # type: ignore[no-untyped-call] # redis-py

    async def send_command(self, *args: Any, **options: Any) -> None:
        """Send a command; after a PING, wait until its answer has come."""
        received = self.pubsub._received  # noqa: SLF001 - nothing else tells of an answer

        async def is_answered() -> bool:
            return self.pubsub._received > received  # noqa: SLF001 - as above

        await super().send_command(*args, **options)
        if args == ("PING",):
            await wait_until_async(is_answered)
            type(self).pings += 1


async def _stay_idle(settings: Settings) -> None:
    """Open a connection and use it for nothing until it has been tested a few times."""
    pubsub = PubSubConnection(settings, lambda *_: None, lambda: None, silence_seconds=_SILENCE_SECONDS)
    _SlowToSend.pubsub = pubsub
    pubsub._pool.connection_class = _SlowToSend  # noqa: SLF001 - the test decides when the calls return
    async with pubsub:

        async def tested() -> bool:
            return _SlowToSend.pings >= 4

        await wait_until_async(tested)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_idle_connection_is_kept(settings: Settings, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """An answer that comes before the call returns that asked for it is an answer."""
    _SlowToSend.pings = _SlowToSend.opened = 0
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_stay_idle(settings))
    assert _SlowToSend.opened == 1
