"""The index of live lists, compared with lists that are compared with every change, and with the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies import FILTERS, METADATA, PLACES
from task_life import BEGAN, Clock, TaskLife

from gql_api.access.visibility import EVERYTHING, Visibility, visibility_of
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.pubsub.list_index import ListIndex
from gql_api.api.pubsub.list_mailbox import ListMailbox, PendingChange
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.events import Deletion
from gql_api.query.equalities import required
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord

_OWNERS = st.sampled_from([None, "alice", "bob"])


def _equal_to(path: str, value: object) -> TaskFilter:
    return TaskFilter(metadata=[MetadataCondition(path, {Operator.EQ: value})])


_VISIBILITIES = st.sampled_from(
    [
        *[EVERYTHING, EVERYTHING, visibility_of("alice", None), visibility_of(None, None)],
        *[visibility_of("bob", None).and_also(_equal_to("a", 1)), Visibility(_equal_to("b", "a"))],
    ]
)
# What brings filters and tasks together: few values, and those that are special in Python or in MongoDB.
_SIMPLE = st.builds(_equal_to, st.sampled_from(["a", "b", "a.b", "a.0"]), st.sampled_from([1, 1.0, True, None, "a", 0]))
_NARROW = st.builds(
    TaskFilter,
    names=st.none() | st.lists(PLACES, max_size=2),
    queues=st.none() | st.lists(PLACES, max_size=2),
    statuses=st.none() | st.lists(st.sampled_from(Status), max_size=3),
    all_of=st.lists(_SIMPLE, max_size=2),
    any_of=st.none() | st.lists(_SIMPLE, max_size=2),
)
_ALL_FILTERS = _SIMPLE | _NARROW | FILTERS
_FEW_METADATA = st.fixed_dictionaries(
    {"a": st.sampled_from([1, 1.0, True, False, None, "a", [1, "a"], {"b": 1}, [{"b": "a"}], [[1]], 0, -0.0])},
    optional={"b": st.sampled_from([1, "a", None, ["a"], "x" * 40_000])},
)
_ALL_METADATA = _FEW_METADATA | METADATA


@dataclass(frozen=True)
class Step:
    """A change of one of the tasks, and what becomes of its event."""

    task: int
    kind: str
    metadata: dict[str, Any]
    queue: str
    is_missed: bool


_STEPS = st.builds(
    Step,
    st.integers(0, 1),
    st.sampled_from(["create", "create", "start", "requeue", "end", "progress", "replace", "replace old", "delete"]),
    _ALL_METADATA,
    PLACES,
    st.sampled_from([False, False, True]),
)


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
        elif task.is_final or step.kind in {"progress", "delete"}:
            task.progress()
        else:
            statuses = {"start": Status.STARTED, "requeue": Status.RETRY, "end": Status.SUCCESS}
            queue = step.queue if step.kind == "requeue" else None
            task.move(statuses[step.kind], queue)
        return task.event()


def _deliver(watchers: ListWatchers, event: TaskRecord | Deletion, world: World) -> None:
    """Deliver an event as the feed does."""
    if isinstance(event, Deletion):
        watchers.delete(event)
    elif watchers.depends_on_mongodb(event):
        if (stored := world.stored(event.id)) is not None:
            watchers.put(stored, is_sudden=True, is_certain=True)
    else:
        watchers.put(event)


def _taken(mailbox: ListMailbox) -> list[PendingChange]:
    waiting, mailbox._waiting = mailbox._waiting, {}  # noqa: SLF001 - take() is a coroutine
    return list(waiting.values())


class _Unindexed(ListIndex[ListFilter]):
    """An index that finds all lists for every change."""

    def candidates(self, *_: object) -> set[ListFilter]:
        """Return all lists."""
        return {*self._without_equality, *self._equalities}


def _watchers(filters: list[tuple[Visibility, TaskFilter]], index: ListIndex[ListFilter]) -> ListWatchers:
    watchers = ListWatchers()
    watchers._index = index  # noqa: SLF001 - the one to be compared
    watchers.listening_since = BEGAN
    for visibility, filter_ in filters:
        watchers.add(ListMailbox(ListFilter(visibility, filter_)))
    return watchers


def _received(watchers: ListWatchers) -> set[tuple[object, ...]]:
    return {
        (filter_, getattr(change.latest, "version", None), change.matches, change.is_known, change.may_have_matched)
        for filter_, mailboxes in watchers._mailboxes.items()  # noqa: SLF001 - all of them
        for mailbox in mailboxes
        for change in _taken(mailbox)
    }


@given(
    st.lists(st.tuples(_VISIBILITIES, _ALL_FILTERS), min_size=1, max_size=6),
    st.lists(st.tuples(_STEPS, _OWNERS), min_size=3, max_size=12),
)
def test_the_index_leaves_out_no_list_that_a_change_concerns(
    filters: list[tuple[Visibility, TaskFilter]], steps: list[tuple[Step, str | None]]
) -> None:
    """Through any changes, missed events and deletions, lists receive the same as without the index."""
    indexed, unindexed = _watchers(filters, ListIndex()), _watchers(filters, _Unindexed())
    world = World()
    for step, owner in steps:
        event = world.take(step, owner)
        if event is None or step.is_missed:
            continue
        for watchers in (indexed, unindexed):
            _deliver(watchers, event, world)
        assert _received(indexed) == _received(unindexed)
    assert indexed.received._holders == unindexed.received._holders  # noqa: SLF001 - the lists that have the tasks


@given(_ALL_FILTERS, _ALL_METADATA)
def test_a_task_that_matches_meets_every_equality(filter_: TaskFilter, metadata: dict[str, Any]) -> None:
    """Values that a filter takes for equal have the same key."""
    record = TaskLife("a", Clock(), metadata, **{f.NAME: "b"}).stored()
    if ListFilter(EVERYTHING, filter_).matches(record):
        for equality in required(filter_):
            assert any(not keys.isdisjoint(subject.keys_in(record)) for subject, keys in equality.items())


@dataclass
class Client:
    """A client with a live list, as it should be written, which reads the list whenever it likes."""

    mailbox: ListMailbox
    listed: set[str] = field(default_factory=set)

    def read(self, world: World) -> None:
        """Read the list."""
        self.listed = self.true_list(world)

    def true_list(self, world: World) -> set[str]:
        """Return the ids of the tasks that belong into the list."""
        records = [task.stored() for task in world.tasks.values()]
        filter_ = self.mailbox.filter
        return {record.id for record in records if filter_.visibility.sees(record) and filter_.matches(record)}

    def take(self, world: World) -> None:
        """Apply the waiting changes."""
        for change in _taken(self.mailbox):
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


_OCCASIONS = st.sampled_from(["nothing", "take", "take", "read", "scan", "scan and forget", "join"])


class _Run:
    """Clients of live lists that join while tasks change."""

    def __init__(self, filters: list[TaskFilter]) -> None:
        self._to_join = [*filters]
        self.world, self.watchers, self.clients = World(), _watchers([], ListIndex()), list[Client]()

    def change(self, step: Step, *, is_lost: bool) -> None:
        """Change a task, and maybe deliver the event; a lost change is undone before anything else reads it."""
        task = self.world.tasks.get(step.task)
        document = None if task is None else task.document
        event = self.world.take(step)
        if is_lost and task is not None and document is not None:
            task.document = document
        if event is not None and not step.is_missed:
            _deliver(self.watchers, event, self.world)

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


@given(
    st.lists(_ALL_FILTERS, min_size=1, max_size=4),
    st.lists(st.tuples(_STEPS, _OCCASIONS, st.booleans()), min_size=3, max_size=15),
)
def test_every_list_becomes_the_true_one(filters: list[TaskFilter], steps: list[tuple[Step, str, bool]]) -> None:
    """Whatever events are missed, states are lost and clients read at any time: no task stays that has to leave."""
    run = _Run(filters)
    for step, occasion, is_lost in steps:
        run.change(step, is_lost=is_lost)
        run.occur(occasion)
    run.occur("scan")
    run.occur("take")
    for client in run.clients:
        assert client.listed == client.true_list(run.world)
