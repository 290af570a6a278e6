"""Buffer the payloads of one subscriber and one operation: bounded, in order, and never silently incomplete."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from gql_api.api.execution.encoding import encode
from gql_api.telemetry.counters import MERGED, SLOW_CONSUMERS

SLOW_CONSUMER = "SLOW_CONSUMER"

_MAX_BYTES = 1024 * 1024


class Policy(Enum):
    """The rule for payloads that a slow subscriber has not taken."""

    LATEST = "a payload replaces those before it: each payload has the whole state"
    EVERY = "all payloads are kept up to a bound, past which the operation ends with SLOW_CONSUMER"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an operation: it completed, or failed with ``errors``, a JSON list.

    ``is_refusal`` is True for an operation that was never executed.
    """

    errors: bytes | None = None
    is_refusal: bool = False


_TOO_SLOW = Ending(
    encode(
        [
            {
                "message": "The client reads more slowly than events arrive. Resume after the last event received.",
                "extensions": {"code": SLOW_CONSUMER},
            }
        ]
    )
)


class Reader(Protocol):
    """The sender of what a subscriber's buffers contain."""

    def offer(self, buffer: SendBuffer, payload: bytes, /) -> bool:
        """Take a payload at once, from a buffer that is otherwise empty; False when the buffer has to keep it."""

    def schedule_flush(self, buffer: SendBuffer, /) -> None:
        """Empty the buffer as soon as the subscriber can receive its payloads."""


class SendBuffer:
    """A bounded queue of payloads that one subscriber has yet to receive. All subscribers share the payload bytes.

    Args:
        policy: what to do with payloads that are not taken in time.
        reader: takes the payloads.
        label: the subscriber's name for the operation.
    """

    __slots__ = ("_ending", "_keeps_latest", "_payloads", "_reader", "_size", "label")

    def __init__(self, policy: Policy, reader: Reader, label: bytes = b"") -> None:
        self.label = label
        self._keeps_latest = policy is Policy.LATEST
        self._reader = reader
        # All empty buffers share one tuple: an event reaches thousands of buffers, and each object touched costs time.
        self._payloads: list[bytes] | tuple[()] = ()
        self._size = 0
        self._ending: Ending | None = None

    @property
    def size(self) -> int:
        """The bytes that wait."""
        return sum(map(len, self._payloads))

    def put(self, payload: bytes) -> None:
        """Add a payload."""
        if self._ending is not None:
            return
        if not self._payloads and self._reader.offer(self, payload):
            return
        if self._keeps_latest:
            if self._payloads:
                MERGED.count += 1
            self._payloads = [payload]
        elif not self._payloads:
            self._payloads, self._size = [payload], len(payload)
        elif self._size + len(payload) > _MAX_BYTES:
            self._ending = _TOO_SLOW
            SLOW_CONSUMERS.inc()
        else:
            self._payloads.append(payload)
            self._size += len(payload)
        self._reader.schedule_flush(self)

    def end(self, ending: Ending) -> None:
        """End the operation behind the payloads that were added. Only the first end counts."""
        if self._ending is None:
            self._ending = ending
            self._reader.schedule_flush(self)

    def take(self) -> tuple[list[bytes], Ending | None]:
        """Take all waiting payloads, in order, and the end of the operation if it has ended."""
        payloads, self._payloads = self._payloads or [], ()
        return payloads, self._ending


class WaitingReader:
    """A reader for a coroutine that takes payloads at its own pace: every payload stays in the buffer until then."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()

    def offer(self, _buffer: SendBuffer, _payload: bytes, /) -> bool:
        """Return False: the buffer keeps all payloads."""
        return False

    def schedule_flush(self, _buffer: SendBuffer, /) -> None:
        """Wake the coroutine, which then empties the buffer."""
        self._wake.set()

    def wake(self, _future: asyncio.Future[None], /) -> None:
        """Wake the coroutine as the callback of a future that it also waits for."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait for the next call that wakes the coroutine."""
        await self._wake.wait()
        self._wake.clear()
