"""Who is told by one shared execution, and since when: the first payload of each is not older than MongoDB was then."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable

from gql_api.api.execution.encoding import encode
from gql_api.api.subscriptions.send_buffer import Ending, SendBuffer
from gql_api.telemetry.counters import DELIVERIES

logger = logging.getLogger(__name__)

# Those who join within this time share a read.
_READ_INTERVAL_SECONDS = 0.01

Read = Callable[[], Awaitable[int]]
"""Reads the state that a source tells of, gives the source what is new of it, and returns its revision."""


class Fanout:
    """The subscribers of an execution.

    A source of states gives :meth:`snapshot` its way to read MongoDB, and says in ``revision`` what it is about to
    yield. Whoever joins later is held back until a read that began after the join has ended, and what was found then
    has been published. One read serves all who wait for one. A source of events, which tells what happens from now on,
    does neither, and who joins hears the next event. Either says by :meth:`open` from when on it misses nothing.

    Args:
        holds_back: whether the source is one of states.
        leave_behind: takes those who could not be told before the execution ended, or MongoDB stopped to answer.
    """

    __slots__ = (
        "_failed",
        "_held",
        "_holds_back",
        "_leave_behind",
        "_opening",
        "_published",
        "_published_revision",
        "_read",
        "_reading",
        "_told",
        "_unread",
        "complete",
        "is_open",
        "revision",
    )

    def __init__(
        self, leave_behind: Callable[[Iterable[SendBuffer]], object] = list, *, holds_back: bool = True
    ) -> None:
        self.revision = 0
        self.complete: Callable[[object], dict[str, object]] | None = None
        self.is_open = False
        self._opening: asyncio.Event | None = None  # while somebody waits
        self._holds_back = holds_back
        self._leave_behind = leave_behind
        self._published: bytes | None = None
        self._published_revision = 0
        self._failed = False
        self._told: dict[SendBuffer, None] = {}
        # No read has begun since they joined.
        self._unread: dict[SendBuffer, None] = {}
        # The revision that has to be published first; infinite while it is being read.
        self._held: dict[SendBuffer, float] = {}
        self._read: Read | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there to be told."""
        return not (self._told or self._unread or self._held)

    def join(self, outbox: SendBuffer) -> None:
        """Let one more be told."""
        if self._holds_back:
            self._unread[outbox] = None
            self._read_for_late()
        else:
            self._told[outbox] = None

    def leave(self, outbox: SendBuffer) -> None:
        """Tell one no more."""
        for group in (self._told, self._unread, self._held):
            group.pop(outbox, None)

    def open(self) -> None:
        """Let everybody know that nothing which happens from now on is missed."""
        self.is_open = True
        if self._opening is not None:
            self._opening.set()
            self._opening = None

    async def opened(self) -> None:
        """Wait until nothing is missed any more, or the execution has ended."""
        if not self.is_open:
            self._opening = self._opening or asyncio.Event()
            await self._opening.wait()

    async def snapshot(self, read: Read) -> None:
        """Read for the first time, for all who are here by now; errors are the execution's."""
        await self._read_for_all(read)
        self._read = read
        self._read_for_late()

    def tell(self, event: object) -> bool:
        """Complete and publish an event without graphql-core; False when it has to be yielded instead.

        ``complete`` is how, once the first event has gone through all of it and turned out to be plain.
        """
        if self.complete is None:
            return False
        try:
            payload = encode({"data": self.complete(event)})
        except Exception:  # noqa: BLE001 - graphql-core meets it again, and has the words for it
            return False
        self.publish(payload)
        return True

    def publish(self, payload: bytes, *, failed: bool = False) -> None:
        """Tell a payload, which is of ``revision``; one that failed has no data."""
        self._published, self._published_revision, self._failed = payload, self.revision, failed
        for outbox in self._told:
            outbox.put(payload)
        DELIVERIES.count += len(self._told)
        if self._held:
            self._admit()

    def end(self, ending: Ending) -> None:
        """Tell all how the execution ended. Whoever has not been told anything yet is left behind."""
        self.open()
        if self._reading is not None:
            self._reading.cancel()
        # A source that fails at its first read has been asked by all who are held.
        held = self._held if self._failed and self._published is not None else {}
        for outbox in held:
            outbox.put(self._published or b"")
        told, late = [*self._told, *held], [*(outbox for outbox in self._held if outbox not in held), *self._unread]
        self._told, self._held, self._unread = {}, {}, {}
        if ending.is_refusal:
            told, late = [*told, *late], []
        for outbox in told:
            outbox.end(ending)
        self._leave_behind(late)

    async def _read_for_all(self, read: Read) -> None:
        asking, self._unread = self._unread, {}
        self._held.update(dict.fromkeys(asking, math.inf))
        revision = await read()
        self._held.update({outbox: revision for outbox in asking if outbox in self._held})
        self._admit()

    def _read_for_late(self) -> None:
        if self._read is not None and self._unread and self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(self._read))

    async def _keep_reading(self, read: Read) -> None:
        """Read as long as somebody asks. One who cannot be answered meets the error in an execution of their own."""
        try:
            while self._unread:
                try:
                    await self._read_for_all(read)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told there
                    logger.info("A late subscriber begins anew: %s", error)
                    late = [outbox for outbox, revision in self._held.items() if revision == math.inf]
                    for outbox in late:
                        del self._held[outbox]
                    self._leave_behind(late)
                await asyncio.sleep(_READ_INTERVAL_SECONDS)
        finally:
            self._reading = None

    def _admit(self) -> None:
        """Tell the last payload to those who waited for it."""
        if self._published is None:
            return
        for outbox, revision in list(self._held.items()):
            if revision <= self._published_revision:
                del self._held[outbox]
                self._told[outbox] = None
                outbox.put(self._published)
                DELIVERIES.count += 1
