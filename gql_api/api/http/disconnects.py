"""Cancel the operation of a client that has disconnected: its fields would go on reading for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from gql_api.aio.background import cancelled
from gql_api.api.errors import ApiError

T = TypeVar("T")

# Ordinary operations have ended by then, so that they pay for a timer only.
_BEGIN_SECONDS = 0.25


class DisconnectedError(ApiError):
    """The client has disconnected before its operation has ended."""


async def unless_disconnected(receive: Receive, operation: Coroutine[Any, Any, T]) -> T:
    """Run an operation, and cancel it when the client of a request whose body is read disconnects.

    Raises:
        DisconnectedError: the client has disconnected.
    """
    watch = _Watch(receive)
    timer = asyncio.get_running_loop().call_later(_BEGIN_SECONDS, watch.begin)
    try:
        return await operation
    except asyncio.CancelledError:
        if not watch.is_disconnected or watch.running.uncancel() > 0:
            raise  # the server stops
        raise DisconnectedError from None
    finally:
        timer.cancel()
        if watch.has_begun:
            await watch.end()


class _Watch:
    """A wait for the disconnect of a client, which then cancels the task that has created the watch."""

    def __init__(self, receive: Receive) -> None:
        running = asyncio.current_task()
        assert running is not None  # noqa: S101 - a coroutine creates the watch
        self.running = running
        self.is_disconnected = False
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """True once it waits."""
        return self._watching is not None

    def begin(self) -> None:
        """Begin to wait."""
        self._watching = asyncio.create_task(self._wait())

    async def end(self) -> None:
        """Stop waiting."""
        if self._watching is not None:
            await cancelled([self._watching])

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_disconnected = True
        self.running.cancel()
