"""What one subscriber has yet to be sent of one operation: bounded, in order, and never silently incomplete."""

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
    """What becomes of the payloads that a slow subscriber has not taken."""

    LATEST = "a payload replaces those before it: each tells the whole state"
    EVERY = "each counts: they are kept to a bound, past which the operation ends with SLOW_CONSUMER"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an operation ended: completely, or with errors, a JSON list.

    ``is_refusal`` says that it was never executed.
    """

    errors: bytes | None = None
    is_refusal: bool = False


_SLOW = Ending(
    encode(
        [
            {
                "message": "The client reads more slowly than the events come. Resume after the last one.",
                "extensions": {"code": SLOW_CONSUMER},
            }
        ]
    )
)


class Reader(Protocol):
    """Who sends a subscriber what its outboxes hold."""

    def offer(self, outbox: SendBuffer, payload: bytes) -> bool:
        """Take a payload from an outbox that holds nothing else; False when it has to be kept."""

    def mark(self, outbox: SendBuffer) -> None:
        """Hear that there is something to take."""


class SendBuffer:
    """Predicate the payloads, which are shared with all other subscribers, until its subscriber can be sent them.

    Args:
        policy: what to do when they are not taken in time.
        reader: who takes them.
        label: what the subscriber knows the operation by.
    """

    __slots__ = ("_ending", "_keeps_latest", "_payloads", "_reader", "_size", "label")

    def __init__(self, policy: Policy, reader: Reader, label: bytes = b"") -> None:
        self.label = label
        self._keeps_latest = policy is Policy.LATEST
        self._reader = reader
        # The empty one is one for all: an event comes to thousands, and each object that is looked at takes its time.
        self._payloads: list[bytes] | tuple[()] = ()
        self._size = 0
        self._ending: Ending | None = None

    def put(self, payload: bytes) -> None:
        """Leave a payload."""
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
            self._ending = _SLOW
            SLOW_CONSUMERS.inc()
        else:
            self._payloads.append(payload)
            self._size += len(payload)
        self._reader.mark(self)

    def end(self, ending: Ending) -> None:
        """Let the operation end, after what has been left."""
        if self._ending is None:
            self._ending = ending
            self._reader.mark(self)

    def take(self) -> tuple[list[bytes], Ending | None]:
        """Take all that waits, in order, and how the operation ended if it has."""
        payloads, self._payloads = self._payloads or [], ()
        return payloads, self._ending


class Alarm:
    """A reader that takes nothing by itself, but wakes the coroutine that does, at its own pace."""

    def __init__(self) -> None:
        self._ringing = asyncio.Event()

    def offer(self, _outbox: SendBuffer, _payload: bytes) -> bool:
        """Let everything be kept."""
        return False

    def mark(self, _outbox_or_future: object) -> None:
        """Wake who waits, for an outbox or as a future's callback."""
        self._ringing.set()

    async def wait(self) -> None:
        """Wait until there is something to take, or something else to see to."""
        await self._ringing.wait()
        self._ringing.clear()
