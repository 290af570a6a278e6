"""A primary that loses its majority, takes writes that are not durable, and steps down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_site import Site
from log_lines import log_of
from pymongo import MongoClient
from support import wait_until

from gql_api.cli.embedded_servers import HOST
from gql_api.record import fields, logs
from gql_api.record.fields import Status
from gql_api.record.queries import by_id
from gql_api.record.reads import Document, TaskRecord

pytestmark = pytest.mark.fault

# Longer than an election: no other attempt may replace the one that waits for its write.
_LEASE = {"LEASE_SECONDS": "30"}


@contextmanager
def _last_words(site: Site, *, lost: bool) -> Iterator[Callable[[str], Document]]:
    """Cut the primary off within the block, then depose it, or kill it as well, so that others elect a new one.

    Yields:
        a function that reads a task as the primary has it, durable or not.
    """
    members = site.mongodb
    primary = members.wait_for_primary()
    with MongoClient[Document](f"mongodb://{HOST}:{primary.port}", directConnection=True) as client:
        tasks = client[site.settings.mongodb_database][fields.TASKS]

        def read(task_id: str) -> Document:
            document = tasks.find_one(by_id(task_id))
            assert document is not None
            return document

        with members.cut_off(primary):
            yield read
            members.depose(primary)
            if lost:
                primary.kill()
    members.wait_for_primary(other_than=primary if lost else None)
    members.start()


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_function_that_returned_is_a_success(replicated_site: Site, *, lost: bool) -> None:
    """Its end reached only the old primary, which keeps or loses it: the worker stores it again."""
    site = replicated_site
    worker = site.worker("worker", environment=_LEASE)
    task_id = site.send("work", 3.0, "result")
    site.began(task_id)
    with _last_words(site, lost=lost) as read:
        wait_until(lambda: TaskRecord(read(task_id)).status is Status.SUCCESS)
    task = site.finished(task_id, 60)
    assert (task.status, task.result, task.attempts) == (Status.SUCCESS, "result", 1)
    assert site.runs("begin")[task_id] == 1
    assert b"raised unexpected" not in worker.log.read_bytes()


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_change_of_metadata_is_made_once(replicated_site: Site, tmp_path: Path, *, lost: bool) -> None:
    """The function sees no error, and a number that it increments is incremented once."""
    site, gate = replicated_site, tmp_path / "gate"
    site.worker("worker", environment=_LEASE)
    task_id = site.send("count", str(gate))
    site.began(task_id)
    with _last_words(site, lost=lost) as read:
        gate.touch()
        wait_until(lambda: TaskRecord(read(task_id)).metadata)
    task = site.finished(task_id, 60)
    assert (task.status, task.result, task.attempts) == (Status.SUCCESS, 1, 1)
    assert task.metadata == {"count": 1}


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_log_is_complete(replicated_site: Site, tmp_path: Path, *, lost: bool) -> None:
    """Lines that reached only the old primary are stored once, with the numbers after those before."""
    site, file = replicated_site, tmp_path / "file"
    site.worker("worker", environment=_LEASE)
    task_id = site.send("log_lines", str(file), 6)
    file.write_bytes(b"..")
    wait_until(lambda: len(_log(site, task_id)) == 2)
    with _last_words(site, lost=lost) as read:
        file.write_bytes(b"......")
        wait_until(lambda: site.runs("end")[task_id])
        wait_until(lambda: logs.counts_of([read(task_id)])[task_id] > 2)
    assert site.finished(task_id, 60).status is Status.SUCCESS
    assert _log(site, task_id) == [(number + 1, f"line {number}") for number in range(6)]


def _log(site: Site, task_id: str) -> list[tuple[int, str]]:
    database = site.store._connections.database()  # noqa: SLF001 - the API's side is not needed here
    return [(line.position, line.message) for line in log_of(database, task_id)]
