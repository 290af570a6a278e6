"""MongoDB loses what was announced or read: it is killed before that is safe, or another member becomes primary."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fault_site import Site
from pymongo.errors import PyMongoError
from support import Api, wait_until
from websockets.exceptions import ConnectionClosed

from gql_api.api.store.tasks import TaskStore
from gql_api.record import fields
from gql_api.record.reads import TaskRecord

pytestmark = pytest.mark.fault

_TASK = 'subscription { taskUpdated(id: "%s") { revision status isFinal progress { current } } }'
_LIST = """
subscription { taskChanges(since: "2026-01-01T00:00:00Z") { taskId task { revision isFinal progress { current } } } }
"""
_NAME = "fault_tasks.work"
_CREATE = f'mutation {{ createTask(input: {{ name: "{_NAME}" }}) {{ task {{ id }} userErrors {{ message }} }} }}'
# The journal is not flushed before the kill, except by a flush that has begun, or by the storage engine itself.
_MAX_TRIES = 5


class _Watcher:
    """A client of a subscription, in a thread."""

    def __init__(self, api: Api, subscription: str, on_update: Callable[[dict[str, Any]], object] = bool) -> None:
        self.updates: list[dict[str, Any]] = []
        self.has_completed = False
        self._follow_as = (api, subscription, on_update)
        threading.Thread(target=self._follow, daemon=True).start()

    def has(self, condition: Callable[[dict[str, Any]], object]) -> bool:
        """Return whether the last update meets a condition."""
        return bool(self.updates and condition(self.updates[-1]))

    def _follow(self) -> None:
        api, subscription, on_update = self._follow_as
        with contextlib.suppress(ConnectionClosed):  # the API ends with the test
            for data in api.watch(subscription):
                (update,) = data.values()
                on_update(update)
                self.updates.append(update)
            self.has_completed = True


class _Held:
    """A task that reports progress, and then ends, when the test lets it; with a watcher of it and one of a list."""

    def __init__(self, site: Site, api: Api, name: str, on_progress: Callable[[], object] = bool) -> None:
        self._site = site
        self._files = [site.folder / f"{name}-{step}" for step in ("report", "end")]
        self.id = site.send("report_then_hold", *map(str, self._files))
        site.began(self.id)
        self.watcher = _Watcher(
            api, _TASK % self.id, lambda update: update["progress"] and not update["isFinal"] and on_progress()
        )
        self.list = _Watcher(api, _LIST)
        wait_until(lambda: self.watcher.has(lambda update: update["status"] == "STARTED"))
        wait_until(lambda: self._listed() is not None)

    def report(self) -> int:
        """Report progress, and return its revision when both watchers have received it."""
        self._files[0].touch()
        wait_until(lambda: self.watcher.has(lambda update: update["progress"]), why="the report to be announced")
        wait_until(lambda: (listed := self._listed()) and listed["progress"], why="the list to have the report")
        revision: int = self.watcher.updates[-1]["revision"]
        return revision

    def stored(self) -> TaskRecord:
        """Read the task from the server that MongoDB has now."""
        return _when_mongodb_answers(lambda: self._site.task(self.id))

    def end(self) -> None:
        """Let the task end, and check that both watchers learn of it."""
        self._files[1].touch()
        self._site.finished(self.id, 60)
        wait_until(lambda: self.watcher.has_completed, why="the watch to complete")
        assert self.watcher.updates[-1]["isFinal"]
        revisions = [update["revision"] for update in self.watcher.updates]
        assert revisions == sorted(set(revisions))
        wait_until(lambda: (listed := self._listed()) and listed["isFinal"], why="the list to have the end")

    def _listed(self) -> dict[str, Any] | None:
        tasks = [update["task"] for update in self.list.updates if update["taskId"] == self.id]
        return tasks[-1] if tasks else None


def _when_mongodb_answers(read: Callable[[], TaskRecord]) -> TaskRecord:
    def answer() -> TaskRecord | None:
        with contextlib.suppress(PyMongoError):
            return read()
        return None

    record = wait_until(answer, 60, "MongoDB to answer")
    assert record is not None
    return record


def test_the_end_of_a_task_whose_progress_was_lost_reaches_its_watchers(site: Site) -> None:
    """MongoDB is killed as soon as a watcher has the report, before its journal does; revisions go on rising."""
    site.environment["PROGRESS_INTERVAL_SECONDS"] = "0"
    site.worker("worker")
    api = site.api()
    for number in range(_MAX_TRIES):
        held = _Held(site, api, str(number), site.mongodb.kill)
        site.mongodb.keep_in_memory()
        announced = held.report()
        site.mongodb.start()
        was_lost = held.stored().revision < announced
        held.end()
        if was_lost:
            return
    pytest.fail("MongoDB lost nothing")


def test_the_end_of_a_task_reaches_its_watchers_after_a_failover(replicated_site: Site) -> None:
    """The report was on the primary alone: the next primary never had it."""
    site, mongodb = replicated_site, replicated_site.mongodb
    site.environment |= {"PROGRESS_INTERVAL_SECONDS": "0", "LEASE_SECONDS": "30"}
    site.worker("worker")
    held = _Held(site, site.api(), "task")
    primary = mongodb.wait_for_primary()
    with mongodb.cut_off(primary):
        announced = held.report()
        primary.kill()
    mongodb.wait_for_primary(other_than=primary)
    assert held.stored().revision < announced
    primary.start()
    held.end()


def test_a_task_whose_creation_is_rolled_back_is_on_no_list(replicated_site: Site) -> None:
    """Its creation was not acknowledged: lists never have it, and a client that watches it does not wait for ever."""
    site, mongodb = replicated_site, replicated_site.mongodb
    worker, api = site.worker("worker"), site.api()
    # The worker announces its functions one after the other.
    wait_until(lambda: {"name": _NAME} in api.data("{ taskDefinitions { name } }")["taskDefinitions"])
    worker.kill()
    tasks = site.store._connections.database()[fields.TASKS]  # noqa: SLF001 - as the primary has them
    primary = mongodb.wait_for_primary()
    with mongodb.cut_off(primary):
        creation = threading.Thread(target=api.post, args=(_CREATE,), daemon=True)
        creation.start()
        document = wait_until(tasks.find_one, why="the creation to reach the primary")
        assert document is not None
        assert api.data("{ tasks { nodes { id } } }")["tasks"]["nodes"] == []
        watcher = _Watcher(api, _TASK % document[fields.ID])
        wait_until(lambda: watcher.updates, why="the watcher to read what the primary has")
        creation.join()
        primary.kill()
    mongodb.wait_for_primary(other_than=primary)
    primary.start()
    wait_until(lambda: watcher.has_completed, 40, "the watch to complete")
    assert api.data("{ tasks { nodes { id } } }")["tasks"]["nodes"] == []
    assert tasks.find_one() is None


def test_a_primary_without_its_majority_confirms_nothing(replicated_site: Site) -> None:
    """Even when it has nothing that could be rolled back: another primary may have newer states by then."""
    mongodb = replicated_site.mongodb
    settings = replicated_site.settings.model_copy(update={"store_timeout_seconds": 1.0})

    async def passes_barrier() -> bool:
        store = TaskStore(settings)
        try:
            await store.committed.barrier()
        except PyMongoError:
            return False
        finally:
            await store.close()
        return True

    wait_until(lambda: asyncio.run(passes_barrier()))
    with mongodb.cut_off(mongodb.wait_for_primary()):
        assert not asyncio.run(passes_barrier())
    wait_until(lambda: asyncio.run(passes_barrier()))
