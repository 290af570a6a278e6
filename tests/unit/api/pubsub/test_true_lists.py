"""Live lists through changes whose events are missed and states that are lost, compared with the true lists."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from changing_tasks import Step, World, deliver, taken_at_once
from task_life import BEGAN

from gql_api.access.visibility import EVERYTHING
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.pubsub.list_mailbox import ListMailbox, PendingChange
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.events import Deletion
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord


@dataclass
class Client:
    """A client with a live list, as it should be written, which reads the list whenever it likes."""

    mailbox: ListMailbox
    listed: set[str] = field(default_factory=set)
    has_read: bool = False

    def read(self, world: World) -> None:
        """Read the list."""
        self.listed, self.has_read = self.true_list(world), True

    def is_right(self, world: World) -> bool:
        """Return whether the client has the right list, or a part of it if it has not read the list."""
        return self.listed == self.true_list(world) if self.has_read else self.listed <= self.true_list(world)

    def true_list(self, world: World) -> set[str]:
        """Return the ids of the tasks that belong into the list."""
        records = [task.stored() for task in world.tasks.values()]
        filter_ = self.mailbox.filter
        return {record.id for record in records if filter_.visibility.sees(record) and filter_.matches(record)}

    def take(self, world: World) -> None:
        """Apply the waiting changes."""
        for change in taken_at_once(self.mailbox):
            if isinstance(change.latest, Deletion):
                self.listed.discard(change.latest.task_id)
            elif change.matches is None:
                self._decide(change, change.latest, world)
            elif change.matches:
                self.listed.add(change.latest.id)
            else:
                self.listed.discard(change.latest.id)

    def _decide(self, change: PendingChange, latest: TaskRecord, world: World) -> None:
        stored = world.stored(latest.id)
        if stored is not None and self.mailbox.filter.matches(stored):
            self.listed.add(latest.id)
        elif change.may_have_matched or stored is None or stored.version != latest.version:
            self.listed.discard(latest.id)


def _scan(watchers: ListWatchers, world: World) -> None:
    """Deliver what MongoDB has, as a scan does."""
    for task in world.tasks.values():
        record, last = task.stored(), watchers.received.last(task.document[f.ID])
        if record.version == last:
            watchers.confirm(record.id, last)
        elif record.version.is_news(last):
            watchers.put(record, is_sudden=True, is_certain=True)
        else:
            watchers.correct(record, last)
    for deletion in world.deleted:
        watchers.delete(Deletion(deletion.task_id, deletion.at, remains=deletion.record))
    watchers.complete_until = world.clock.now + timedelta(milliseconds=1)


_OCCASIONS = ["nothing", "take", "take", "take", "read", "scan", "scan and forget", "join", "join"]


class _Run:
    """Clients of live lists that join while tasks change."""

    def __init__(self, filters: list[TaskFilter]) -> None:
        self._to_join = filters
        self.world, self.watchers, self.clients = World(), ListWatchers(), list[Client]()
        self.watchers.listening_since = BEGAN

    def change(self, step: Step, *, is_lost: bool) -> None:
        """Change a task, and maybe deliver the event; a lost change is undone before anything else reads it."""
        task = self.world.tasks.get(step.task)
        document = None if task is None else task.document
        event = self.world.take(step)
        if is_lost and task is not None and document is not None:
            task.document = document
        if event is not None and not step.is_missed:
            deliver(self.watchers, event, self.world)

    def occur(self, occasion: str) -> None:
        """Let clients do something, or MongoDB be scanned."""
        if occasion == "join" and self._to_join:
            self.clients.append(Client(ListMailbox(ListFilter(EVERYTHING, self._to_join.pop()))))
            self.watchers.add(self.clients[-1].mailbox)
        if occasion.startswith("scan"):
            _scan(self.watchers, self.world)
        if occasion == "scan and forget":
            for task in self.world.tasks.values():
                self.watchers.received.forget(task.document[f.ID])
        for client in self.clients:
            if occasion in {"take", "read"}:
                client.take(self.world)
            if occasion == "read":
                client.read(self.world)


@pytest.mark.parametrize("chunk", range(4))
def test_every_list_becomes_the_true_one(chunk: int) -> None:
    """Whatever events are missed, states are lost and clients read at any time: no task stays that has to leave."""
    for seed in range(chunk * 100, chunk * 100 + 100):
        chance = random.Random(seed)  # noqa: S311 - what comes next
        run = _Run([_random_filter(chance) for _ in range(4)])
        for _ in range(chance.randrange(4, 30)):
            run.change(_random_step(chance), is_lost=chance.random() < 0.1)
            run.occur(chance.choice(_OCCASIONS))
        run.occur("scan")
        run.occur("take")
        for client in run.clients:
            assert client.is_right(run.world), f"seed {seed}"


def _random_filter(chance: random.Random) -> TaskFilter:
    def equality() -> TaskFilter:
        return TaskFilter(metadata=[MetadataCondition("a", {Operator.EQ: chance.choice([1, True, "a", None])})])

    return chance.choice(
        [
            equality(),
            TaskFilter(statuses=chance.sample(list(Status), 2)),
            TaskFilter(error_types=["a", "b"]),
            TaskFilter(none_of=TaskFilter(error_types=["a"])),
            TaskFilter(queues=["a"], any_of=[equality(), TaskFilter(statuses=[Status.STARTED])]),
            TaskFilter(statuses=[Status.QUEUED, Status.STARTED], all_of=[equality()]),
            TaskFilter(names=["a", "b"], none_of=equality()),
            TaskFilter(metadata=[MetadataCondition("a", {Operator.IN: chance.sample([1, False, "a", None], 2)})]),
        ]
    )


def _random_step(chance: random.Random) -> Step:
    kinds = [
        "create",
        "start",
        "start",
        "requeue",
        "end",
        "fail",
        "progress",
        "replace",
        "replace",
        "replace old",
        "delete",
    ]
    value = chance.choice([1, 1.0, True, "a", None, [1, "b"], "b", "x" * 40_000])
    return Step(chance.randrange(2), chance.choice(kinds), {"a": value}, chance.choice("abc"), chance.random() < 0.3)
