from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from redis import Redis
from strategies import OBJECTS
from support import CREATE, Api, wait_until

from gql_api import values


def _is_accepted(value: dict[str, Any]) -> bool:
    return values.check(value, (), max_bytes=10_000) == []


METADATA: dict[str, Any] = {"customer": {"tier.name": "$gold", "": []}, "n": 2**53 + 1, "x": None, "f": 1.0, "ü": "\0"}


def test_a_task_runs_and_keeps_its_metadata(api: Api) -> None:
    """From createTask to the result: status, arguments, times and metadata are what they should be."""
    id_ = api.create("task_modules.add", args=[2], kwargs={"y": 3}, metadata=METADATA)
    task = api.finished(id_)
    assert (task["status"], task["result"], task["error"]) == ("SUCCESS", 5, None)
    assert (task["args"], task["kwargs"], task["metadata"]) == ([2], {"y": 3}, METADATA)
    assert (task["attempts"], task["queue"], task["priority"]) == (1, "celery", 0)
    assert task["worker"].startswith("celery@")
    times = [datetime.fromisoformat(task[name]) for name in ("createdAt", "startedAt", "finishedAt", "updatedAt")]
    assert times == sorted(times)
    assert all(time.tzinfo for time in times)
    assert [(entry["revision"], entry["status"]) for entry in task["history"]] == [
        (1, "QUEUED"),
        (2, "STARTED"),
        (3, "SUCCESS"),
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(metadata=OBJECTS.filter(_is_accepted), kwargs=OBJECTS.filter(_is_accepted))
def test_every_accepted_value_comes_back_unchanged(api: Api, metadata: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Any JSON within the limits is given back as it was: by task, list, subscription and worker."""
    id_ = api.create("task_modules.echo", kwargs=kwargs, metadata=metadata)
    subscription = f'subscription {{ taskUpdated(id: "{id_}") {{ metadata kwargs isFinal result }} }}'
    seen = [update["taskUpdated"] for update in api.watch(subscription)]
    for update in (*seen, api.task(id_)):
        assert json.dumps([update["metadata"], update["kwargs"]]) == json.dumps([metadata, kwargs])
    assert json.dumps(seen[-1]["result"]) == json.dumps([[], kwargs])
    nodes = api.data("{ tasks(first: 20) { nodes { id metadata } } }")["tasks"]["nodes"]
    (listed,) = [node["metadata"] for node in nodes if node["id"] == id_]
    assert json.dumps(listed) == json.dumps(metadata)


def test_metadata_is_untouched_in_every_state(api: Api, redis: Redis) -> None:
    """Queued, started, in progress, in a state of its own, retried and failed: the metadata stays the caller's."""
    key = uuid.uuid4().hex
    id_ = api.create("task_modules.idiom", args=[key], metadata=METADATA)
    assert api.task(id_)["metadata"] == METADATA
    wait_until(lambda: api.task(id_)["progress"])
    progress = api.task(id_)["progress"]
    assert progress == {
        "current": 1.0, "total": 4.0, "percent": 25.0, "message": "quarter", "data": {"extra": ["$x.y"]}
    }  # fmt: skip
    assert api.task(id_)["metadata"] == METADATA
    redis.lpush(key, 1)
    wait_until(lambda: api.task(id_)["history"][-1]["message"] == "UPLOADING")
    assert api.task(id_)["status"] == "STARTED"
    assert api.task(id_)["metadata"] == METADATA
    redis.lpush(key, 1)
    assert api.finished(id_)["metadata"] == METADATA
    for name, kwargs in (("task_modules.retries", {"succeed_at": 9}), ("task_modules.fail", {"message": "no"})):
        task = api.finished(api.create(name, kwargs=kwargs, metadata=METADATA))
        assert (task["status"], task["metadata"]) == ("FAILURE", METADATA)


def test_a_failure_tells_why(api: Api) -> None:
    """The error of a failed task has the exception's type, text and traceback."""
    task = api.finished(api.create("task_modules.fail", args=["out of $paper"]))
    assert (task["status"], task["result"]) == ("FAILURE", None)
    assert (task["error"]["type"], task["error"]["message"]) == ("ValueError", "out of $paper")
    assert "raise ValueError(message)" in task["error"]["traceback"]
    assert task["history"][-1]["message"] == "out of $paper"


def test_a_retried_task_counts_its_attempts(api: Api) -> None:
    """Each attempt is counted and in the history, and the error of an earlier one is gone with success."""
    task = api.finished(api.create("task_modules.retries", args=[2]))
    assert (task["status"], task["result"], task["attempts"], task["error"]) == ("SUCCESS", 2, 3, None)
    # On a busy machine, recovery may send a retry once more, which queues the task.
    first, *later = [entry["status"] for entry in task["history"]]
    statuses = [first, *(status for status in later if status != "QUEUED")]
    assert statuses == ["QUEUED", "STARTED", "RETRY", "STARTED", "RETRY", "STARTED", "SUCCESS"]
    assert task["history"][2]["message"] == "attempt 0"


def test_the_last_progress_report_is_kept(api: Api) -> None:
    """Of a thousand reports in a moment few are stored, the last one always."""
    task = api.finished(api.create("task_modules.burst", args=[1000]))
    assert task["progress"]["current"] == task["progress"]["total"] == 1000.0
    assert task["revision"] < 50


def test_progress_never_decides_the_outcome(api: Api) -> None:
    """Whatever a task function reports, what it returns is its result."""
    task = api.finished(api.create("task_modules.odd_progress"))
    assert (task["status"], task["result"]) == ("SUCCESS", "fine")


def test_texts_that_are_no_unicode_are_refused_or_unknown(api: Api) -> None:
    """A lone surrogate, which JSON can spell and nothing can store, is an unknown id or a wrong value."""
    lone = "\ud800"
    for query in ("query ($x: ID!) { task(id: $x) { id } }", "query ($x: ID!) { node(id: $x) { id } }"):
        assert list(api.data(query, x=lone).values()) == [None]
    given = {"name": "task_modules.add", "args": [1], "metadata": {lone: {lone: lone}}}
    errors = api.data(CREATE, input=given)["createTask"]["userErrors"]
    assert {error["code"] for error in errors} == {"INVALID_INPUT"}
    assert errors[0]["field"] == ["input", "metadata"]
    errors = api.data(CREATE, input={"name": lone})["createTask"]["userErrors"]
    assert errors[0]["code"] == "UNKNOWN_TASK_NAME"


def test_typed_results_are_json_to_clients(api: Api) -> None:
    """What only Celery's JSON knows is shown as text, and big integers are not rounded."""
    result = api.finished(api.create("task_modules.typed"))["result"]
    assert result["huge"] == 2**70
    assert result["decimal"] == "1.50"
    assert result["$dollar.dot"] == {"": 1}


@pytest.mark.parametrize(("fails", "status"), [(False, "SUCCESS"), (True, "FAILURE")])
def test_ignore_result_drops_the_result_and_not_the_state(api: Api, fails: bool, status: str) -> None:
    """A task whose result nobody wants is still started and finished."""
    task = api.finished(api.create("task_modules.ignored", args=[fails]))
    assert (task["status"], task["result"]) == (status, None)
    assert [entry["status"] for entry in task["history"]] == ["QUEUED", "STARTED", status]


def test_a_failure_told_by_hand_is_a_failure(api: Api) -> None:
    """Celery's idiom of update_state(FAILURE) with Ignore ends the task."""
    task = api.finished(api.create("task_modules.tells_failure_by_hand"))
    assert task["status"] == "FAILURE"
    assert "by hand" in task["error"]["message"]


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [("unserializable", [], "not JSON serializable"), ("large", [17_000_000], "16 MiB")],
)
def test_a_result_that_cannot_be_kept_is_a_failure(api: Api, name: str, args: list[Any], words: str) -> None:
    """What cannot be stored ends the task with a reason, and the worker goes on."""
    task = api.finished(api.create(f"task_modules.{name}", args=args))
    assert task["status"] == "FAILURE"
    assert words in task["error"]["message"]


def test_definitions_tell_what_can_be_created(api: Api) -> None:
    """The bundled task and the user's own are announced with signature and docstring; Celery's internals are not."""
    fields = "name description inputSchema queue maxRetries timeLimit"
    definitions = api.data(f"{{ taskDefinitions {{ {fields} }} }}")["taskDefinitions"]
    by_name = {definition["name"]: definition for definition in definitions}
    assert not [name for name in by_name if name.startswith("celery.")]
    bundled = by_name["long_running_task"]
    assert bundled["description"].startswith("Work for some seconds")
    assert bundled["inputSchema"] == {
        "type": "object",
        "properties": {"task_input": {}, "seconds": {"type": "number", "default": 30}},
        "additionalProperties": False,
        "required": ["task_input"],
    }
    assert by_name["task_modules.retries"]["maxRetries"] == 2
    # A worker on a busy machine may miss so many beats that it does not count.
    able = "{ taskDefinitions { name workers } }"
    wait_until(lambda: {"name": "long_running_task", "workers": 1} in api.data(able)["taskDefinitions"])


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"name": "nope"}, "UNKNOWN_TASK_NAME", ["input", "name"]),
        ({"name": "celery.backend_cleanup"}, "UNKNOWN_TASK_NAME", ["input", "name"]),
        ({"name": "task_modules.add", "args": ["1"]}, "INVALID_INPUT", ["input", "args", "0"]),
        ({"name": "task_modules.add", "args": {"x": 1}}, "INVALID_INPUT", ["input", "args"]),
        ({"name": "task_modules.add", "kwargs": {"z": 1, "x": 1}}, "INVALID_INPUT", ["input", "kwargs", "z"]),
        ({"name": "task_modules.add", "args": [1], "metadata": [1]}, "INVALID_INPUT", ["input", "metadata"]),
        (
            {"name": "task_modules.add", "args": [1], "metadata": {"a": 2**64}},
            "INVALID_INPUT",
            ["input", "metadata", "a"],
        ),
        (
            {"name": "task_modules.add", "args": [1], "metadata": {"a": "x" * 70_000}},
            "METADATA_TOO_LARGE",
            ["input", "metadata"],
        ),
    ],
)
def test_a_bad_call_fails_at_once_and_names_the_field(
    api: Api, given: dict[str, Any], code: str, field: list[str]
) -> None:
    """What cannot succeed is refused with a code and the path in the input, and creates nothing."""
    payload = api.data(CREATE, input=given)["createTask"]
    assert (payload["created"], payload["task"]) == (False, None)
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"]


