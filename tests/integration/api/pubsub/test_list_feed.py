"""Live lists: what a filter's watcher hears, through lost events, gaps, deletions and replays."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import wait_until_async

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.aio.batching import BatchedReads
from gql_api.api.errors import ClientError
from gql_api.api.pubsub.list_filter import ListFilter, Verdict
from gql_api.api.pubsub.list_mailbox import MAX_WAITING, FellBehindError, ListMailbox
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.schema.task_changes import ListWatch, TaskChange, TaskChangeKind
from gql_api.api.store.committed import VisibleTask
from gql_api.api.store.tasks import TaskStore
from gql_api.query.compile import compile_filter
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.query.lists import Order, PageRequest
from gql_api.record import claims, control, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import ErrorInfo, MessageParts, NewTask, Progress
from gql_api.record.reads import Document, TaskRecord
from gql_api.worker.store.tasks import Store

UPDATED, LEFT, DELETED = TaskChangeKind.UPDATED, TaskChangeKind.LEFT, TaskChangeKind.DELETED
_MATCHES = Verdict(matches=True, is_visible=True, was_visible=True, may_have_matched=True)


@dataclass
class Client:
    """A client with a list, as it should be written."""

    changes: asyncio.Queue[TaskChange] = field(default_factory=asyncio.Queue)
    listed: dict[str, int] = field(default_factory=dict)
    failure: BaseException | None = None

    def take(self, change: TaskChange) -> None:
        """Apply a change to the list; no task goes back in its revisions."""
        if change.kind is UPDATED:
            assert change.task is not None
            assert change.task.revision >= self.listed.get(change.task_id, 0)
            self.listed[change.task_id] = change.task.revision
        else:
            self.listed.pop(change.task_id, None)
        self.changes.put_nowait(change)

    async def next(self) -> tuple[TaskChangeKind, str]:
        """What comes next."""
        change = await asyncio.wait_for(self.changes.get(), 10)
        return change.kind, change.task_id

    async def updated(self, task_id: str, revision: int) -> None:
        """Wait until a task has come so far; only updates of it come before."""
        while True:
            change = await asyncio.wait_for(self.changes.get(), 10)
            assert (change.kind, change.task_id) == (UPDATED, task_id)
            if change.task is not None and change.task.revision == revision:
                return


class Lists:
    """Watches lists for the tests."""

    def __init__(self, feed: TaskFeed, store: TaskStore) -> None:
        self._feed = feed
        self._services = _Services(store, BatchedReads(store.whole), feed)
        self._running: list[asyncio.Task[None]] = []

    async def watch(self, filter_: TaskFilter, since: datetime | None = None) -> Client:
        """Begin to watch, and return when Redis has acknowledged it."""
        client, opened = Client(), asyncio.Event()
        self._running.append(asyncio.create_task(self._follow(client, filter_, since, opened)))
        await asyncio.wait_for(opened.wait(), 10)
        assert self._feed.lists.is_listening
        return client

    async def close(self) -> None:
        """Watch no more."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _follow(self, client: Client, filter_: TaskFilter, since: datetime | None, opened: asyncio.Event) -> None:
        selected = frozenset({"id", "status", "metadata"})
        watch = ListWatch(self._services, ListFilter(EVERYTHING, filter_), selected)  # type: ignore[arg-type] # all it uses
        try:
            async with aclosing(watch.changes(since, opened.set)) as changes:
                async for change in changes:
                    client.take(change)
        except ClientError as error:
            client.failure = error


@dataclass
class _Services:
    store: TaskStore
    tasks: BatchedReads[VisibleTask, TaskRecord | None]
    feed: TaskFeed


@pytest.fixture
async def lists(feed: TaskFeed, store: TaskStore) -> AsyncIterator[Lists]:
    """What watches lists."""
    lists = Lists(feed, store)
    yield lists
    await lists.close()
    assert feed.lists.watchers == 0


@pytest.fixture
def mark() -> str:
    """A name of tasks that is the test's own, for all tests of the process hear all events."""
    return uuid.uuid4().hex


def _filter(mark: str, *statuses: Status, **metadata: object) -> TaskFilter:
    return TaskFilter(
        names=[mark],
        statuses=list(statuses) or None,
        metadata=[MetadataCondition(key, {Operator.EQ: value}) for key, value in metadata.items()],
    )


