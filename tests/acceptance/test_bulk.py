"""Commands on all tasks that match a filter, on a real API and a real worker."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from redis import Redis
from support import Api, wait_until

_BULK = """
mutation ($filter: TaskFilter!, $dryRun: Boolean) {
  %s(filter: $filter, dryRun: $dryRun) { matched changed userErrors { code message field } }
}
"""


@pytest.fixture
def key() -> str:
    """A key of Redis, and a mark in the metadata, that are the test's own."""
    return uuid.uuid4().hex


def _run(api: Api, mutation: str, filter_: dict[str, Any], **arguments: Any) -> tuple[int, int]:
    payload = api.data(_BULK % mutation, filter=filter_, **arguments)[mutation]
    assert payload["userErrors"] == []
    return payload["matched"], payload["changed"]


def _marked(key: str, **rest: Any) -> dict[str, Any]:
    return {"metadata": [{"path": "mark", "eq": key}], **rest}


def _list(api: Api, filter_: dict[str, Any]) -> list[dict[str, Any]]:
    query = """
    query ($filter: TaskFilter) {
      tasks(filter: $filter, first: 100) { nodes { id status isFinal replayOf { id } cancelRequestedAt } }
    }
    """
    nodes: list[dict[str, Any]] = api.data(query, filter=filter_)["tasks"]["nodes"]
    return nodes


def _end(api: Api, *ids: str) -> None:
    """Wait until tasks have ended for lists too, which may be a flush of the journal behind reads by id."""

    def have_ended() -> bool:
        nodes = _list(api, {"ids": [*ids]})
        return len(nodes) == len(ids) and all(node["isFinal"] for node in nodes)

    wait_until(have_ended, 30, "the tasks to end")


def test_many_are_cancelled_and_others_stay(api: Api, redis: Redis, key: str) -> None:
    """A dry run only counts; then what waits ends at once, what runs is asked to, and a second call finds none."""
    running = api.create("task_modules.cancellable", args=[key], metadata={"mark": key})
    assert redis.blpop([f"{key}:started"], timeout=20)
    wait_until(lambda: api.task(running)["status"] == "STARTED")
    waiting = [api.create("task_modules.add", args=[1], metadata={"mark": key}, delaySeconds=3600) for _ in range(3)]
    other = api.create("task_modules.add", args=[1], metadata={"mark": "other"}, delaySeconds=3600)
    ended = api.create("task_modules.add", args=[1], metadata={"mark": key})
    _end(api, ended)

    assert _run(api, "cancelTasks", _marked(key)) == (4, 0)
    assert _run(api, "cancelTasks", _marked(key), dryRun=None) == (4, 0)
    assert {api.task(task_id)["status"] for task_id in waiting} == {"SCHEDULED"}
    assert _run(api, "cancelTasks", _marked(key), dryRun=False) == (4, 4)
    assert {api.task(task_id)["status"] for task_id in waiting} == {"REVOKED"}
    assert api.finished(running)["status"] == "REVOKED"
    assert _run(api, "cancelTasks", _marked(key), dryRun=False) == (0, 0)
    assert (api.task(ended)["status"], api.task(other)["status"]) == ("SUCCESS", "SCHEDULED")


def test_a_watcher_hears_of_a_cancel_of_many(api: Api, key: str) -> None:
    """Each task that was changed is announced."""
    task_id = api.create("task_modules.add", args=[1], metadata={"mark": key}, delaySeconds=3600)
    seen = []
    for data in api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ status }} }}'):
        seen.append(data["taskUpdated"]["status"])
        if len(seen) == 1:
            assert _run(api, "cancelTasks", _marked(key), dryRun=False) == (1, 1)
    assert seen == ["SCHEDULED", "REVOKED"]


def test_failed_tasks_are_replayed_once_each(api: Api, key: str) -> None:
    """Neither the call that creates replays nor the next one replays them, and tasks replayed singly are skipped."""
    failed = [api.create("task_modules.fail", args=["no"], metadata={"mark": key}) for _ in range(3)]
    for task_id in failed:
        api.finished(task_id)
    single = api.data("mutation ($id: ID!) { replayTask(id: $id) { task { id } } }", id=failed[0])["replayTask"]["task"]
    api.finished(single["id"])
    first = _marked(key, ids=failed)
    assert {node["id"] for node in _list(api, {**first, "isReplayed": False})} == {*failed[1:]}
    assert _run(api, "replayTasks", first, dryRun=False) == (2, 2)
    assert _list(api, {**first, "isReplayed": False}) == []
    assert {node["id"] for node in _list(api, {**first, "isReplayed": True})} == {*failed}
    assert _run(api, "replayTasks", first, dryRun=False) == (0, 0)
    replayed = [node["replayOf"]["id"] for node in _list(api, _marked(key)) if node["replayOf"] is not None]
    assert sorted(replayed) == sorted(failed)
    # Failed again, the replays are tasks like any other.
    wait_until(lambda: all(node["isFinal"] for node in _list(api, _marked(key))))
    assert _run(api, "replayTasks", _marked(key, statuses=["FAILURE"]), dryRun=True) == (3, 0)


def test_only_what_has_ended_is_deleted(api: Api, key: str) -> None:
    """A task that waits is not found by deleteTasks, and what is deleted is gone."""
    waiting = api.create("task_modules.add", args=[1], metadata={"mark": key}, delaySeconds=3600)
    ended = [api.create("task_modules.add", args=[1], metadata={"mark": key}) for _ in range(3)]
    _end(api, *ended)
    assert _run(api, "deleteTasks", _marked(key)) == (3, 0)
    assert _run(api, "deleteTasks", _marked(key), dryRun=False) == (3, 3)
    assert [node["id"] for node in _list(api, _marked(key))] == [waiting]
    assert _run(api, "deleteTasks", _marked(key), dryRun=False) == (0, 0)


@pytest.mark.parametrize("mutation", ["cancelTasks", "replayTasks", "deleteTasks"])
def test_a_filter_that_cannot_be_is_refused(api: Api, mutation: str) -> None:
    """The error says where in the filter it is, and nothing is changed."""
    filter_ = {"OR": [{"metadata": [{"path": "a", "eq": {"$ne": None}}]}]}
    payload = api.data(_BULK % mutation, filter=filter_, dryRun=False)[mutation]
    assert (payload["matched"], payload["changed"]) == (0, 0)
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["filter", "OR", "0", "metadata", "0", "eq"])


def test_an_empty_filter_finds_nothing_where_a_list_is_empty(api: Api) -> None:
    """No id, no task: a client whose list has run empty does not cancel everything."""
    assert _run(api, "cancelTasks", {"ids": []}, dryRun=False) == (0, 0)
    assert _run(api, "deleteTasks", {"OR": []}, dryRun=False) == (0, 0)
