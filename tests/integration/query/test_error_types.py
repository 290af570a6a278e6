"""Lists and facets by the type of the error."""

from __future__ import annotations

from typing import Any

from front import Front
from pymongo.collection import Collection

from gql_api.query import facets
from gql_api.query.facets import FacetField
from gql_api.query.lists import Order, PageRequest
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.model import ErrorInfo, NewTask
from gql_api.record.reads import Document
from gql_api.worker.store.tasks import Store

_LIST = """query ($filter: TaskFilter) {
  tasks(filter: $filter) { totalCount nodes { id } errors: facet(by: ERROR_TYPE) { value count } }
}"""


def _ended(worker: Store, task_id: str, error: str | None) -> None:
    worker.change(writes.create(NewTask(task_id, "add")), upsert=True)
    worker.change(writes.start(task_id, worker="w"))
    ended = writes.succeed(task_id, 1) if error is None else writes.fail(task_id, ErrorInfo(error, "no"))
    worker.change(ended)


async def test_tasks_are_found_and_counted_by_the_type_of_their_error(front: Front, worker: Store) -> None:
    """Failed, revoked and retried tasks have a type; others are in no list by type, and in no bucket of the facet."""
    for task_id, error in (("a", "ValueError"), ("b", "ValueError"), ("c", "KeyError"), ("d", None)):
        _ended(worker, task_id, error)
    worker.change(writes.create(NewTask("e", "add")), upsert=True)
    worker.change(writes.retry("e", ErrorInfo("KeyError", "again"), due_in=60.0))

    async def found(filter_: dict[str, Any]) -> tuple[set[str], dict[str, int]]:
        page = (await front.data(_LIST, filter=filter_))["tasks"]
        assert page["totalCount"] == len(page["nodes"])
        return {node["id"] for node in page["nodes"]}, {each["value"]: each["count"] for each in page["errors"]}

    assert await found({"errorTypes": ["ValueError"]}) == ({"a", "b"}, {"ValueError": 2})
    assert await found({"errorTypes": ["KeyError"], "statuses": ["FAILURE"]}) == ({"c"}, {"KeyError": 1})
    assert await found({"statuses": ["FAILURE"]}) == ({"a", "b", "c"}, {"ValueError": 2, "KeyError": 1})
    assert await found({"errorTypes": []}) == (set(), {})
    assert await found({"NOT": {"errorTypes": ["ValueError"]}}) == ({"c", "d", "e"}, {"KeyError": 2})
    assert await found({}) == ({"a", "b", "c", "d", "e"}, {"ValueError": 2, "KeyError": 2})


def _examined(plan: dict[str, Any]) -> int:
    """Return how many documents MongoDB has fetched for an explained query."""
    (stats,) = (
        [plan["executionStats"]] if "executionStats" in plan else [plan["stages"][0]["$cursor"]["executionStats"]]
    )
    examined: int = stats["totalDocsExamined"]
    return examined


def test_an_index_serves_lists_and_the_facet(tasks: Collection[Document]) -> None:
    """A list by a rare type reads the tasks of its page only, and the facet of the failures reads no task."""
    tasks.create_indexes(f.INDEXES)
    common = {f.REVISION: 1, f.STATUS: "FAILURE", f.METADATA: {}}
    at = writes.NOW
    tasks.insert_many(
        {**common, f.ID: str(number), f.ERROR: {f.TYPE: "Rare" if number % 100 == 0 else "Common"}}
        for number in range(1000)
    )
    tasks.update_many({}, [{"$set": {f.CREATED_AT: at}}])
    request = PageRequest(Order(), 20)
    list_ = {"$and": [request.query(), {f.ERROR_TYPE: {"$in": ["Rare"]}}]}
    assert _examined(tasks.find(list_).sort(request.sort()).limit(20).explain()) == 10
    pipeline = facets.by_field({f.STATUS: {"$in": ["FAILURE"]}}, FacetField.ERROR_TYPE, 20)
    command = {"aggregate": tasks.name, "pipeline": pipeline, "cursor": {}}
    plan = tasks.database.command("explain", command, verbosity="executionStats")
    assert _examined(plan) == 0
    assert [row["count"] for row in tasks.aggregate(pipeline)] == [990, 10]