def _create(worker: Store, mark: str, **metadata: object) -> str:
    task_id = str(uuid.uuid4())
    worker.change(writes.create(NewTask(id=task_id, name=mark, metadata=metadata)), upsert=True)
    return task_id


def _start(worker: Store, task_id: str) -> None:
    assert worker.change(writes.start(task_id, worker="w")) is not None


def _succeed(worker: Store, task_id: str) -> None:
    assert worker.change(writes.succeed(task_id, 1)) is not None


async def test_a_list_hears_what_comes_stays_and_goes(lists: Lists, worker: Store, mark: str) -> None:
    """A task is told while the filter finds it, once more when it does not, and never again after that."""
    client = await lists.watch(_filter(mark, Status.STARTED))
    task_id = _create(worker, mark)
    _start(worker, task_id)
    assert await client.next() == (UPDATED, task_id)
    worker.change(writes.progress(task_id, Progress(current=1)))
    assert await client.next() == (UPDATED, task_id)
    _succeed(worker, task_id)
    assert await client.next() == (LEFT, task_id)
    worker.change(control.replace_metadata(task_id, {"a": 1}, None))
    last = _create(worker, mark)
    _start(worker, last)
    assert await client.next() == (UPDATED, last)


async def test_a_record_that_does_not_fit_ends_no_list(
    lists: Lists, worker: Store, tasks: Collection[Document], mark: str
) -> None:
    """A list that has to read it, because its event is too large, goes on without it."""
    client = await lists.watch(_filter(mark, Status.STARTED))
    broken, good = _create(worker, mark, bulk="x" * 50_000), _create(worker, mark)
    tasks.update_one({fields.ID: broken}, {"$set": {fields.KWARGS: "x"}})
    _start(worker, broken)
    assert await client.next() == (LEFT, broken)
    _start(worker, good)
    assert await client.next() == (UPDATED, good)


async def test_a_narrow_list_does_not_hear_of_others(lists: Lists, worker: Store, mark: str) -> None:
    """What the filter neither finds nor found is no news: not its creation, its start, its progress, nor its end."""
    client = await lists.watch(_filter(mark, Status.FAILURE, kind="a"))
    for kind in ("b", "a"):
        task_id = _create(worker, mark, kind=kind)
        _start(worker, task_id)
        worker.change(writes.progress(task_id, Progress(current=1)))
        _succeed(worker, task_id)
    failing = _create(worker, mark, kind="a")
    _start(worker, failing)
    worker.change(writes.fail(failing, ErrorInfo("ValueError", "no")))
    assert await client.next() == (UPDATED, failing)
    assert client.changes.empty()


async def test_a_change_of_metadata_lets_a_task_leave(lists: Lists, worker: Store, mark: str) -> None:
    """An event carries the metadata before it, and a list that they did not match does not receive it."""
    client = await lists.watch(_filter(mark, kind="a"))
    task_id = _create(worker, mark, kind="a")
    assert await client.next() == (UPDATED, task_id)
    worker.change(control.replace_metadata(task_id, {"kind": "b"}, None))
    assert await client.next() == (LEFT, task_id)
    worker.change(control.replace_metadata(task_id, {"kind": "c"}, 2))
    last = _create(worker, mark, kind="a")
    assert await client.next() == (UPDATED, last)


async def test_a_deletion_is_told_to_those_whom_it_concerns(lists: Lists, worker: Store, mark: str) -> None:
    """A task that the filter found last is told to be no more; another one is not."""
    ids = {kind: _create(worker, mark, kind=kind) for kind in ("a", "b")}
    for task_id in ids.values():
        _succeed(worker, task_id)
    client = await lists.watch(_filter(mark, kind="a"))
    worker.delete([ids["b"]])
    worker.delete([ids["a"]])
    assert await client.next() == (DELETED, ids["a"])
    assert client.changes.empty()


async def test_large_metadata_is_read_to_be_compared(lists: Lists, worker: Store, mark: str) -> None:
    """An event that left the metadata out tells nothing of it: the record is read."""
    client = await lists.watch(_filter(mark, kind="a"))
    other = _create(worker, mark, kind="b", large="x" * 40_000)
    task_id = _create(worker, mark, kind="a", large="x" * 40_000)
    assert await client.next() == (UPDATED, task_id)
    _start(worker, other)  # what it was before is not known either
    assert await client.next() == (LEFT, other)


