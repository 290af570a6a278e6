"""Live lists, as principals watch them that do not see all tasks: nothing foreign comes, live or by a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from redis.asyncio import Redis
from support import wait_until_async
from watchers import ACME_ADMIN, ADMIN, ALICE, BOB, CAROL, CUSTOMER, Subscriber, create, move

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.api.context import Services
from gql_api.record import fields, writes
from gql_api.record.model import Progress
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

Subscribe = Callable[..., Subscriber]

_LIST = """subscription ($filter: TaskFilter, $since: DateTime) {
  taskChanges(filter: $filter, since: $since) { kind taskId task { metadata } }
}"""
_LIVE = "subscription ($filter: TaskFilter) { taskChanges(filter: $filter) { kind taskId task { metadata } } }"
_NAME = "walked"
_PRINCIPALS = {
    "alice": ALICE, "bob": BOB, "carol": CAROL, "customer": CUSTOMER, "boss": ACME_ADMIN, "admin": ADMIN,
    "all": ANONYMOUS,
}  # fmt: skip


class Watched:
    """A live list, with the tasks that end it for a test."""

    def __init__(self, subscriber: Subscriber, principal: Principal) -> None:
        self.subscriber = subscriber
        self._principal = principal

    async def received(self, worker: Store) -> list[tuple[str, str]]:
        """Return the changes until now, which end with a task that the principal sees."""
        last = create(worker, self._principal, _NAME, customer=1)
        await self.subscriber.changed("UPDATED", last)
        return [change for change in self.subscriber.changes if change[1] != last]


@pytest.fixture
def watch(services: Services, subscribe: Subscribe) -> Callable[..., Any]:
    """A function that begins to watch a list, and returns when it misses nothing."""

    async def begin(principal: Principal, since: datetime | None = None, **filter_: Any) -> Watched:
        count = services.feed.lists.watchers
        if since is None:
            subscriber = subscribe(principal, _LIVE, filter=filter_ or None)
        else:
            subscriber = subscribe(principal, _LIST, filter=filter_ or None, since=since.isoformat())

        async def is_watched() -> bool:
            return services.feed.lists.watchers > count and services.feed.lists.is_listening

        await wait_until_async(is_watched)
        return Watched(subscriber, principal)

    return begin


def _later(time: datetime) -> datetime:
    """Return the ``since`` of a replay that begins at a time."""
    return time + timedelta(seconds=25)


def _live_of(worker: Store, task_id: str) -> None:
    """Let a task run and end, and delete it."""
    worker.change(writes.start(task_id, worker="w"))
    worker.change(writes.progress(task_id, Progress(1)))
    worker.change(writes.succeed(task_id, 1))
    worker.delete([task_id])


_FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "named": {"names": [_NAME]},
    "not named": {"NOT": {"names": ["x"]}},
    "with metadata": {"OR": [{"metadata": [{"path": "customer", "gte": 1}]}, {"names": []}]},
    "changing": {"NOT": {"statuses": ["STARTED"]}},
}
_VISIBLE = {
    "alice": {"mine", "other customer"},
    "bob": {"of bob"},
    "carol": {"of carol"},
    "customer": {"mine"},
    "boss": {"mine", "other customer", "of bob"},
    "admin": {"mine", "other customer", "of bob", "of carol", "of nobody"},
    "all": {"mine", "other customer", "of bob", "of carol", "of nobody"},
}


def _of_all(worker: Store) -> dict[str, str]:
    """Create a task of each owner, and return their names by id."""
    return {
        create(worker, ALICE, _NAME, customer=1): "mine",
        create(worker, ALICE, _NAME, customer=2): "other customer",
        create(worker, BOB, _NAME, customer=1): "of bob",
        create(worker, CAROL, _NAME, customer=1): "of carol",
        create(worker, None, _NAME, customer=1): "of nobody",
    }


@pytest.mark.parametrize("who", list(_PRINCIPALS))
async def test_a_list_has_the_visible_tasks_only(
    services: Services, watch: Callable[..., Any], worker: Store, who: str
) -> None:
    """With any filter, from the creation to the deletion, live and by a replay."""
    principal, began = _PRINCIPALS[who], await services.store.now()
    live = {name: await watch(principal, **filter_) for name, filter_ in _FILTERS.items()}
    names = _of_all(worker)
    foreign = [id_ for id_, name in names.items() if name not in _VISIBLE[who]]
    by_id = await watch(principal, OR=[{"ids": foreign}, {"metadata": [{"path": "customer", "eq": 1}]}])
    for task_id in names:
        _live_of(worker, task_id)
    for name, watched in live.items():
        last = {names[task_id]: kind for kind, task_id in await watched.received(worker) if task_id in names}
        assert last == dict.fromkeys(_VISIBLE[who], "DELETED"), name
    assert not {task_id for _, task_id in await by_id.received(worker)} & set(foreign)
    replay = await (await watch(principal, _later(began))).received(worker)
    replayed = {(kind, names[task_id]) for kind, task_id in replay if task_id in names}
    # Of deleted metadata nothing is known.
    expected = set() if who == "customer" else _VISIBLE[who]
    assert replayed == {("DELETED", name) for name in expected}


@pytest.mark.parametrize("who", list(_PRINCIPALS))
async def test_a_replay_has_the_visible_tasks_only(
    services: Services, watch: Callable[..., Any], worker: Store, who: str
) -> None:
    """What a filter matches is UPDATED, what it does not is LEFT, and of foreign tasks there is neither."""
    began = await services.store.now()
    names = _of_all(worker)
    for task_id in names:
        worker.change(writes.start(task_id, worker="w"))
    since = _later(began)
    for filter_, kind in (({}, "UPDATED"), ({"statuses": ["FAILURE", "QUEUED"]}, "LEFT")):
        received = await (await watch(_PRINCIPALS[who], since, **filter_)).received(worker)
        assert {(each, names[id_]) for each, id_ in received if id_ in names} == {
            (kind, name) for name in _VISIBLE[who]
        }


async def test_metadata_move_a_task_in_and_out(watch: Callable[..., Any], worker: Store) -> None:
    """A task that becomes visible is UPDATED, one that stops to be is LEFT once, and then there is nothing of it."""
    inside, outside = create(worker, ALICE, _NAME, customer=1), create(worker, ALICE, _NAME, customer=2)
    watched = await watch(CUSTOMER)
    move(worker, inside, customer=2)
    move(worker, outside, customer=3)
    move(worker, outside, customer=1)
    move(worker, inside, customer=3)
    worker.change(writes.start(inside, worker="w"))
    worker.change(writes.succeed(inside, 1))
    worker.delete([inside])
    assert await watched.received(worker) == [("LEFT", inside), ("UPDATED", outside)]


async def test_a_task_leaves_a_filter_that_matched_it(watch: Callable[..., Any], worker: Store) -> None:
    """A task that is not visible any more is LEFT for the lists that had it, and for no other."""
    task_id = create(worker, ALICE, _NAME, customer=1, kind="a")
    had = await watch(CUSTOMER, metadata=[{"path": "kind", "eq": "a"}])
    had_not = await watch(CUSTOMER, NOT={"metadata": [{"path": "kind", "eq": "a"}]})
    move(worker, task_id, customer=2, kind="b")
    assert await had_not.received(worker) == []
    last = create(worker, ALICE, _NAME, customer=1, kind="a")
    await had.subscriber.changed("UPDATED", last)  # its last task has another kind
    assert had.subscriber.changes == [("LEFT", task_id), ("UPDATED", last)]


@pytest.mark.parametrize("moves", [1, 3])
async def test_a_replay_lets_a_task_leave_the_visibility(
    services: Services, watch: Callable[..., Any], worker: Store, moves: int
) -> None:
    """A task that was visible after ``since`` is LEFT; one that had left before, or never was, does not come."""
    before, after, never = (create(worker, ALICE, _NAME, customer=customer) for customer in (1, 1, 2))
    move(worker, before, customer=2)
    since = _later(await services.store.now() + timedelta(milliseconds=1))
    for number in range(moves):
        for task_id in (before, after, never):
            move(worker, task_id, customer=2, number=number)
    watched = await watch(CUSTOMER, since)
    assert await watched.received(worker) == [("LEFT", after)]


async def test_what_is_kept_of_former_metadata_is_bounded(
    services: Services, watch: Callable[..., Any], worker: Store, tasks: Collection[Document]
) -> None:
    """The last five at most, and 16 KiB; when they are gone, a replay sends nothing of the task."""
    since = _later(await services.store.now())
    often, large = create(worker, ALICE, _NAME, customer=1), create(worker, ALICE, _NAME, customer=1, text="x" * 20_000)
    for number in range(6):
        move(worker, often, customer=2, number=number)
    move(worker, large, customer=2)
    kept = tasks.find_one({fields.ID: often}) or {}
    assert [entry[fields.METADATA].get("number") for entry in kept[fields.METADATA_PAST]] == list(range(5))
    assert fields.METADATA_PAST not in (tasks.find_one({fields.ID: large}) or {})
    move(worker, large, customer=3)
    assert len((tasks.find_one({fields.ID: large}) or {})[fields.METADATA_PAST]) == 1
    watched = await watch(CUSTOMER, since)
    assert await watched.received(worker) == []


async def test_missed_events_tell_nothing_of_foreign_tasks(
    services: Services, watch: Callable[..., Any], worker: Store, mute_worker: Store
) -> None:
    """A scan finds what came, left and was deleted; of foreign tasks, and of those never visible, it sends nothing."""
    gone, unheard = (create(worker, ALICE, _NAME, customer=1) for _ in range(2))
    never, deleted = (create(worker, ALICE, _NAME, customer=2) for _ in range(2))
    foreign, foreign_deleted = (create(worker, BOB, _NAME, customer=1) for _ in range(2))
    watched, of_bob = await watch(CUSTOMER), await watch(BOB)
    come = create(mute_worker, ALICE, _NAME, customer=1)
    move(mute_worker, gone, customer=2)
    move(mute_worker, never, customer=3)
    mute_worker.change(writes.start(foreign, worker="w"))
    for task_id in (deleted, foreign_deleted):
        mute_worker.change(writes.succeed(task_id, 1))
        mute_worker.delete([task_id])
    # The event of a later change comes, but not that of the change by which it left.
    move(mute_worker, unheard, customer=2)
    worker.change(writes.start(unheard, worker="w"))
    assert await services.feed.lists.scan(events_arrive=False) >= 5
    assert set(await watched.received(worker)) == {("UPDATED", come), ("LEFT", gone), ("LEFT", unheard)}
    assert set(await of_bob.received(worker)) == {("UPDATED", foreign), ("DELETED", foreign_deleted)}


async def test_a_lost_creation_ends_for_those_who_saw_the_task(
    services: Services, watch: Callable[..., Any], worker: Store, tasks: Collection[Document]
) -> None:
    """Lists of a limited visibility too; others, and other lists of the same principal, receive nothing of it."""
    lists = {who: await watch(_PRINCIPALS[who]) for who in ("alice", "bob", "customer", "boss", "admin")}
    other = await watch(ALICE, metadata=[{"path": "customer", "eq": 2}])
    lost, foreign = create(worker, ALICE, _NAME, customer=1), create(worker, BOB, _NAME, customer=1)
    for who in ("alice", "customer", "boss", "admin"):
        await lists[who].subscriber.changed("UPDATED", lost)
    tasks.delete_one({fields.ID: lost})  # as a primary does that had told nobody of it, and is replaced
    await services.feed.lists.scan(events_arrive=False)
    last = create(worker, ALICE, _NAME, customer=2)
    await other.subscriber.changed("UPDATED", last)
    assert lost not in {task_id for _, task_id in other.subscriber.changes}
    for who in ("alice", "customer", "boss", "admin"):
        changes = [kind for kind, task_id in await lists[who].received(worker) if task_id == lost]
        assert changes == ["UPDATED", "DELETED"], who
    assert await lists["bob"].received(worker) == [("UPDATED", foreign)]


async def test_a_reconnect_tells_nothing_of_foreign_tasks(
    watch: Callable[..., Any], worker: Store, redis: Redis
) -> None:
    """What happened while the connection was away is repaired for each list as it may see it."""
    mine, foreign = create(worker, ALICE, _NAME, customer=1), create(worker, BOB, _NAME, customer=1)
    watched = await watch(CUSTOMER)
    for number in range(3):
        await redis.client_kill_filter(_type="pubsub")
        for task_id in (mine, foreign):
            worker.change(writes.start(task_id, worker="w"))
        move(worker, foreign, customer=1, number=number)
    await watched.subscriber.changed("UPDATED", mine)
    received = await watched.received(worker)
    assert {task_id for _, task_id in received} == {mine}


async def test_events_without_metadata_are_judged_by_the_record(watch: Callable[..., Any], worker: Store) -> None:
    """A record that is too large for its event is read: it comes only to those who see it."""
    watched = await watch(CUSTOMER)
    other, foreign, mine = (
        create(worker, owner, _NAME, customer=customer) for owner, customer in ((ALICE, 2), (BOB, 1), (ALICE, 1))
    )
    for task_id in (other, foreign, mine):
        worker.change(writes.start(task_id, worker="w"))
        worker.change(writes.progress(task_id, Progress(1, data="x" * 40_000)))
    received = await watched.received(worker)
    assert set(received) == {("UPDATED", mine)}  # Redis may bring the changes one by one
    move(worker, other, customer=3)
    move(worker, foreign, customer=2)
    move(worker, mine, customer=2)
    # Behind them and the first of the last tasks.
    assert (await watched.received(worker))[len(received) + 1 :] == [("LEFT", mine)]


async def test_former_metadata_that_are_too_large_are_unknown(watch: Callable[..., Any], worker: Store) -> None:
    """Then a task that is not visible any more is not LEFT: nobody knows that it was visible."""
    text, watched = "x" * 40_000, await watch(CUSTOMER)
    create(worker, ALICE, _NAME, customer=2, text=text)
    mine = create(worker, ALICE, _NAME, customer=1, text=text)
    assert await watched.received(worker) == [("UPDATED", mine)]
    move(worker, mine, customer=2, text=text)
    assert len(await watched.received(worker)) == 2


async def test_tombstones_of_old_are_for_administrators(
    services: Services, watch: Callable[..., Any], worker: Store, settings: Settings
) -> None:
    """A tombstone of an earlier version does not tell whose task it was."""
    since, task_id = _later(await services.store.now()), create(worker, ALICE, _NAME)
    worker.change(writes.succeed(task_id, 1))
    worker.delete([task_id])
    kept = [fields.OWNER, fields.TENANT, fields.NAME, fields.QUEUE, fields.PARENT_ID, fields.CREATED_AT]
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        client[settings.mongodb_database][fields.TOMBSTONES].update_one({}, {"$unset": dict.fromkeys(kept, "")})
    for principal, known in ((ALICE, []), (ACME_ADMIN, []), (ADMIN, [task_id])):
        received = await (await watch(principal, since)).received(worker)
        assert [id_ for kind, id_ in received if kind == "DELETED"] == known


async def test_conditions_of_the_visibility_are_counted(services: Services, watch: Callable[..., Any]) -> None:
    """The limit is for the work that every event is, and each list compares it with both filters."""
    await watch(ADMIN)
    assert services.feed.lists.watched_conditions == 2
    await watch(CUSTOMER)
    assert services.feed.lists.watched_conditions == 2 + 2 + 3


async def test_former_metadata_are_not_in_the_api(watch: Callable[..., Any], worker: Store) -> None:
    """A list that receives the event of a change has the present metadata only."""
    task_id = create(worker, ALICE, _NAME, text="former")
    watched = await watch(ALICE)
    move(worker, task_id, present=1)
    assert await watched.received(worker) == [("UPDATED", task_id)]
    assert "former" not in json.dumps(watched.subscriber.results)