def test_tasks_are_paged_newest_first(api: Api) -> None:
    """Following endCursor reaches every task, newest first, and says when there is no more."""
    ids = [api.create("task_modules.add", args=[n]) for n in range(7)]
    # The tests of this file share a database: a few pages show all tasks, however many there are.
    size = 3 + api.data("{ tasks(first: 1) { totalCount } }")["tasks"]["totalCount"] // 16
    query = """query ($after: String, $first: Int) { tasks(first: $first, after: $after) {
      edges { cursor node { id } } nodes { id createdAt } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    } }"""
    seen: list[str] = []
    times: list[str] = []
    page = api.data(query, first=size)["tasks"]
    assert page["pageInfo"]["hasPreviousPage"] is False
    while True:
        assert [edge["node"]["id"] for edge in page["edges"]] == [node["id"] for node in page["nodes"]]
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        seen += [node["id"] for node in page["nodes"]]
        times += [node["createdAt"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        page = api.data(query, first=size, after=page["pageInfo"]["endCursor"])["tasks"]
        assert page["pageInfo"]["hasPreviousPage"] is True
    assert [id_ for id_ in seen if id_ in ids] == list(reversed(ids))
    assert len(seen) == len(set(seen))
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("arguments", ["first: 0", "first: 501", "first: -1", 'after: "x"', 'after: ""'])
def test_a_bad_page_is_a_clear_error(api: Api, arguments: str) -> None:
    """Limits and cursors that cannot be are the client's error, in words."""
    body = api.post(f"{{ tasks({arguments}) {{ nodes {{ id }} }} }}")
    (error,) = body["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert arguments.split(":", maxsplit=1)[0] in error["message"]


def test_unknown_ids_are_null(api: Api) -> None:
    """An id that was never created is unknown, not pending."""
    assert api.data('{ task(id: "nope") { id } node(id: "nope") { id } }') == {"task": None, "node": None}


def test_a_node_is_its_task(api: Api) -> None:
    """Relay's node finds tasks by Celery's raw ids."""
    id_ = api.create("task_modules.add", args=[1])
    node = api.data("query ($id: ID!) { node(id: $id) { __typename id ... on Task { name } } }", id=id_)["node"]
    assert node == {"__typename": "Task", "id": id_, "name": "task_modules.add"}


def test_no_value_of_a_task_is_in_the_apis_log(api: Api) -> None:
    """Arguments and metadata may be secret: the API's log has neither."""
    canary = f"canary-{uuid.uuid4().hex}"
    api.finished(api.create("task_modules.echo", args=[canary], kwargs={"k": canary}, metadata={"m": canary}))
    api.post(CREATE, input={"name": "task_modules.add", "args": [canary]})
    assert canary not in api.log.read_text()