async def test_lost_events_are_found_in_mongodb(
    lists: Lists, feed: TaskFeed, worker: Store, mute_worker: Store, mark: str
) -> None:
    """What came, went and was deleted without an event is told by the next look at MongoDB, and only once."""
    gone, deleted = _create(worker, mark), _create(worker, mark)
    client = await lists.watch(_filter(mark, Status.QUEUED, Status.STARTED))
    come = _create(mute_worker, mark)
    _succeed(mute_worker, gone)
    _succeed(worker, deleted)
    assert await client.next() == (LEFT, deleted)
    mute_worker.delete([deleted])
    assert await feed.lists.scan(events_arrive=False) >= 3
    told = {await client.next() for _ in range(3)}
    assert told == {(UPDATED, come), (LEFT, gone), (DELETED, deleted)}
    await feed.lists.scan(events_arrive=False)
    assert client.changes.empty()


async def test_a_gap_in_the_revisions_lets_a_task_leave(
    lists: Lists, worker: Store, mute_worker: Store, mark: str
) -> None:
    """When the event of what took a task out of the list was lost, the next event of the task tells it."""
    client = await lists.watch(_filter(mark, Status.QUEUED))
    task_id = _create(worker, mark)
    assert await client.next() == (UPDATED, task_id)
    _start(mute_worker, task_id)
    worker.change(writes.progress(task_id, Progress(current=1)))
    assert await client.next() == (LEFT, task_id)


async def test_a_gap_in_the_revisions_concerns_the_lists_that_may_have_had_the_task(
    lists: Lists, worker: Store, mute_worker: Store, mark: str
) -> None:
    """A task that no state of which a list matches is no news for it, although events of the task were lost."""
    queued = await lists.watch(_filter(mark, Status.QUEUED, kind="a"))
    others = [await lists.watch(_filter(mark, kind="b")), await lists.watch(_filter(mark, Status.FAILURE))]
    task_id = _create(worker, mark, kind="a")
    assert await queued.next() == (UPDATED, task_id)
    _start(mute_worker, task_id)
    worker.change(writes.progress(task_id, Progress(current=1)))
    assert await queued.next() == (LEFT, task_id)
    last = _create(worker, mark, kind="b")
    worker.change(writes.fail(last, ErrorInfo("ValueError", "no")))
    for other in others:
        assert (await other.next())[1] == last


async def test_metadata_that_changed_in_a_gap_are_read(
    lists: Lists, worker: Store, mute_worker: Store, mark: str
) -> None:
    """The record knows them: a list of what they were in between lets the task leave, and another one has no news."""
    clients = {kind: await lists.watch(_filter(mark, kind=kind)) for kind in "abcd"}
    task_id = _create(worker, mark, kind="a")
    assert await clients["a"].next() == (UPDATED, task_id)
    mute_worker.change(control.replace_metadata(task_id, {"kind": "b"}, None))
    mute_worker.change(control.replace_metadata(task_id, {"kind": "c"}, 2))
    _start(worker, task_id)
    assert await clients["a"].next() == (LEFT, task_id)
    assert await clients["b"].next() == (LEFT, task_id)
    assert await clients["c"].next() == (UPDATED, task_id)
    last = _create(worker, mark, kind="d")
    assert await clients["d"].next() == (UPDATED, last)


async def test_a_connection_that_is_cut_loses_nothing(
    lists: Lists, feed: TaskFeed, redis: Redis, worker: Store, mark: str
) -> None:
    """After a reconnect MongoDB is looked at: whatever happened in between is told."""

    async def is_connected() -> bool:
        return feed.connected

    client = await lists.watch(_filter(mark, Status.QUEUED))
    for _ in range(5):
        await redis.client_kill_filter(_type="pubsub")
        task_id = await asyncio.to_thread(_create, worker, mark)
        while (await client.next()) != (UPDATED, task_id):
            pass
    await wait_until_async(is_connected)


