"""Single tasks and their logs, as principals watch them that do not see all tasks."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest
from pymongo import MongoClient
from redis.asyncio import Redis
from support import wait_until_async
from watchers import ACME_ADMIN, ADMIN, ALICE, BOB, CAROL, CUSTOMER, Subscriber, create, move

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.api.context import Services
from gql_api.record import claims, fields, writes
from gql_api.record.logs import Entry, Limits
from gql_api.record.model import Claim, Progress
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.logs import LogStore
from gql_api.worker.store.tasks import Store

Subscribe = Callable[..., Subscriber]
Fence = Callable[[], Awaitable[None]]

_WATCH = "subscription ($id: ID!, $waits: Boolean) { taskUpdated(id: $id, waitForCreation: $waits) { revision } }"
_METADATA = "subscription ($id: ID!, $waits: Boolean) { taskUpdated(id: $id, waitForCreation: $waits) { metadata } }"
_LOG = "subscription ($id: ID!, $waits: Boolean) { taskLogged(id: $id, waitForCreation: $waits) { message } }"
_PAGE = "query ($id: ID!) { task(id: $id) { logs(first: 10) { nodes { message } } } }"
_DOCUMENTS = pytest.mark.parametrize("document", [_WATCH, _METADATA, _LOG], ids=["updated", "metadata", "logged"])


@pytest.fixture
def log(settings: Settings) -> Iterator[LogStore]:
    """A worker's log lines."""
    connections = Connections(settings)
    yield LogStore(connections, Limits(1000, 100_000))
    connections.close()


@pytest.fixture
async def fence(services: Services, subscribe: Subscribe, worker: Store) -> Fence:
    """A function that waits until all events before it have been received."""
    task_id, revision = create(worker, ALICE), 1
    watcher = subscribe(ADMIN, _WATCH, id=task_id)
    await watcher.until({"revision": 1})

    async def wait() -> None:
        nonlocal revision
        revision += 1
        write = writes.start(task_id, worker="w") if revision == 2 else writes.progress(task_id, Progress(revision))
        worker.change(write)
        await watcher.until({"revision": revision})
        await asyncio.sleep(0)

    assert services.feed.connected
    return wait


def _start(worker: Store, task_id: str) -> None:
    record = worker.find(task_id)
    assert record is not None
    claim = Claim(uuid.uuid4().hex, worker="w", run="r", pid=1, lease_seconds=60, attempts=record.attempts)
    assert worker.change(claims.claim(task_id, claim)) is not None


def _log(log: LogStore, task_id: str, text: str) -> None:
    assert log.write(task_id, 1, [Entry.of(20, text, time.monotonic())]) is not None


@_DOCUMENTS
@pytest.mark.parametrize("principal", [BOB, CAROL, CUSTOMER], ids=["bob", "carol", "customer"])
async def test_a_foreign_task_is_like_an_unknown_one(
    subscribe: Subscribe, worker: Store, document: str, principal: Principal
) -> None:
    """The error is the same, also for a task that was deleted, whether or not the subscription waits."""
    exists, deleted, unknown = create(worker, ALICE, customer=2), create(worker, ALICE, customer=2), str(uuid.uuid4())
    worker.change(writes.succeed(deleted, 1))
    worker.delete([deleted])
    answers = {}
    for task_id in (exists, deleted, unknown):
        results = await subscribe(principal, document, id=task_id, waits=False).ended()
        answers[task_id] = str(results).replace(task_id, "it")
    assert "NOT_FOUND" in answers[unknown]
    assert len(set(answers.values())) == 1
    waiting = [subscribe(principal, document, id=task_id, waits=True) for task_id in (exists, deleted, unknown)]
    await asyncio.sleep(0.1)
    assert [(watcher.results, watcher.task.done()) for watcher in waiting] == [([], False)] * 3


