from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import strategies
from front import Front
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo.collection import Collection

from gql_api import values
from gql_api.query import facets
from gql_api.query.compile import compile_filter
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields as f
from gql_api.record.model import NewTask
from gql_api.record.reads import Document, TaskRecord

_EXAMPLES = 60


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _scalars(item)
    else:
        yield value


def _kind(value: Any) -> tuple[str, Any]:
    """Return a key that distinguishes values: true is not 1, and 1 is 1.0."""
    return ("boolean" if isinstance(value, bool) else "value", value)


def _counted_in_memory(stored: list[Document], path: str) -> dict[tuple[str, Any], int]:
    """Return the number of tasks that the filter eq finds, for each value that is anywhere in them."""
    records = [TaskRecord(document) for document in stored]
    counts = {}
    for value in {_kind(scalar) for document in stored for scalar in _scalars(document[f.METADATA])}:
        filter_ = TaskFilter(metadata=[MetadataCondition(path, {Operator.EQ: value[1]})])
        if count := sum(map(compile_filter(filter_).matches, records)):
            counts[value] = count
    return counts


def test_a_facet_counts_what_eq_finds(tasks: Collection[Document]) -> None:
    """Each bucket of a path has as many tasks as eq finds with its value, and no value that eq finds is missing."""
    buckets = 0

    @hypothesis_settings(
        max_examples=_EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # each case goes to a server: shrinking would take minutes
    )
    @given(st.lists(strategies.METADATA, min_size=5, max_size=8), st.lists(strategies.PATHS, min_size=4, max_size=4))
    def run(metadata: list[Any], paths: list[str]) -> None:
        nonlocal buckets
        tasks.delete_many({})
        tasks.insert_many(
            {f.ID: str(number), f.REVISION: 1, f.STATUS: "QUEUED", f.METADATA: values.dump(each)}
            for number, each in enumerate(metadata)
        )
        stored = [*tasks.find()]
        for path in {*paths, "a", "a.0", "a.a"}:
            found = [facets.bucket_from(row) for row in tasks.aggregate(facets.by_metadata({}, path, 500))]
            assert {_kind(bucket.value): bucket.count for bucket in found} == _counted_in_memory(stored, path), path
            assert [bucket.count for bucket in found] == sorted((bucket.count for bucket in found), reverse=True)
            buckets += len(found)

    run()
    assert buckets > _EXAMPLES


FACETS = """
query ($filter: TaskFilter, $first: Int) {
  tasks(first: 1, filter: $filter) {
    totalCount
    status: facet(by: STATUS) { value count }
    name: facet(by: NAME, first: $first) { value count }
    queue: facet(by: QUEUE) { value count }
    worker: facet(by: WORKER) { value count }
    tier: facet(by: METADATA, metadataPath: "customer.tier") { value count }
  }
}
"""


def _counts(buckets: list[dict[str, Any]]) -> list[tuple[Any, int]]:
    return [(bucket["value"], bucket["count"]) for bucket in buckets]


async def test_facets_are_of_all_pages_within_the_filter(front: Front, tasks: Collection[Document]) -> None:
    """Whatever the size of the page, a facet counts all that the filter finds, the most frequent first."""
    store = front.services.store
    for number in range(12):
        name, queue = ("report" if number < 7 else "mail"), ("slow" if number % 4 == 0 else "fast")
        tier = ["gold", "silver", None][number % 3]
        metadata = {"customer": {"tier": tier}} if number != 11 else {}
        await store.create(NewTask(id=f"t{number}", name=name, queue=queue, metadata=metadata))
    tasks.update_many({f.ID: {"$in": ["t0", "t1", "t8"]}}, {"$set": {f.STATUS: "STARTED", f.WORKER: "w@host"}})
    found = (await front.data(FACETS))["tasks"]
    assert found["totalCount"] == 12
    assert _counts(found["status"]) == [("QUEUED", 9), ("STARTED", 3)]
    assert _counts(found["name"]) == [("report", 7), ("mail", 5)]
    assert _counts(found["queue"]) == [("fast", 9), ("slow", 3)]
    assert _counts(found["worker"]) == [("w@host", 3)]
    assert _counts(found["tier"]) == [("gold", 4), ("silver", 4), (None, 3)]
    found = (await front.data(FACETS, filter={"names": ["mail"]}, first=1))["tasks"]
    assert found["totalCount"] == 5
    assert _counts(found["status"]) == [("QUEUED", 4), ("STARTED", 1)]
    assert _counts(found["name"]) == [("mail", 5)]
    assert _counts((await front.data(FACETS, first=1))["tasks"]["name"]) == [("report", 7)]
    assert _counts((await front.data(FACETS, filter={"OR": []}))["tasks"]["status"]) == []


async def test_the_children_of_a_task_have_facets_too(front: Front) -> None:
    """The children of a task are counted, and no other's."""
    store = front.services.store
    for task_id, parent in (("p", None), ("other", None), ("c1", "p"), ("c2", "p"), ("c3", "other")):
        await store.create(NewTask(id=task_id, name="add", parent_id=parent, metadata={"n": 1}))
    query = """{ task(id: "p") { children(first: 1) {
      totalCount name: facet(by: NAME) { value count } n: facet(by: METADATA, metadataPath: "n") { value count }
    } } }"""
    children = (await front.data(query))["task"]["children"]
    assert (children["totalCount"], _counts(children["name"]), _counts(children["n"])) == (2, [("add", 2)], [(1, 2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("by: METADATA", "metadataPath: is required with by: METADATA"),
        ('by: NAME, metadataPath: "a"', "metadataPath: is only allowed with by: METADATA, got by: NAME"),
        ('by: METADATA, metadataPath: "a\\\\b"', "metadataPath: a backslash must precede"),
        ('by: METADATA, metadataPath: "' + ".".join("a" * 33) + '"', "metadataPath: at most 32 keys allowed, got 33"),
        ('by: METADATA, metadataPath: "' + "a" * 4097 + '"', "metadataPath: at most 4096 characters allowed, got 4097"),
        ('by: METADATA, metadataPath: "a\\u0000"', "metadataPath: contains a NUL character"),
        ("by: NAME, first: 0", "first: must be from 1 to 500, got 0"),
        ("by: NAME, first: 501", "first: must be from 1 to 500, got 501"),
    ],
    ids=lambda text: text[:40],
)
async def test_a_facet_that_cannot_be_is_a_clear_error(front: Front, arguments: str, message: str) -> None:
    """An error in the arguments of a facet names the argument."""
    result = await front.ask(f"{{ tasks {{ facet({arguments}) {{ count }} }} }}")
    (error,) = result.errors or []
    assert message in error.message
    assert error.extensions == {"code": "BAD_USER_INPUT"}


@pytest.mark.parametrize("key", ["a", "0"])
async def test_the_longest_path_of_a_facet_is_counted(front: Front, key: str) -> None:
    """A path as deep as metadata may be is no expression that MongoDB refuses."""
    metadata: Any = 7
    for _ in range(values.MAX_DEPTH):
        metadata = {key: metadata}
    await front.services.store.create(NewTask(id="t", name="add", metadata=metadata))
    query = "query ($path: String) { tasks { facet(by: METADATA, metadataPath: $path) { value count } } }"
    found = await front.data(query, path=".".join([key] * values.MAX_DEPTH))
    assert _counts(found["tasks"]["facet"]) == [(7, 1)]