@pytest.mark.parametrize("seed", range(3))
async def test_a_list_ends_as_the_filter_finds(
    lists: Lists, feed: TaskFeed, store: TaskStore, worker: Store, mute_worker: Store, mark: str, seed: int
) -> None:
    """Through random changes, of which every third is told to nobody, a client's list becomes what a query finds."""
    chance = random.Random(seed)  # noqa: S311 - which change comes next
    filters = [
        _filter(mark, Status.QUEUED, Status.STARTED, kind="a"),
        _filter(mark, kind="b"),
        _filter(mark, Status.SUCCESS),
        TaskFilter(all_of=[_filter(mark)], any_of=[_filter(mark, kind="a"), TaskFilter(statuses=[Status.QUEUED])]),
        TaskFilter(names=[mark], none_of=TaskFilter(metadata=[MetadataCondition("kind", {Operator.EQ: "a"})])),
    ]
    clients = [await lists.watch(filter_) for filter_ in filters]
    ids = [_create(worker, mark, kind=chance.choice("ab")) for _ in range(20)]

    def change() -> None:
        by, task_id = chance.choice([worker, worker, mute_worker]), chance.choice(ids)
        step = chance.randrange(6)
        if step == 0:
            by.change(writes.start(task_id, worker="w"))
        elif step == 1:
            by.change(writes.succeed(task_id, None))
        elif step == 2:
            by.change(writes.progress(task_id, Progress(current=chance.random())))
        elif step == 3:
            record = by.find(task_id)
            seen = None if record is None else record.metadata_revision
            by.change(control.replace_metadata(task_id, {"kind": chance.choice("ab")}, seen))
        elif step == 4:
            by.delete([task_id])
        else:
            ids.append(_create(by, mark, kind=chance.choice("ab")))

    for _ in range(150):
        await asyncio.to_thread(change)
    last = _create(worker, mark, kind="a")

    async def heard_last() -> bool:
        return last in clients[0].listed

    await wait_until_async(heard_last)
    await feed.lists.scan(events_arrive=False)
    for client, filter_ in zip(clients, filters, strict=True):
        await _becomes(client, {record.id: record.revision for record in await _found(store, filter_)})


async def _becomes(client: Client, expected: dict[str, int]) -> None:
    async def as_found() -> bool:
        return client.listed == expected

    await wait_until_async(as_found, why=f"{client.listed} to be {expected}")


async def _found(store: TaskStore, filter_: TaskFilter) -> list[TaskRecord]:
    return await store.lists.page(compile_filter(filter_).query, PageRequest(Order(), 500), EVERYTHING)


async def test_since_replays_what_was_missed(lists: Lists, store: TaskStore, worker: Store, mark: str) -> None:
    """A client that was away hears the latest of all that changed: what is there, what left, and what was deleted."""
    stays, leaves, goes = (_create(worker, mark) for _ in range(3))
    since = await store.now()
    _succeed(worker, leaves)
    _succeed(worker, goes)
    worker.delete([goes])
    client = await lists.watch(_filter(mark, Status.QUEUED), since)
    told = {await client.next() for _ in range(3)}
    # What changed shortly before is told again, for it may have become visible later.
    assert told == {(UPDATED, stays), (LEFT, leaves), (DELETED, goes)}
    _succeed(worker, stays)
    assert await client.next() == (LEFT, stays)


async def test_since_lets_only_tasks_leave_that_may_have_matched(
    lists: Lists, store: TaskStore, worker: Store, mark: str
) -> None:
    """A task that was created after since, or had left before, and does not match, is not in the client's list."""
    never, left_before = _create(worker, mark, kind="b"), _create(worker, mark, kind="a")
    worker.change(control.replace_metadata(left_before, {"kind": "b"}, None))
    since = await store.now() + timedelta(seconds=25, milliseconds=1)  # a replay begins 25 seconds earlier
    new, moved = _create(worker, mark, kind="b"), _create(worker, mark, kind="a")
    for kind, seen in (("b", None), ("c", 2)):
        worker.change(control.replace_metadata(moved, {"kind": kind}, seen))
    for task_id in (never, left_before, new):
        _start(worker, task_id)
    client = await lists.watch(_filter(mark, kind="a"), since)
    last = _create(worker, mark, kind="a")
    assert [await client.next() for _ in range(2)] == [(LEFT, moved), (UPDATED, last)]


async def test_deletions_are_replayed_first(lists: Lists, store: TaskStore, worker: Store, mark: str) -> None:
    """No time in a replay runs ahead of what comes behind it: a client may be cut off anywhere, and resumes there."""
    since = await store.now()
    gone, stays = _create(worker, mark), _create(worker, mark)
    _succeed(worker, gone)
    worker.delete([gone])
    client = await lists.watch(_filter(mark), since)
    deletion, update = [await asyncio.wait_for(client.changes.get(), 10) for _ in range(2)]
    assert [(change.kind, change.task_id) for change in (deletion, update)] == [(DELETED, gone), (UPDATED, stays)]
    assert deletion.at <= since < update.at


