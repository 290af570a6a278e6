"""The values that a task record is made from and read into, where they have several fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gql_api.record.fields import FINAL, Status

# GraphQL's Int has 32 bits.
MAX_INT = 2**31 - 1


def priority_of(value: Any) -> int:
    """Return the priority that a message asks for, as a number that a record can have; 0 for anything else.

    kombu reads the priorities of messages in the same way.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return max(-MAX_INT - 1, min(MAX_INT, number))


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
class Arguments:
    """The arguments of a task, as JSON values."""

    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task before it has a record. ``args`` and ``kwargs`` are those that its function receives."""

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
    # These are seconds. The database's clock makes times of them: ``delay`` and ``expires_after`` count from the write,
    # ``expires_in`` from the time at which the task may start.
    delay: float | None = None
    expires_in: float | None = None
    expires_after: float | None = None
    # The number of attempts that had begun when the message was made: a claim takes it for no other attempt.
    attempts: int = 0
    idempotency_key: str | None = None
    input_digest: str | None = None
    replay_of: str | None = None
    sender_token: str | None = None
    # The arguments that clients see, if some are hidden from them.
    shown: Arguments | None = None
    # The subject that it belongs to, with its tenant; the subject of the caller who creates it, and the space of its
    # idempotency key.
    owner: str | None = None
    tenant: str | None = None
    actor: str | None = None
    key_space: str | None = None

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
    # The subject of the caller who made the change; None for a worker.
    actor: str | None = None


class FormerMetadata(NamedTuple):
    """Metadata as they were stored, with the revision and the time of the change that replaced them.

    ``first`` is the revision that had stored them; None if that is not known.
    """

    stored: dict[str, Any]
    revision: int
    until: datetime
    first: int | None = None

    def were_at(self, revision: int) -> bool:
        """Return whether a task had these metadata at a revision for certain."""
        return (self.revision - 1 if self.first is None else self.first) <= revision < self.revision


# A tuple, because an enum's hash takes longer than three comparisons.
_FINAL = tuple(FINAL)


# Not a dataclass: every event makes one, and thousands of mailboxes read its fields.
class Version:
    """The version of a task that a client, a mailbox or MongoDB has.

    The revision alone does not decide which of two versions is newer. MongoDB may lose a write that was announced, when
    it is killed or another member becomes primary: progress, which it acknowledges before it is safe. The next change
    then has the same revision again.
    """

    __slots__ = ("is_final", "revision", "status", "updated_at")

    def __init__(self, revision: int, updated_at: datetime, status: Status) -> None:
        self.revision = revision
        self.updated_at = updated_at
        self.status = status
        self.is_final = status in _FINAL

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Version)
            and self.revision == other.revision
            and self.updated_at == other.updated_at
            and self.status == other.status
        )

    def __hash__(self) -> int:
        return hash((self.revision, self.updated_at, self.status))

    def __repr__(self) -> str:
        return f"<Version {self.revision} {self.status} of {self.updated_at}>"

    def is_news(self, last: Version) -> bool:
        """Return whether this version is certain to be newer than the last one that was received."""
        if self.is_final != last.is_final:
            return self.is_final  # nothing follows a final state but changes that keep it
        if self.revision == last.revision:
            return self.updated_at > last.updated_at
        return self.revision > last.revision

    def contradicts(self, last: Version) -> bool:
        """Return whether MongoDB has to decide between this version, which is not news, and the last one.

        Either the last one was lost, or the times of the two changes are not in the order of their revisions and their
        events changed places.
        """
        if self.is_final != last.is_final:
            return False
        if self.revision == last.revision:
            return self.updated_at < last.updated_at
        return self.revision < last.revision and self.updated_at > last.updated_at


NO_VERSION = Version(0, datetime.min.replace(tzinfo=UTC), Status.SCHEDULED)
"""The version before the first: every version is news."""
