"""The depths of queues and the live workers, read from records and heartbeats."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from gql_api.access.visibility import EVERYTHING
from gql_api.api.store.tasks import TaskStore
from gql_api.record import claims, control, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, NewTask
from gql_api.record.reads import CODEC, TaskRecord
from gql_api.record.writes import Write
from gql_api.registry import queues, workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    """The test's own database, beside the store."""
    with MongoClient[dict[str, Any]](settings.mongodb_url) as client:
        yield client.get_database(settings.mongodb_database, CODEC)


def _beat(database: Database[dict[str, Any]], hostname: str, *queues: str, good_for: float = 60.0) -> None:
    filter_, update = workers.beat(
        hostname, pool="prefork", concurrency=4, task_names=["add"], queues=list(queues), good_for_seconds=good_for
    )
    database[fields.WORKERS].update_one(filter_, update, upsert=True)


async def _create(store: TaskStore, task_id: str, queue: str, **rest: Any) -> None:
    await store.create(NewTask(id=task_id, name="add", queue=queue, **rest))


async def _changed(store: TaskStore, write: Write) -> TaskRecord:
    document = await store.change(write, EVERYTHING)
    assert document is not None
    return TaskRecord(document)


def _claim(task_id: str, hostname: str) -> Write:
    return claims.claim(task_id, Claim("m" * 32, hostname, "run", 1, 60.0))


async def test_every_queue_is_named_once(
    store: TaskStore, database: Database[dict[str, Any]], announced: TaskDefinition
) -> None:
    """Queues with waiting tasks, with live workers and of announced tasks are listed; those of dead workers are not."""
    _beat(database, "b@host", "mail", "sums")
    _beat(database, "a@host", "mail")
    _beat(database, "dead@host", "forgotten", good_for=0.0)
    await _create(store, "t1", "mail")
    await _create(store, "t2", "nobody's")
    await _create(store, "t3", "nobody's")
    found = await store.queues()
    assert announced.queue == "sums"
    assert [(queue.name, queue.depth) for queue in found] == [("mail", 1), ("nobody's", 2), ("sums", 0)]
    assert [queue.oldest_queued_at is None for queue in found] == [False, False, True]


async def test_only_what_is_queued_counts(store: TaskStore) -> None:
    """A task that is to start later, runs or has ended is not counted in its queue."""
    for task_id, delay in (("later", 60.0), ("running", None), ("ended", None), ("waiting", None)):
        await _create(store, task_id, "q", delay=delay)
    await _changed(store, _claim("running", "w"))
    await _changed(store, control.cancel_waiting("ended", None))
    (queue,) = await store.queues()
    assert (queue.name, queue.depth) == ("q", 1)


async def test_a_task_waits_since_it_became_queued(store: TaskStore) -> None:
    """A scheduled or requeued task waits since then; new metadata and a reschedule to now do not restart its wait."""
    await _create(store, "t", "q", delay=0.001)
    record = await _changed(store, claims.enqueue("t"))

    async def oldest() -> Any:
        (queue,) = await store.queues()
        return queue.oldest_queued_at

    queued_at = record.history[-1].at
    assert record.created_at < queued_at == await oldest()
    await _changed(store, control.replace_metadata("t", {"new": 1}, None))
    moved = await _changed(store, control.reschedule("t", record.created_at - timedelta(days=1)))
    assert [entry.status for entry in moved.history][-2:] == [Status.QUEUED, Status.QUEUED]
    assert moved.updated_at > queued_at == await oldest()
    await _create(store, "younger", "q")
    assert await oldest() == queued_at
    await _changed(store, control.cancel_waiting("younger", None))
    await _changed(store, _claim("t", "w"))
    returned = await _changed(store, claims.requeue("t", claims.held_by(1), "given back"))
    assert await oldest() == returned.history[-1].at > moved.updated_at


