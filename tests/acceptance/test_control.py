"""Commands on existing tasks, on a real API and a real worker."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from redis import Redis
from support import CREATE, FIELDS, Api, wait_until

CANCEL = f"""
mutation ($id: ID!, $reason: String, $force: Boolean, $cascade: Boolean) {{
  cancelTask(id: $id, reason: $reason, force: $force, cascade: $cascade) {{
    task {{ {FIELDS} cancelRequestedAt }} userErrors {{ code message field }}
  }}
}}
"""
METADATA = """
mutation ($id: ID!, $operations: [MetadataOperation!]!, $expected: Int) {
  updateTaskMetadata(id: $id, operations: $operations, expectedRevision: $expected) {
    task { metadata revision } userErrors { code message field }
  }
}
"""
REPLAY = """
mutation ($id: ID!, $kwargs: JSON, $metadata: JSON) {
  replayTask(id: $id, kwargs: $kwargs, metadata: $metadata) {
    created task { id metadata kwargs args replayOf { id } } userErrors { code message field }
  }
}
"""
DELETE = "mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId userErrors { code message field } } }"


@pytest.fixture
def key() -> str:
    """A key of Redis that is the test's own."""
    return uuid.uuid4().hex


def _cancel(api: Api, task_id: str, **how: Any) -> dict[str, Any]:
    payload: dict[str, Any] = api.data(CANCEL, id=task_id, **how)["cancelTask"]
    return payload


def _running(api: Api, redis: Redis, name: str, key: str, **rest: Any) -> str:
    task_id = api.create(f"task_modules.{name}", args=[key], **rest)
    assert redis.blpop([f"{key}:started"], timeout=20)
    wait_until(lambda: api.task(task_id)["status"] == "STARTED")
    return task_id


