"""Hand the payloads of one shared execution to its subscribers, never one that is older than the subscriber's join."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gql_api.api.execution.completion import Answer
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.fallbacks import count_fallback
from gql_api.api.subscriptions.send_buffer import Ending, SendBuffer
from gql_api.record.model import NO_VERSION, Version
from gql_api.telemetry.counters import DELIVERIES

logger = logging.getLogger(__name__)

# Subscribers that join within this time share a read.
_READ_INTERVAL_SECONDS = 0.01

Read = Callable[[], Awaitable[Version]]
"""Reads the current state from MongoDB, hands it to the source if it is news, and returns its version."""


class Fanout:
    """The subscribers of a shared execution.

    A source of states gives :meth:`snapshot` its function that reads MongoDB, and sets ``version`` before it yields a
    state. A subscriber that joins later is held back until a read that began after the join has ended, and the state of
    that read has been published. One read serves all subscribers that wait for one. A source of events, which yields
    what happens from now on, does neither, and a subscriber that joins receives the next event. Either source calls
    :meth:`open` when it misses nothing from then on.

    Args:
        restart_late: called with the subscribers that have received nothing when the execution ends, or when MongoDB
            does not answer: they need another execution.
        holds_back: whether the source is a source of states.
    """

    __slots__ = (
        "_awaiting_read",
        "_awaiting_version",
        "_current",
        "_failed",
        "_holds_back",
        "_opening",
        "_published",
        "_published_version",
        "_read",
        "_reading",
        "_restart_late",
        "complete",
        "is_open",
        "version",
    )

    def __init__(
        self, restart_late: Callable[[Iterable[SendBuffer]], object] = list, *, holds_back: bool = True
    ) -> None:
        self.version = NO_VERSION
        self.complete: Answer | None = None
        self.is_open = False
        self._opening: asyncio.Event | None = None  # while a coroutine waits for it
        self._holds_back = holds_back
        self._restart_late = restart_late
        self._published: bytes | None = None
        self._published_version = NO_VERSION
        self._failed = False
        # These have received the last payload, or joined a source of events: they receive each payload.
        self._current: dict[SendBuffer, None] = {}
        # No read has begun since these joined.
        self._awaiting_read: dict[SendBuffer, None] = {}
        # The version that has to be published first; None while it is being read.
        self._awaiting_version: dict[SendBuffer, Version | None] = {}
        self._read: Read | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_empty(self) -> bool:
        """True without subscribers."""
        return not (self._current or self._awaiting_read or self._awaiting_version)

    def join(self, buffer: SendBuffer) -> None:
        """Add the buffer of a subscriber."""
        if self._holds_back:
            self._awaiting_read[buffer] = None
            self._read_for_late()
        else:
            self._current[buffer] = None

    def leave(self, buffer: SendBuffer) -> None:
        """Remove the buffer of a subscriber."""
        for group in (self._current, self._awaiting_read, self._awaiting_version):
            group.pop(buffer, None)

    def open(self) -> None:
        """Wake all coroutines that wait in :meth:`opened`: the source misses nothing from now on."""
        self.is_open = True
        if self._opening is not None:
            self._opening.set()
            self._opening = None

    async def opened(self) -> None:
        """Wait until the source misses nothing, or the execution has ended."""
        if not self.is_open:
            self._opening = self._opening or asyncio.Event()
            await self._opening.wait()

    async def snapshot(self, read: Read) -> None:
        """Read for the first time, for all subscribers that have joined by now; an error is the execution's."""
        await self._read_for_all(read)
        self._read = read
        self._read_for_late()

    def deliver(self, event: object) -> bool:
        """Complete and publish an event without graphql-core; False when the source has to yield the event instead.

        ``complete`` is set once an event has passed through the executor and its whole selection was compilable.
        """
        if self.complete is None:
            return False
        try:
            payload = encode({"data": self.complete(event)})
        except Exception as error:  # noqa: BLE001 - graphql-core executes the event instead
            count_fallback(error)
            # Until the executor has met an event that its plan can answer, a second failure would only cost time.
            self.complete = None
            return False
        self.publish(payload)
        return True

    def publish(self, payload: bytes, *, failed: bool = False) -> None:
        """Hand a payload of ``version`` to the subscribers; one that ``failed`` has no data."""
        if self._awaiting_version and self.version != self._published_version:
            self._stop_awaiting_lost()
        self._published, self._published_version, self._failed = payload, self.version, failed
        for buffer in self._current:
            buffer.put(payload)
        DELIVERIES.count += len(self._current)
        if self._awaiting_version:
            self._admit()

    def end(self, ending: Ending) -> None:
        """End the operation for all subscribers that have received a payload, and restart it for the others."""
        self.open()
        if self._reading is not None:
            self._reading.cancel()
        # When the first read of a source fails, all subscribers whose read it was share the error.
        sharing = self._awaiting_version if self._failed and self._published is not None else {}
        for buffer in sharing:
            buffer.put(self._published or b"")
        ended = [*self._current, *sharing]
        late = [*(buffer for buffer in self._awaiting_version if buffer not in sharing), *self._awaiting_read]
        self._current, self._awaiting_version, self._awaiting_read = {}, {}, {}
        if ending.is_refusal:
            ended, late = [*ended, *late], []
        for buffer in ended:
            buffer.end(ending)
        self._restart_late(late)

    async def _read_for_all(self, read: Read) -> None:
        asking, self._awaiting_read = self._awaiting_read, {}
        self._awaiting_version.update(dict.fromkeys(asking, None))
        version = await read()
        self._awaiting_version.update({buffer: version for buffer in asking if buffer in self._awaiting_version})
        self._admit()

    def _read_for_late(self) -> None:
        if self._read is not None and self._awaiting_read and self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(self._read))

    async def _keep_reading(self, read: Read) -> None:
        """Read as long as subscribers wait for a read; restart those whose read fails."""
        try:
            while self._awaiting_read:
                try:
                    await self._read_for_all(read)
                except Exception as error:  # noqa: BLE001 - the subscribers receive it from their own execution
                    logger.info("A late subscriber is restarted: %s", error)
                    late = [buffer for buffer, version in self._awaiting_version.items() if version is None]
                    for buffer in late:
                        del self._awaiting_version[buffer]
                    self._restart_late(late)
                await asyncio.sleep(_READ_INTERVAL_SECONDS)
        finally:
            self._reading = None

    def _stop_awaiting_lost(self) -> None:
        """Let subscribers wait for no later version if the source takes back what it has published: it may be lost."""
        if not self.version.is_news(self._published_version):
            for buffer, version in self._awaiting_version.items():
                if version is not None:
                    self._awaiting_version[buffer] = self.version

    def _admit(self) -> None:
        """Hand the last payload to the subscribers that waited for its version, or for an earlier one."""
        if self._published is None:
            return
        for buffer, version in list(self._awaiting_version.items()):
            if version is not None and not version.is_news(self._published_version):
                del self._awaiting_version[buffer]
                self._current[buffer] = None
                buffer.put(self._published)
                DELIVERIES.count += 1
