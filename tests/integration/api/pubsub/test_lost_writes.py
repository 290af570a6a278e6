"""MongoDB loses what was announced: a test replaces a document by its earlier version, as a killed server does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import taken, wait_until_async
from watchers import EVERY_TASK

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.api.pubsub.list_mailbox import ListMailbox
from gql_api.api.pubsub.mailbox import Mailbox
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.tasks import TaskStore
from gql_api.events import Deletion
from gql_api.record import claims, fields, writes
from gql_api.record.model import NewTask, Progress
from gql_api.record.reads import Document, TaskRecord
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store


class _Loss:
    """A task whose last change MongoDB loses."""

    def __init__(self, tasks: Collection[Document], task_id: str) -> None:
        self._tasks = tasks
        self.task_id = task_id
        self._kept: Document = {}

    def keep(self) -> None:
        """Note the document that is safe."""
        self._kept = self._tasks.find_one({fields.ID: self.task_id}) or {}

    def strike(self) -> None:
        """Lose what was stored since."""
        if self._kept:
            self._tasks.replace_one({fields.ID: self.task_id}, self._kept)
        else:
            self._tasks.delete_one({fields.ID: self.task_id})


@pytest.fixture
def loss(tasks: Collection[Document], worker: Store, task_id: str) -> _Loss:
    """A task that has started; what is announced from now on can be lost."""
    assert worker.change(writes.start(task_id, worker="w"))
    loss = _Loss(tasks, task_id)
    loss.keep()
    return loss


@pytest.fixture
async def busy_feed(settings: Settings, store: TaskStore) -> AsyncIterator[TaskFeed]:
    """A connected feed that repairs all the time."""
    async with TaskFeed(settings, store, backstop_seconds=0.1) as feed:

        async def connected() -> bool:
            return feed.connected

        await wait_until_async(connected)
        yield feed


async def _report(worker: Store, task_id: str, current: float) -> TaskRecord:
    record = await asyncio.to_thread(worker.change, writes.progress(task_id, Progress(current=current)), quick=True)
    assert record is not None
    return record


async def _continued_from(mailbox: Mailbox, revision: int) -> None:
    async def rebased() -> bool:
        return mailbox.version.revision == revision

    await wait_until_async(rebased)


async def test_the_end_has_the_revision_of_lost_progress(feed: TaskFeed, worker: Store, loss: _Loss) -> None:
    """No backstop is needed: the event of the end is news, whatever its revision."""
    async with feed.watch(loss.task_id, EVERYTHING) as mailbox:
        lost = await _report(worker, loss.task_id, 1)
        assert (await taken(mailbox)).revision == lost.revision
        loss.strike()
        await asyncio.to_thread(worker.change, writes.succeed(loss.task_id, 1))
        end = await taken(mailbox)
        assert (end.is_final, end.revision) == (True, lost.revision)


async def test_the_backstop_delivers_an_end_with_the_revision_of_lost_progress(
    busy_feed: TaskFeed, worker: Store, mute_worker: Store, loss: _Loss
) -> None:
    """Also when no event tells of the end, its revision hides nothing."""
    async with busy_feed.watch(loss.task_id, EVERYTHING) as mailbox:
        await _report(worker, loss.task_id, 1)
        assert await taken(mailbox)
        loss.strike()
        await asyncio.to_thread(mute_worker.change, writes.succeed(loss.task_id, 1))
        assert (await taken(mailbox)).is_final


async def test_lost_progress_is_not_taken_back_and_hides_nothing(
    busy_feed: TaskFeed, worker: Store, loss: _Loss
) -> None:
    """The watcher receives nothing until the next change, which is news at a revision below that of what was lost."""
    async with busy_feed.watch(loss.task_id, EVERYTHING) as mailbox:
        for current in range(3):
            await _report(worker, loss.task_id, current)
            await taken(mailbox)
        loss.strike()
        await _continued_from(mailbox, 2)
        news = await _report(worker, loss.task_id, 9)
        received = await taken(mailbox)
        assert (received.revision, received.progress) == (3, news.progress)
        assert busy_feed.backstop_found == 0


async def test_a_lost_state_is_taken_back(busy_feed: TaskFeed, worker: Store, tasks: Collection[Document]) -> None:
    """A watcher that received a state that MongoDB does not have receives the one that it has."""
    task_id = str(uuid.uuid4())
    worker.change(writes.create(NewTask(id=task_id, name="add")), upsert=True)
    loss = _Loss(tasks, task_id)
    loss.keep()
    async with busy_feed.watch(task_id, EVERYTHING) as mailbox:
        await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
        assert (await taken(mailbox)).status == "STARTED"
        loss.strike()
        stored = await taken(mailbox)
        assert (stored.status, stored.revision) == ("QUEUED", 1)


async def test_a_watch_of_a_task_whose_creation_was_lost_ends(
    busy_feed: TaskFeed, store: TaskStore, tasks: Collection[Document], task_id: str
) -> None:
    """As after a deletion: there is nothing to wait for."""
    async with busy_feed.watch(task_id, EVERYTHING) as mailbox:
        record = await store.get(task_id, EVERYTHING)
        assert record is not None
        mailbox.put(record, record.version)
        await taken(mailbox)
        _Loss(tasks, task_id).strike()
        assert await asyncio.wait_for(mailbox.take(), 10) is None


async def test_mongodb_decides_at_once_between_events_that_contradict_each_other(
    feed: TaskFeed, worker: Store, loss: _Loss
) -> None:
    """A change with a lower revision and a later time than what was lost is not left to the backstop."""
    async with feed.watch(loss.task_id, EVERYTHING) as mailbox:
        for current in range(3):
            await _report(worker, loss.task_id, current)
            await taken(mailbox)
        loss.strike()
        await asyncio.to_thread(worker.change, claims.requeue(loss.task_id, {}, "lost"))
        received = await taken(mailbox)
        assert (received.revision, received.status) == (3, "QUEUED")


async def test_an_event_that_comes_late_does_not_bring_back_the_past(
    feed: TaskFeed, store: TaskStore, redis: Redis, worker: Store, loss: _Loss
) -> None:
    """Two events change places whose times are not in the order of their revisions: the newer revision stays."""
    async with feed.watch(loss.task_id, EVERYTHING) as mailbox:
        late = await _report(worker, loss.task_id, 1)
        await taken(mailbox)
        last = await _report(worker, loss.task_id, 2)
        await taken(mailbox)
        (document,) = await store.documents([loss.task_id], EVERYTHING)
        after = last.updated_at.replace(tzinfo=None).replace(year=2100)
        await redis.publish(
            store.channels.task(loss.task_id),
            events.encode({**document, fields.REVISION: late.revision, fields.UPDATED_AT: after}),
        )
        news = await _report(worker, loss.task_id, 3)
        assert (await taken(mailbox)).revision == news.revision


async def _latest(mailbox: ListMailbox, task_id: str) -> TaskRecord | Deletion:
    """Wait for the next change of a task; all tests of the process receive all events."""
    while True:
        for change in await asyncio.wait_for(mailbox.take(), 10):
            latest = change.latest
            if (latest.id if isinstance(latest, TaskRecord) else latest.task_id) == task_id:
                return latest


async def test_lists_receive_the_end_at_the_revision_of_lost_progress(
    feed: TaskFeed, worker: Store, loss: _Loss
) -> None:
    """The event of the end is news for lists, too."""
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        lost = await _report(worker, loss.task_id, 1)
        assert isinstance(await _latest(mailbox, loss.task_id), TaskRecord)
        loss.strike()
        await asyncio.to_thread(worker.change, writes.succeed(loss.task_id, 1))
        end = await _latest(mailbox, loss.task_id)
        assert isinstance(end, TaskRecord)
        assert (end.is_final, end.revision) == (True, lost.revision)


async def test_a_scan_corrects_lists(feed: TaskFeed, worker: Store, loss: _Loss) -> None:
    """A list shows what MongoDB has, after the next scan at the latest, and no scan corrects it twice."""
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        await _report(worker, loss.task_id, 1)
        assert isinstance(await _latest(mailbox, loss.task_id), TaskRecord)
        loss.strike()
        assert await feed.lists.scan(events_arrive=False) == 1
        stored = await _latest(mailbox, loss.task_id)
        assert isinstance(stored, TaskRecord)
        assert (stored.revision, stored.progress) == (2, None)
        assert await feed.lists.scan(events_arrive=False) == 0


async def test_lists_lose_a_task_whose_creation_was_lost(
    feed: TaskFeed, worker: Store, tasks: Collection[Document]
) -> None:
    """A scan finds that the task is not there, without a tombstone; another try may create it again."""
    loss = _Loss(tasks, str(uuid.uuid4()))
    create = writes.create(NewTask(id=loss.task_id, name="add"))
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        for _ in range(2):
            await asyncio.to_thread(worker.change, create, upsert=True)
            assert isinstance(await _latest(mailbox, loss.task_id), TaskRecord)
            loss.strike()
            assert await feed.lists.scan(events_arrive=True) == 1
            assert isinstance(await _latest(mailbox, loss.task_id), Deletion)


async def test_a_deletion_without_an_event_is_found_once(
    feed: TaskFeed, worker: Store, mute_worker: Store, loss: _Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that was deleted is not taken for one whose creation was lost."""
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        await asyncio.to_thread(worker.change, writes.succeed(loss.task_id, 1))
        assert isinstance(await _latest(mailbox, loss.task_id), TaskRecord)
        await asyncio.to_thread(mute_worker.delete, [loss.task_id])
        # The tombstone is so young that its event may still come, however long the test has taken since.
        monkeypatch.setattr("gql_api.api.pubsub.list_feed.EVENT_GRACE", timedelta(hours=1))
        assert await feed.lists.scan(events_arrive=True) == 0
        assert await feed.lists.scan(events_arrive=False) == 1
        assert isinstance(await _latest(mailbox, loss.task_id), Deletion)
        assert await feed.lists.scan(events_arrive=False) == 0