def _codes(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


def test_a_running_function_is_stopped_at_its_next_report(api: Api, redis: Redis, key: str) -> None:
    """The function gets an exception, may clean up, and its task is REVOKED for the reason that was given."""
    task_id = _running(api, redis, "cancellable", key)
    payload = _cancel(api, task_id, reason="no longer needed")
    assert payload["userErrors"] == []
    assert payload["task"]["cancelRequestedAt"] is not None
    task = api.finished(task_id)
    assert (task["status"], task["error"]["message"]) == ("REVOKED", "no longer needed")
    assert task["error"]["type"] == "TaskRevokedError"
    assert redis.blpop([f"{key}:cleaned"], timeout=5)


def test_a_function_that_returns_all_the_same_is_a_success(api: Api, redis: Redis, key: str) -> None:
    """A function that returns a result despite a cancellation is a success, and its result is kept."""
    task_id = _running(api, redis, "polite", key)
    assert _cancel(api, task_id)["userErrors"] == []
    task = api.finished(task_id)
    assert (task["status"], task["result"]) == ("SUCCESS", "half of it")


def test_force_ends_a_function_that_does_not_look(api: Api, redis: Redis, key: str) -> None:
    """A function that never asks is ended with its process, is not run again, and the worker goes on."""
    task_id = _running(api, redis, "wait_for_key", key)
    assert _cancel(api, task_id, reason="now", force=True)["userErrors"] == []
    task = api.finished(task_id)
    assert (task["status"], task["error"]["message"], task["attempts"]) == ("REVOKED", "now", 1)
    assert api.finished(api.create("task_modules.add", args=[1]))["result"] == 2


def test_force_comes_after_asking(api: Api, redis: Redis, key: str) -> None:
    """A function that was asked in vain can still be ended by force."""
    task_id = _running(api, redis, "wait_for_key", key)
    assert _cancel(api, task_id)["userErrors"] == []
    assert _cancel(api, task_id, reason="asked twice")["userErrors"] == []
    assert api.task(task_id)["status"] == "STARTED"
    assert _cancel(api, task_id, force=True)["userErrors"] == []
    assert api.finished(task_id)["status"] == "REVOKED"


def test_a_task_that_waits_is_ended_at_once(api: Api) -> None:
    """SCHEDULED becomes REVOKED by the call itself, and an ended task cannot be cancelled again."""
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    payload = _cancel(api, task_id, reason="changed my mind")
    assert (payload["task"]["status"], payload["task"]["error"]["message"]) == ("REVOKED", "changed my mind")
    late = _cancel(api, task_id)
    assert (_codes(late), late["task"]["status"]) == (["ALREADY_FINAL"], "REVOKED")
    assert _codes(_cancel(api, "nope")) == ["NOT_FOUND"]
    assert _codes(_cancel(api, task_id, reason="x" * 1001)) == ["INVALID_INPUT"]


def test_a_retry_far_ahead_is_ended_too(api: Api, redis: Redis, key: str) -> None:
    """A task that is cancelled before or after its function asked for a retry does not run again."""
    before = _running(api, redis, "stubborn", key)
    assert _cancel(api, before)["userErrors"] == []
    redis.lpush(key, 1)
    assert api.finished(before)["status"] == "REVOKED"
    after = _running(api, redis, "stubborn", key)
    redis.lpush(key, 1)
    wait_until(lambda: api.task(after)["status"] == "RETRY")
    assert _cancel(api, after)["task"]["status"] == "REVOKED"
    assert [api.task(task_id)["attempts"] for task_id in (before, after)] == [1, 1]


def test_cascade_takes_the_children_along(api: Api, redis: Redis, key: str) -> None:
    """All that a task has sent ends with it."""
    task_id = api.create("task_modules.has_children", args=[key])
    children: list[str] = []
    while len(children) < 3:
        found = redis.blpop([f"{key}:started"], timeout=20)
        assert found
        children.append(str(found[1]))
    wait_until(lambda: api.task(task_id)["status"] == "STARTED")
    assert _cancel(api, task_id, force=True, cascade=True)["userErrors"] == []
    assert {api.task(child)["status"] for child in children} == {"REVOKED"}
    assert api.finished(task_id)["status"] == "REVOKED"


def test_cascade_can_be_repeated(api: Api) -> None:
    """A call for a task that has ended cancels its unfinished descendants, and still reports that it has ended."""
    parent = api.create("task_modules.add", args=[1])
    api.finished(parent)
    child = api.create("task_modules.add", args=[1], delaySeconds=3600, parentId=parent)
    grandchild = api.create("task_modules.add", args=[1], delaySeconds=3600, parentId=child)
    assert _codes(_cancel(api, child)) == []
    assert _codes(_cancel(api, parent, cascade=True)) == ["ALREADY_FINAL"]
    assert api.task(grandchild)["status"] == "REVOKED"
    assert _codes(_cancel(api, "\ud800", cascade=True)) == ["NOT_FOUND"]


def test_metadata_is_changed_by_path(api: Api) -> None:
    """Set, unset, increment and append, all or none, on a final task too; each change raises the revision by one."""
    task_id = api.create("task_modules.add", args=[1], metadata={"a.b": {"n": 1}, "list": [1], "old": 1})
    done = api.finished(task_id)

    def update(*operations: dict[str, Any], expected: int | None = None) -> dict[str, Any]:
        payload: dict[str, Any] = api.data(METADATA, id=task_id, operations=operations, expected=expected)[
            "updateTaskMetadata"
        ]
        return payload

    payload = update(
        {"op": "INCREMENT", "path": r"a\.b.n", "value": 2.5},
        {"op": "APPEND", "path": "list", "value": {"$x": None}},
        {"op": "UNSET", "path": "old"},
        {"op": "SET", "path": "new.deep.0", "value": "$name"},
    )
    assert payload["userErrors"] == []
    assert payload["task"] == {
        "metadata": {"a.b": {"n": 3.5}, "list": [1, {"$x": None}], "new": {"deep": {"0": "$name"}}},
        "revision": done["revision"] + 1,
    }
    refused = update({"op": "SET", "path": "list.0", "value": 5}, {"op": "INCREMENT", "path": "list", "value": 1})
    assert _codes(refused) == ["INVALID_INPUT"]
    assert refused["userErrors"][0]["field"] == ["operations", "1"]
    assert api.task(task_id)["metadata"] == payload["task"]["metadata"]
    assert _codes(update({"op": "SET", "path": "x", "value": 1}, expected=done["revision"])) == ["REVISION_CONFLICT"]
    assert _codes(update({"op": "SET", "path": "x", "value": 1}, expected=done["revision"] + 1)) == []
    assert _codes(update({"op": "SET", "path": "x", "value": "x" * 70_000})) == ["METADATA_TOO_LARGE"]
    assert api.task(task_id)["status"] == "SUCCESS"


def test_increments_at_the_same_time_all_count(api: Api) -> None:
    """Concurrent increments add up, for a change that meets another one is applied again."""
    task_id = api.create("task_modules.add", args=[1], metadata={"n": 0})
    api.finished(task_id)
    increment = [{"op": "INCREMENT", "path": "n", "value": 1}]
    callers = [
        threading.Thread(target=lambda: [api.data(METADATA, id=task_id, operations=increment) for _ in range(5)])
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert api.task(task_id)["metadata"] == {"n": 40}


def test_a_function_reads_and_changes_its_own_metadata(api: Api, redis: Redis, key: str) -> None:
    """Concurrent changes of a caller are kept, and the changes of the function are announced and stored."""
    task_id = _running(api, redis, "keeps_notes", key, metadata={"from": "caller"})
    assert api.task(task_id)["metadata"] == {
        "from": "caller",
        "stage": {"name": "load"},
        "when": "1.5",
        "rows": 10,
    }
    api.data(METADATA, id=task_id, operations=[{"op": "SET", "path": "note", "value": "meanwhile"}])
    redis.lpush(key, 1)
    task = api.finished(task_id)
    metadata = {"from": "caller", "stage": {"name": "load"}, "rows": 15, "note": "meanwhile", "files": ["a.csv"]}
    assert task["result"] == {"before": {"from": "caller"}, "after": metadata}
    assert task["metadata"] == metadata


def test_a_task_is_replayed(api: Api) -> None:
    """A replay has the input and the metadata of the first task, unless overridden, and is linked to it."""
    metadata = {
        "customer": "c-42",
        "at": 1_792_800_000_000,
    }  # PyMongo reads an integer beyond 32 bits as one of its own
    first = api.create("task_modules.add", args=[1], kwargs={"y": 2}, metadata=metadata)
    api.finished(first)
    same = api.data(REPLAY, id=first)["replayTask"]
    assert (same["created"], same["task"]["replayOf"]) == (True, {"id": first})
    assert (same["task"]["args"], same["task"]["kwargs"]) == ([1], {"y": 2})
    assert same["task"]["metadata"] == metadata
    assert api.finished(same["task"]["id"])["result"] == 3
    other = api.data(REPLAY, id=first, kwargs={"y": 5}, metadata={})["replayTask"]
    assert (api.finished(other["task"]["id"])["result"], other["task"]["metadata"]) == (6, {})
    wrong = api.data(REPLAY, id=first, kwargs={"z": 5})["replayTask"]
    assert (_codes(wrong), wrong["task"]) == (["INVALID_INPUT"], None)
    assert _codes(api.data(REPLAY, id="nope")["replayTask"]) == ["NOT_FOUND"]


def test_a_deleted_task_is_gone(api: Api, redis: Redis, key: str) -> None:
    """Only a task that has ended can be deleted; then it is unknown, as if it had never been."""
    task_id = _running(api, redis, "wait_for_key", key)
    refused = api.data(DELETE, id=task_id)["deleteTask"]
    assert (_codes(refused), refused["deletedTaskId"]) == (["INVALID_INPUT"], None)
    redis.lpush(key, 1)
    api.finished(task_id)
    assert api.data(DELETE, id=task_id)["deleteTask"] == {"deletedTaskId": task_id, "userErrors": []}
    assert api.task(task_id) is None
    assert _codes(api.data(DELETE, id=task_id)["deleteTask"]) == ["NOT_FOUND"]


def test_a_text_that_utf8_cannot_hold_names_no_task(api: Api) -> None:
    """A lone surrogate where an id, a key or a reason stands is refused, not an error of the server."""
    for query in (CANCEL, REPLAY, DELETE):
        (payload,) = api.data(query, id="\ud800").values()
        assert _codes(payload) == ["NOT_FOUND"]
    (payload,) = api.data(METADATA, id="\ud800", operations=[]).values()
    assert _codes(payload) == ["NOT_FOUND"]
    (payload,) = api.data(CREATE, input={"name": "task_modules.add", "args": [1], "idempotencyKey": "\ud800"}).values()
    assert _codes(payload) == ["INVALID_INPUT"]
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    assert _cancel(api, task_id, reason="\ud800")["task"]["status"] == "REVOKED"
