"""The versions of a task function that workers announce, and the one against which calls are checked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from owners import ALICE, BOB
from pymongo import MongoClient
from pymongo.database import Database

from gql_api.access.visibility import EVERYTHING
from gql_api.api.store.definitions import DefinitionRead
from gql_api.api.store.tasks import TaskStore
from gql_api.dispatch import for_version
from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.record.reads import CODEC
from gql_api.registry import stored_versions, workers
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings


class _Deployment:
    """Workers that announce versions of the function ``add``, each with one parameter."""

    def __init__(self, database: Database[dict[str, Any]], store: TaskStore) -> None:
        self.database = database
        self.definitions = database[fields.DEFINITIONS]
        self.store = store

    def start(self, version: str, description: str = "") -> None:
        """Start a worker with a version."""
        parameter = {"description": description}
        schema = {
            "type": "object",
            "properties": {version: parameter},
            "additionalProperties": False,
            "required": [version],
        }
        definition = TaskDefinition("add", schema, positional=(version,), digest=version)
        filter_, update = workers.announce(definition)
        self.definitions.update_one(filter_, update, upsert=True)
        self._beat(version, ["add", f"add#{version}"])

    def start_early(self) -> None:
        """Start a worker of a release that announces no versions."""
        self._beat("early", ["add"])

    def stop(self, version: str) -> None:
        """Stop the worker with a version, which reports it for the last time."""
        self.definitions.update_many(*stored_versions.seen(["add"], [version]))
        self.database[fields.WORKERS].delete_many(workers.by_hostname(version))

    def age(self, version: str, **age: float) -> None:
        """Let the last report of a version be older."""
        document = self.definitions.find_one({"versions.digest": version})
        assert document is not None
        (seen_at,) = [each["seen_at"] for each in document["versions"] if each["digest"] == version]
        changed = {"$set": {"versions.$.seen_at": seen_at - timedelta(**age)}}
        self.definitions.update_one({"versions.digest": version}, changed)

    async def current(self) -> tuple[str | None, list[str], int]:
        """Return the version that counts, the first that a release without versions reads, and the workers."""
        (found,) = await self.store.definitions(["add"])
        stored = self.definitions.find_one({"_id": "add"})
        assert stored is not None
        assert found.digest is None or list(found.input_schema["properties"]) == [found.digest]
        return found.digest, stored["positional"], found.workers

    async def able(self, task_id: str, version: str, **rest: Any) -> tuple[str | None, int]:
        """Create a task for a version, and return the version and the workers that the API shows for it."""
        message = for_version(None, f"add#{version}")
        await self.store.create(NewTask(id=task_id, name="add", message=message, **rest))
        (found,) = await self.store.definition_reads.read([DefinitionRead("add", task_id)], EVERYTHING)
        assert found is not None
        return found.digest, found.workers

    def _beat(self, hostname: str, names: list[str]) -> None:
        write = workers.beat(
            hostname, pool="solo", concurrency=1, task_names=names, queues=["q"], good_for_seconds=60.0
        )
        self.database[fields.WORKERS].update_one(*write, upsert=True)


@pytest.fixture
def deployment(settings: Settings, store: TaskStore) -> Iterator[_Deployment]:
    """Workers in the test's own database."""
    with MongoClient[dict[str, Any]](settings.mongodb_url) as client:
        yield _Deployment(client.get_database(settings.mongodb_database, CODEC), store)


async def test_the_newest_version_counts_while_a_worker_has_it(deployment: _Deployment) -> None:
    """A restarted worker with an older version changes nothing; when only such workers are left, theirs counts."""
    deployment.start("one")
    assert await deployment.current() == ("one", ["one"], 1)
    deployment.start("two")
    assert await deployment.current() == ("two", ["two"], 2)
    deployment.stop("one")
    deployment.start("one")
    assert await deployment.current() == ("two", ["two"], 2)
    deployment.stop("two")
    assert await deployment.current() == ("one", ["two"], 1)
    deployment.stop("one")
    assert await deployment.current() == ("two", ["two"], 0)


async def test_a_version_that_comes_back_much_later_is_a_new_one(deployment: _Deployment) -> None:
    """A later release may have the signature of an earlier one; within an hour it is a restart of that one."""
    for version in ("one", "two"):
        deployment.start(version)
    deployment.stop("one")
    deployment.age("one", minutes=50)
    deployment.start("one")
    assert (await deployment.current())[0] == "two"
    deployment.stop("one")
    deployment.age("one", minutes=70)
    deployment.start("one")
    assert await deployment.current() == ("one", ["one"], 2)


async def test_workers_of_an_earlier_release_announce_no_version(deployment: _Deployment) -> None:
    """They run every task, and while there are no others, the API does not know their version."""
    deployment.start("one")
    deployment.start_early()
    assert (await deployment.current())[::2] == ("one", 2)
    assert await deployment.able("t", "two", args=[1]) == ("one", 2)
    deployment.stop("one")
    assert (await deployment.current())[::2] == (None, 1)
    assert await deployment.able("u", "one", args=[1]) == ("one", 1)


async def test_the_workers_of_a_waiting_task_are_those_that_would_run_it(deployment: _Deployment) -> None:
    """For an older version these are all others, for a newer one those that it fits, and none for the rest."""
    deployment.start("one")
    deployment.start("two")
    assert await deployment.able("a", "one", kwargs={"one": 1}) == ("one", 1)
    deployment.stop("one")
    assert await deployment.able("b", "one", kwargs={"one": 1}) == ("one", 1)
    # Not announced yet.
    assert await deployment.able("c", "three", kwargs={"three": 1}) == ("two", 0)
    assert await deployment.able("d", "three", args=[1]) == ("two", 1)
    deployment.start("three")
    deployment.stop("three")
    assert await deployment.able("e", "three", kwargs={"three": 1}) == ("three", 0)
    assert await deployment.able("f", "three", kwargs={"two": 1}) == ("three", 1)
    deployment.stop("two")
    assert await deployment.able("g", "one", args=[1]) == ("one", 0)
    assert await deployment.able("h", "two", args=[1]) == ("two", 0)


async def test_a_function_with_a_large_schema_keeps_fewer_versions(deployment: _Deployment) -> None:
    """Else the API would leave the function out, whose definition is larger with each version."""
    for number in range(21):
        deployment.start(f"v{number}", "x" * 100_000)
        deployment.stop(f"v{number - 1}")
    assert await deployment.current() == ("v20", ["v20"], 1)


async def test_the_version_of_a_waiting_task_needs_its_visibility(deployment: _Deployment) -> None:
    """A principal that does not see the task gets the newest version, as for an unknown id."""
    deployment.start("one")
    deployment.start("two")
    message = for_version(None, "add#one")
    await deployment.store.create(
        NewTask(id="a", name="add", kwargs={"one": 1}, message=message, owner="alice", tenant="acme")
    )
    digests = []
    for principal, task_id in ((ALICE, "a"), (BOB, "a"), (ALICE, "unknown")):
        reads = [DefinitionRead("add", task_id)]
        (found,) = await deployment.store.definition_reads.read(reads, principal.visibility)
        digests.append(found and found.digest)
    assert digests == ["one", "two", "two"]
