"""The evidence of a run, which the checks read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from chaos_ledger import Ledger
from chaos_runs import Run, by_task
from chaos_watchers import LiveList, Watch

from gql_api.record.reads import TaskRecord


@dataclass
class Evidence:
    """All that a run has left behind.

    Args:
        logs: the stored log lines by id of the task.
        losses: the times within which MongoDB may have lost writes that no majority had.
    """

    records: dict[str, TaskRecord] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    watches: list[Watch] = field(default_factory=list)
    lists: list[LiveList] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    losses: list[tuple[float, float]] = field(default_factory=list)
    max_lost_attempts: int = 3
    max_lost_workers: int = 10

    @cached_property
    def runs_of(self) -> dict[str, list[Run]]:
        """The runs of each task."""
        return by_task(self.runs)

    @cached_property
    def _cancelled(self) -> set[str]:
        return {cancel.task_id for cancel in self.ledger.cancels}

    def may_be_cancelled(self, record: TaskRecord) -> bool:
        """Return whether a client has tried to cancel a task, or would have if it had known that the task exists."""
        return record.id in self._cancelled or bool(record.metadata.get("far"))


def function_of(record: TaskRecord) -> str:
    """Return the name of a task's function, without its module."""
    return record.name.rpartition(".")[2]


# Yields each violation as text.
Check = Callable[[Evidence], Iterable[str]]