@_DOCUMENTS
async def test_all_who_see_a_task_can_watch_it(
    subscribe: Subscribe, worker: Store, log: LogStore, document: str
) -> None:
    """Its owner, the owner's token for its customer, administrators, and everybody without authentication."""
    task_id = create(worker, ALICE, customer=1)
    principals = (ALICE, CUSTOMER, ACME_ADMIN, ADMIN, ANONYMOUS)
    watchers = [subscribe(principal, document, id=task_id) for principal in principals]
    _start(worker, task_id)
    _log(log, task_id, "a")
    worker.change(writes.succeed(task_id, 1))
    for watcher in watchers:
        assert (await watcher.ended())[-1].get("errors") is None
    last = {_WATCH: {"revision": 3}, _METADATA: {"metadata": {"customer": 1}}, _LOG: {"message": "a"}}[document]
    assert [watcher.values[-1] for watcher in watchers] == [last] * len(principals)


@_DOCUMENTS
async def test_nothing_of_a_foreign_task_comes(
    services: Services,
    subscribe: Subscribe,
    worker: Store,
    mute_worker: Store,
    log: LogStore,
    redis: Redis,
    fence: Fence,
    document: str,
) -> None:
    """Neither its changes, lines, end and deletion, nor what repairs and reconnects find, end a watcher that waits."""
    ids = [create(worker, ALICE, customer=2) for _ in range(3)]
    watchers = [
        subscribe(principal, document, id=id_, waits=True) for principal in (BOB, CAROL, CUSTOMER) for id_ in ids
    ]
    await fence()
    assert services.feed.watched == 4
    for id_ in ids:
        _start(worker, id_)
        _log(log, id_, "secret")
    by_event, unheard, late = ids
    worker.change(writes.succeed(by_event, 1))
    worker.delete([by_event])
    mute_worker.change(writes.succeed(unheard, 1))
    await fence()
    await services.feed._repair.run(ids)  # noqa: SLF001 - as the backstop does
    mute_worker.delete([unheard])
    await services.feed._repair.run(ids)  # noqa: SLF001 - as above
    await services.feed._compare_logs()  # noqa: SLF001 - as above
    await redis.client_kill_filter(_type="pubsub")

    async def connected_again() -> bool:
        return services.feed.connected

    await wait_until_async(connected_again)
    await fence()
    worker.change(writes.succeed(late, 1))
    await fence()
    assert [(watcher.results, watcher.task.done()) for watcher in watchers] == [([], False)] * 9


async def test_a_task_that_becomes_visible_is_delivered(
    subscribe: Subscribe, worker: Store, log: LogStore, fence: Fence
) -> None:
    """With waitForCreation its state and all of its lines come then, and its end ends the subscription."""
    task_id = create(worker, ALICE, customer=2)
    watcher = subscribe(CUSTOMER, _METADATA, id=task_id, waits=True)
    lines = subscribe(CUSTOMER, _LOG, id=task_id, waits=True)
    await fence()
    _start(worker, task_id)
    _log(log, task_id, "before")
    await fence()
    assert (watcher.results, lines.results) == ([], [])
    move(worker, task_id, customer=1)
    await watcher.until({"metadata": {"customer": 1}})
    await lines.until({"message": "before"})
    _log(log, task_id, "after")
    await lines.until({"message": "after"})
    worker.change(writes.succeed(task_id, 1))
    await watcher.ended()
    await lines.ended()
    assert watcher.values == [{"metadata": {"customer": 1}}] * 2


@pytest.mark.parametrize("loud", [True, False], ids=["by its event", "by a repair"])
@pytest.mark.parametrize("large", [0, 50_000], ids=["small", "large"])
async def test_a_task_that_leaves_ends_its_watchers(
    services: Services,
    subscribe: Subscribe,
    worker: Store,
    mute_worker: Store,
    log: LogStore,
    fence: Fence,
    loud: bool,
    large: int,
) -> None:
    """They complete as after a deletion, and neither later states nor later lines come."""
    task_id = create(worker, ALICE, customer=1, text="x" * large)
    _start(worker, task_id)
    _log(log, task_id, "before")
    watcher, lines = subscribe(CUSTOMER, _WATCH, id=task_id), subscribe(CUSTOMER, _LOG, id=task_id)
    owner = subscribe(ALICE, _LOG, id=task_id)
    await watcher.until({"revision": 2})
    await lines.until({"message": "before"})
    await fence()
    move(worker if loud else mute_worker, task_id, customer=2, text="x" * large)
    _log(log, task_id, "secret")
    await owner.until({"message": "secret"})
    if not loud:
        await services.feed._repair.run([task_id])  # noqa: SLF001 - as the backstop does
    assert await watcher.ended() == [{"data": {"taskUpdated": {"revision": 2}}}]
    assert await lines.ended() == [{"data": {"taskLogged": {"message": "before"}}}]