async def test_no_time_to_resume_from_runs_ahead_of_the_last_scan(
    lists: Lists, feed: TaskFeed, store: TaskStore, worker: Store, tasks: Collection[Document], mark: str
) -> None:
    """An event was lost long before the change that comes next: its time lets a replay begin before the lost one."""
    began = await store.now()
    client = await lists.watch(_filter(mark))
    lost, late = _create(worker, mark), _create(worker, mark)
    assert await client.next() == (UPDATED, lost)
    assert (await asyncio.wait_for(client.changes.get(), 10)).at >= began
    # The API has not scanned MongoDB for an hour.
    an_hour = timedelta(hours=1)
    (document,) = await store.documents([late], EVERYTHING)
    later = {fields.REVISION: 2, fields.UPDATED_AT: (await store.now()).replace(tzinfo=None) + an_hour}
    feed._receive_any(store.channels.task(late), events.encode({**document, **later}))  # noqa: SLF001 - an event of then
    change = await asyncio.wait_for(client.changes.get(), 10)
    assert (change.task_id, change.at < began + timedelta(seconds=20)) == (late, True)
    tasks.update_one({fields.ID: lost}, {"$set": {fields.REVISION: 2, fields.UPDATED_AT: await store.now()}})
    resumed = await lists.watch(_filter(mark), change.at)
    assert (UPDATED, lost) in [await resumed.next() for _ in range(2)]
    feed.lists._scanned_until = (await store.now()) + an_hour  # noqa: SLF001 - a scan of then
    assert feed.lists.resumable(change.at + an_hour) == change.at + an_hour


async def test_what_a_look_at_mongodb_tells_late_is_replayed(
    lists: Lists, store: TaskStore, worker: Store, tasks: Collection[Document], mark: str
) -> None:
    """The backstop may tell a change eleven seconds after newer ones: no ``since`` leaves it out."""
    task_id = _create(worker, mark)
    since = await store.now()
    tasks.update_one({fields.ID: task_id}, {"$set": {fields.UPDATED_AT: since - timedelta(seconds=12)}})
    client = await lists.watch(_filter(mark), since)
    assert await client.next() == (UPDATED, task_id)