async def test_live_workers_and_what_they_hold(store: TaskStore, database: Database[dict[str, Any]]) -> None:
    """Live workers are listed by hostname with their STARTED tasks; a dead worker that still holds a task is not."""
    for hostname, good_for in (("b@host", 60.0), ("a@host", 60.0), ("dead@host", 0.0)):
        _beat(database, hostname, "q", good_for=good_for)
        for number in range(3):
            await _create(store, f"{hostname}{number}", "q")
            await _changed(store, _claim(f"{hostname}{number}", hostname))
    await _changed(store, writes.succeed("b@host0", None))
    found = await store.workers()
    assert [(worker.hostname, worker.active) for worker in found] == [("a@host", 3), ("b@host", 2)]
    assert {(worker.pool, worker.concurrency) for worker in found} == {("prefork", 4)}
    beats = {document["_id"]: document["beat_at"] for document in database[fields.WORKERS].find()}
    assert all(worker.beat_at == beats[worker.hostname] for worker in found)


async def test_missed_heartbeats_are_counted(store: TaskStore, database: Database[dict[str, Any]]) -> None:
    """They are counted by the interval of each worker; one of the future, after a change of clocks, misses none."""
    for hostname, good_for, seconds in (("fast@host", 30.0, 22), ("future@host", 30.0, -60), ("slow@host", 300.0, 22)):
        _beat(database, hostname, "q", good_for=good_for)
        earlier = [{"$set": {"beat_at": {"$subtract": ["$beat_at", seconds * 1000]}}}]
        database[fields.WORKERS].update_one({"_id": hostname}, earlier)
    found = {worker.hostname: worker.missed_beats for worker in await store.workers()}
    assert found == {"fast@host": 2, "future@host": 0, "slow@host": 0}


async def test_workers_with_one_name_are_told_apart(store: TaskStore, database: Database[dict[str, Any]]) -> None:
    """Each run of a worker has its own tasks and pool, without those of dead runs; earlier versions have no run."""
    for run, pool, entry in (("r1", "prefork", None), ("r2", "solo", workers.own_entry("a@host", "r2"))):
        filter_, update = workers.beat(
            "a@host", pool=pool, concurrency=2, task_names=[], queues=["q"], good_for_seconds=60.0, run=run, entry=entry
        )
        database[fields.WORKERS].update_one(filter_, update, upsert=True)
    _beat(database, "old@host", "q")
    held = {"r1": "a@host", "r2": "a@host", "dead": "a@host", "unknown": "old@host"}
    for run, hostname in held.items():
        await _create(store, run, "q")
        await _changed(store, claims.claim(run, Claim("m" * 32, hostname, run, 1, 60.0)))
    found = [(worker.hostname, worker.pool, worker.active) for worker in await store.workers()]
    assert found == [("a@host", "prefork", 1), ("a@host", "solo", 1), ("old@host", "prefork", 1)]
    assert [await store.worker_pool("a@host", run) for run in ("r1", "r2")] == ["prefork", "solo"]
    assert [await store.worker_pool(name, "x") for name in ("old@host", "nobody")] == ["prefork", None]


async def test_an_idle_worker_is_there(store: TaskStore, database: Database[dict[str, Any]]) -> None:
    """A worker without tasks, in a database without tasks, is alive all the same."""
    assert await store.workers() == []
    assert await store.queues() == []
    _beat(database, "a@host", "q")
    assert [(worker.hostname, worker.active) for worker in await store.workers()] == [("a@host", 0)]
    assert [(queue.name, queue.depth) for queue in await store.queues()] == [("q", 0)]


@pytest.mark.parametrize("pipeline", [queues.depths(), workers.live()], ids=["queues", "workers"])
async def test_only_the_tasks_that_count_are_read(
    store: TaskStore, database: Database[dict[str, Any]], pipeline: list[dict[str, Any]]
) -> None:
    """An index finds the waiting and running tasks among any number of tasks that have ended."""
    await store.indexes.create()
    command = {"aggregate": fields.TASKS, "pipeline": pipeline, "cursor": {}}
    cursor = database.command("explain", command)["stages"][0]["$cursor"]
    winning = str(cursor["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in winning
    assert "COLLSCAN" not in winning
