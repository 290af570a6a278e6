"""The calls that the clients of a run have made, and the answers that they have received."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Order:
    """A task whose creation the API has acknowledged. Times are of ``time.monotonic``.

    Args:
        asked: when the call that was acknowledged began.
        delay: after how many seconds the task may start.
        expires: after how many more seconds it expires.
    """

    id: str
    kind: str
    asked: float
    acknowledged: float
    delay: float = 0.0
    expires: float | None = None


@dataclass
class Cancel:
    """A call that cancels a task, and the status in its answer. Without an answer its outcome is unknown."""

    task_id: str
    status: str | None = None
    refused: str | None = None


@dataclass
class Edit:
    """A call that adds a mark to the metadata of a task. ``stored`` is None when the outcome is unknown."""

    task_id: str
    mark: str
    stored: bool | None = None


@dataclass
class KeyUse:
    """All calls with one idempotency key.

    Args:
        ids: the tasks that the answers name.
        created: how many answers say that their call has created the task.
    """

    key: str
    ids: set[str] = field(default_factory=set)
    created: int = 0


@dataclass
class Ledger:
    """The calls of a run. ``deletions`` has the time of each acknowledged deletion, None without an answer."""

    orders: dict[str, Order] = field(default_factory=dict)
    cancels: list[Cancel] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    keys: list[KeyUse] = field(default_factory=list)
    deletions: dict[str, float | None] = field(default_factory=dict)
    # Calls without an answer.
    losses: int = 0