async def test_nothing_is_lost_between_the_replay_and_what_is_live(
    lists: Lists, store: TaskStore, worker: Store, mark: str
) -> None:
    """While tasks change all the time, every client that comes with since ends with what the filter finds."""
    filter_, since = _filter(mark, Status.QUEUED), await store.now()
    ids = [_create(worker, mark) for _ in range(50)]

    def churn() -> None:
        for number in range(200):
            if number % 2:
                worker.change(writes.succeed(ids[number // 4], None))
            else:
                ids.append(_create(worker, mark))

    churning = asyncio.create_task(asyncio.to_thread(churn))
    clients = list[Client]()

    async def has_gone_on() -> bool:
        return churning.done() or len(ids) >= 50 + 4 * len(clients)

    while not churning.done():
        clients.append(await lists.watch(filter_, since))
        await wait_until_async(has_gone_on)
    await churning
    expected = {record.id for record in await _found(store, filter_)}
    for client in clients:

        async def as_found(client: Client = client) -> bool:
            return set(client.listed) == expected

        await wait_until_async(as_found)
    assert len(clients) > 1


async def test_a_list_that_falls_behind_ends_with_an_error(feed: TaskFeed, worker: Store, mark: str) -> None:
    """What waits is bounded: a watcher that takes nothing is told to begin anew, and holds nothing any more."""
    async with feed.lists.watch(ListFilter(EVERYTHING, _filter(mark))) as mailbox:
        for _ in range(MAX_WAITING + 1):
            await asyncio.to_thread(_create, worker, mark)

        async def behind() -> bool:
            return mailbox.has_fallen_behind

        await wait_until_async(behind)
        with pytest.raises(FellBehindError):
            await mailbox.take()


async def test_what_happened_before_nobody_asked_for(lists: Lists, feed: TaskFeed, worker: Store, mark: str) -> None:
    """A list begins with its watch: changes from just before are not found by the first look at MongoDB."""
    task_id = _create(worker, mark)
    gone = _create(worker, mark)
    _succeed(worker, gone)
    worker.delete([gone])
    client = await lists.watch(_filter(mark))
    assert await feed.lists.scan(events_arrive=False) == 0
    _start(worker, task_id)
    assert await client.next() == (UPDATED, task_id)
    assert client.changes.empty()


async def test_a_look_that_the_last_watcher_did_not_wait_for_is_forgotten(
    feed: TaskFeed, store: TaskStore, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all leave during a look at MongoDB, nobody looks any more, and the next one does not begin in the past."""
    is_reading, may_end = asyncio.Event(), asyncio.Event()
    deleted_since = store.deletions.since

    async def slow(since: datetime, visibility: Visibility) -> AsyncIterator[events.Deletion]:
        is_reading.set()
        await may_end.wait()
        async for each in deleted_since(since, visibility):
            yield each

    monkeypatch.setattr(store.deletions, "since", slow)
    async with feed.lists.watch(ListFilter(EVERYTHING, _filter(mark))):
        check = asyncio.create_task(feed.lists.scan(events_arrive=False))
        await is_reading.wait()
    may_end.set()
    await check
    is_reading.clear()
    assert await feed.lists.scan(events_arrive=False) == 0
    assert not is_reading.is_set()


async def test_a_lost_change_of_metadata_lets_a_task_leave(
    lists: Lists, worker: Store, mute_worker: Store, mark: str
) -> None:
    """No history tells of it: when the next event of the task is the first that is heard, it may have been so."""
    task_id = _create(worker, mark, kind="a")
    _start(worker, task_id)
    client = await lists.watch(_filter(mark, kind="a"))
    mute_worker.change(control.replace_metadata(task_id, {"kind": "b"}, None))
    worker.change(writes.progress(task_id, Progress(current=1)))
    assert await client.next() == (LEFT, task_id)


async def test_a_deletion_that_overtook_a_change_is_told(
    lists: Lists, store: TaskStore, redis: Redis, worker: Store, mark: str
) -> None:
    """A deletion tells what the task was when it was looked at, which may be older than what was told of it."""
    task_id = _create(worker, mark, kind="b")
    _succeed(worker, task_id)
    client = await lists.watch(_filter(mark, kind="a"))
    seen = worker.find(task_id)
    assert seen is not None
    worker.change(control.replace_metadata(task_id, {"kind": "a"}, None))
    assert await client.next() == (UPDATED, task_id)
    last = {
        fields.ID: task_id,
        fields.NAME: mark,
        fields.REVISION: seen.revision,
        fields.STATUS: seen.status,
        fields.METADATA: seen.stored_metadata,
        fields.UPDATED_AT: seen.updated_at,
    }
    await redis.publish(store.channels.task(task_id), events.deleted(last, seen.updated_at))
    assert await client.next() == (DELETED, task_id)


async def test_a_message_that_went_to_another_queue_lets_a_task_leave(lists: Lists, worker: Store, mark: str) -> None:
    """What replaces a task may go elsewhere without an event of its own: its end tells of both queues."""
    client = await lists.watch(TaskFilter(names=[mark], queues=["celery"]))
    task_id = _create(worker, mark)
    _start(worker, task_id)
    worker.change(claims.requeue(task_id, {}, "replaced"))
    await client.updated(task_id, 3)
    replacement = MessageParts(headers={"replaced_task_nesting": 1})
    worker.note(claims.remember_message(NewTask(id=task_id, name=mark, queue="other", message=replacement), 60))
    worker.change(control.cancel_waiting(task_id, None))
    assert await client.next() == (LEFT, task_id)


@pytest.mark.parametrize("since", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
async def test_since_may_be_any_time(lists: Lists, worker: Store, mark: str, since: datetime) -> None:
    """A client that wants all there is may say so; one that is ahead hears what comes."""
    client = await lists.watch(_filter(mark), since)
    task_id = _create(worker, mark)
    assert await client.next() == (UPDATED, task_id)


async def test_what_was_told_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that has to read every record keeps no id for longer than an event of it may come late."""
    clock = [0.0]
    monkeypatch.setattr("gql_api.api.pubsub.list_mailbox.time.monotonic", lambda: clock[0])
    at = datetime.now(UTC)
    mailbox = ListMailbox(ListFilter(EVERYTHING, TaskFilter()))
    first, other = (
        TaskRecord({fields.ID: each, fields.REVISION: 1, fields.STATUS: "QUEUED", fields.UPDATED_AT: at})
        for each in ("first", "other")
    )
    mailbox.replayed(first, at)
    mailbox.put(first, _MATCHES)
    clock[0] = 61
    mailbox.replayed(other, at)
    mailbox.put(other, _MATCHES)
    mailbox.put(first, _MATCHES)
    assert [waiting.latest for waiting in await mailbox.take()] == [first]
