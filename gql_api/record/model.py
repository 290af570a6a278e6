"""The values that a task record is made from and read into, where they have several fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from gql_api.record.fields import Status


@dataclass(frozen=True, slots=True)
class MessageParts:
    """The parts of a task's message that its record has no field for: Celery's headers and the embedded callbacks.

    All are JSON values. The message of a retry or a replacement may also name another function and other arguments than
    the record, which keeps those of its creation.
    """

    headers: dict[str, Any] = field(default_factory=dict)
    embed: dict[str, Any] = field(default_factory=dict)
    task: str | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task before it has a record."""

    id: str
    name: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    queue: str = "celery"
    priority: int = 0
    parent_id: str | None = None
    root_id: str | None = None
    message: MessageParts | None = None
    scheduled_for: datetime | None = None
    expires_at: datetime | None = None
    # In seconds, by the database's clock: from now, from the time it may start, and from now again.
    delay: float | None = None
    expires_in: float | None = None
    expires_after: float | None = None
    # The number of attempts that had begun when the message was made: a claim takes it for no other attempt.
    attempts: int = 0
    idempotency_key: str | None = None
    input_digest: str | None = None
    replay_of: str | None = None

    @property
    def waits(self) -> bool:
        """True if the message of a retry or a replacement names a time before which it is not sent."""
        return bool(self.delay) or self.scheduled_for is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of an attempt by a worker. A claim whose reply was lost recognises itself by its ``token``.

    ``attempts`` is the number of attempts that had begun when the worker's message was made.
    """

    token: str
    worker: str
    run: str
    pid: int
    lease_seconds: float
    attempts: int = 0


# A tuple, which is cheaper to make: every event that is read makes one.
class Progress(NamedTuple):
    """A progress report. ``data`` is the rest of the meta of ``update_state(state="PROGRESS", meta=...)``."""

    current: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None

    @property
    def percent(self) -> float | None:
        """``current`` of ``total`` in percent, from 0 to 100; None without both, or when ``total`` is not positive."""
        if self.current is None or not self.total or self.total < 0:
            return None
        return min(100.0, max(0.0, 100.0 * self.current / self.total))


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The reason that an attempt ended without a result. ``args`` are the exception's, in kombu's JSON form."""

    type: str
    message: str
    module: str | None = None
    args: Any = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """An entry of a task's history: a change of its status."""

    revision: int
    status: Status
    at: datetime
    worker: str | None
    message: str | None