async def test_the_log_of_a_task_is_a_page_for_those_who_see_it(
    subscribe: Subscribe, worker: Store, log: LogStore
) -> None:
    """The lines of a foreign task are read by nobody else."""
    task_id = create(worker, ALICE, customer=1)
    _start(worker, task_id)
    _log(log, task_id, "a")
    pages = {name: subscribe(who, _PAGE, id=task_id) for name, who in (("alice", ALICE), ("bob", BOB))}
    read = {name: (await page.ended())[-1]["data"]["task"] for name, page in pages.items()}
    assert read == {"alice": {"logs": {"nodes": [{"message": "a"}]}}, "bob": None}


async def test_lines_are_read_for_a_visibility(services: Services, worker: Store, log: LogStore) -> None:
    """The store has no lines of a task for those who do not see it, whoever asks, and counts none."""
    task_id = create(worker, ALICE, customer=1)
    _start(worker, task_id)
    _log(log, task_id, "a")
    lines = services.store.log_lines
    for principal, count in ((ALICE, 1), (CUSTOMER, 1), (ADMIN, 1), (BOB, 0), (CAROL, 0)):
        assert len(await lines.after(task_id, 0, 10, 10, principal.visibility)) == count  # type: ignore[arg-type] # DEBUG
        assert len(await lines.counts([task_id], principal.visibility)) == count


async def test_a_deletion_is_known_to_those_who_saw_the_task(
    services: Services, subscribe: Subscribe, worker: Store, settings: Settings
) -> None:
    """A watcher that waits for it gets an error; its metadata are deleted, and tombstones of old know nobody."""
    mine, old = create(worker, ALICE, customer=1), create(worker, ALICE, customer=1)
    for task_id in (mine, old):
        worker.change(writes.succeed(task_id, 1))
    worker.delete([mine, old])
    with MongoClient[dict[str, object]](settings.mongodb_url) as client:
        tombstones = client[settings.mongodb_database][fields.TOMBSTONES]
        assert "metadata" not in (tombstones.find_one({"_id": mine}) or {"metadata": 1})
        kept = [fields.OWNER, fields.TENANT, fields.NAME, fields.QUEUE, fields.PARENT_ID, fields.CREATED_AT]
        tombstones.update_one({"_id": old}, {"$unset": dict.fromkeys(kept, "")})
    all_, own, none = [mine, old], [mine], list[str]()
    for principal, known in (
        (ALICE, own), (BOB, none), (CAROL, none), (CUSTOMER, none), (ACME_ADMIN, own), (ADMIN, all_), (ANONYMOUS, all_),
    ):  # fmt: skip
        deletions, visibility = services.store.deletions, principal.visibility
        assert [task_id for task_id in all_ if await deletions.is_deleted(task_id, visibility)] == known
        assert sorted(await deletions.among(all_, visibility)) == sorted(known)
    results = await subscribe(ALICE, _WATCH, id=mine, waits=True).ended()
    assert results[0]["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_an_execution_is_shared_within_an_audience(
    services: Services, subscribe: Subscribe, worker: Store
) -> None:
    """Subscribers that see the same tasks share one, late ones included; others have an execution of their own."""
    task_id = create(worker, ALICE, customer=1)
    twin = Principal("alice", ALICE.scopes, "acme", token_id="another")  # noqa: S106 - the id of a token
    first, second = (subscribe(principal, _WATCH, id=task_id) for principal in (ALICE, twin))
    await first.until({"revision": 1})
    await second.until({"revision": 1})
    assert len(services.executions) == 1
    narrower = subscribe(CUSTOMER, _WATCH, id=task_id)
    await narrower.until({"revision": 1})
    assert len(services.executions) == 2
    move(worker, task_id, customer=2)
    await narrower.ended()
    await first.until({"revision": 2})
    late = subscribe(twin, _WATCH, id=task_id)
    await late.until({"revision": 2})
    assert len(services.executions) == 1
    results = await subscribe(CUSTOMER, _WATCH, id=task_id).ended()
    assert results[0]["errors"][0]["extensions"]["code"] == "NOT_FOUND"