async def test_mongodb_decides_at_once_between_events_of_lists(feed: TaskFeed, worker: Store, loss: _Loss) -> None:
    """A change below the revision of what was lost reaches lists without a scan."""
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        for current in range(3):
            await _report(worker, loss.task_id, current)
            await _latest(mailbox, loss.task_id)
        loss.strike()
        await asyncio.to_thread(worker.change, claims.requeue(loss.task_id, {}, "lost"))
        received = await _latest(mailbox, loss.task_id)
        assert isinstance(received, TaskRecord)
        assert (received.revision, received.status) == (3, "QUEUED")


async def test_what_a_scan_has_confirmed_needs_no_check_again(
    feed: TaskFeed, store: TaskStore, worker: Store, loss: _Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan reads again only those tasks of which it did not come across the version that an event had brought."""
    checked: list[str] = []
    versions = store.committed.versions

    async def watched_versions(task_ids: list[str], visibility: Visibility) -> object:
        checked.extend(task_ids)
        return await versions(task_ids, visibility)

    monkeypatch.setattr(store.committed, "versions", watched_versions)
    async with feed.lists.watch(EVERY_TASK) as mailbox:
        await _report(worker, loss.task_id, 1)
        await _latest(mailbox, loss.task_id)
        await feed.lists.scan(events_arrive=False)
        assert loss.task_id not in checked
        loss.strike()
        await feed.lists.scan(events_arrive=False)
        assert loss.task_id not in checked
