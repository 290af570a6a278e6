"""Tasks that change, and the delivery of their events to lists, as the feed delivers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from task_life import Clock, TaskLife

from gql_api.api.pubsub.list_mailbox import ListMailbox, PendingChange
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.events import Deletion
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord


@dataclass(frozen=True)
class Step:
    """A change of one of the tasks, and what becomes of its event."""

    task: int
    kind: str
    metadata: dict[str, Any]
    queue: str
    is_missed: bool


@dataclass
class World:
    """Some tasks, and the steps that make their lives."""

    clock: Clock = field(default_factory=Clock)
    tasks: dict[int, TaskLife] = field(default_factory=dict)
    deleted: list[Deletion] = field(default_factory=list)
    _count: int = 0

    def stored(self, task_id: str) -> TaskRecord | None:
        """Return the record of a task as it is read from MongoDB."""
        return next((task.stored() for task in self.tasks.values() if task.document[f.ID] == task_id), None)

    def take(self, step: Step, owner: str | None = None) -> TaskRecord | Deletion | None:
        """Make a change, and return its event; None if nothing changes."""
        task = self.tasks.get(step.task)
        if task is None or step.kind == "create":
            if task is not None:
                return None
            self._count += 1
            others = {f.NAME: step.queue, f.QUEUE: step.queue, f.OWNER: owner}
            self.tasks[step.task] = TaskLife(f"{step.task}-{self._count}", self.clock, step.metadata, **others)
            return self.tasks[step.task].event()
        if step.kind == "delete" and task.is_final:
            deletion = self.tasks.pop(step.task).deletion()
            self.deleted.append(deletion)
            return deletion
        if step.kind.startswith("replace"):
            task.replace_metadata(step.metadata, knows_first=step.kind == "replace")
        elif (status := task.next_status(step.kind)) is not None:
            task.move(status, step.queue if status is Status.RETRY else None, step.queue)
        else:
            task.progress()
        return task.event()


def deliver(watchers: ListWatchers, event: TaskRecord | Deletion, world: World) -> None:
    """Deliver an event as the feed does."""
    if isinstance(event, Deletion):
        watchers.delete(event)
    elif watchers.depends_on_mongodb(event):
        if (stored := world.stored(event.id)) is not None:
            watchers.put(stored, is_sudden=True, is_certain=True)
    else:
        watchers.put(event)


def taken_at_once(mailbox: ListMailbox) -> list[PendingChange]:
    """Take the waiting changes, without an event loop."""
    waiting, mailbox._waiting = mailbox._waiting, {}  # noqa: SLF001 - take() is a coroutine
    return list(waiting.values())
