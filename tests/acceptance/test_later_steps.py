"""Later steps of chains and the bodies of chords: recorded when the first part is sent, and ended with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from programs import Run
from pymongo import MongoClient
from redis import Redis
from support import Api, wait_until

from gql_api.record import canvas, fields
from gql_api.record.reads import Document

_CHAIN = """
first = wait_for_key.si({key!r})
second = add.si(1).set(headers={{"metadata": {{"tag": {key!r}}}}})
result = chain(first, second, group(add.s(1), chain(add.s(2), add.s(3))), total.s(), add.s(100))()
body = result.parent
members, second = body.parent.results, body.parent.parent
print(json.dumps({{
    "first": second.parent.id, "second": second.id, "members": [each.id for each in members], "body": body.id,
    "last": result.id,
}}))
"""
_PARENT = "query ($id: ID!) { task(id: $id) { parent { id } } }"
_CANCEL = 'mutation ($id: ID!) { cancelTask(id: $id, reason: "enough") { userErrors { code } } }'
_MOVE = """mutation ($id: ID!) { rescheduleTask(id: $id, scheduledFor: "2030-01-01T00:00:00Z") {
  userErrors { code message } } }"""
_METADATA = """mutation ($id: ID!) { updateTaskMetadata(id: $id, operations: [{op: SET, path: "note", value: 1}]) {
  userErrors { code } } }"""

_CANVASES = [
    "chord([add.s(n) for n in range(4)], total.s())",
    "chord([add.s(1), chain(add.s(1), add.s(1))], total.s())",
    "chord([chord([add.s(1), add.s(2)], total.s()), add.s(3)], echo.s())",
    "chain(add.s(1), chord([ignored.si(), add.s(1)], echo.s()), echo.s())",
    "chord([add.s(1), add.s(2)], chain(total.s(), add.s(1)))",
    "chord([add.s(1), add.s(2)], group(total.s(), chain(echo.s(), echo.s())))",
    "chain(add.s(1), chord([add.s(1), group(add.s(5), add.s(6))], chain(total.s(), add.s(9))), add.s(1))",
    "chain(add.s(1), chord([add.s(1)], group(echo.s(), chain(echo.s(), echo.s()))), echo.s())",
    "chain(replaced.s(1), echo.s(), echo.s())",
    "chord([replaced.s(1), joined_by.s(5)], echo.s())",
    "group(chain(add.s(1), add.s(2)), chain(add.s(1), group(add.s(2), add.s(3))))",
    "chain(add.s(1), chain(add.s(1), chain(add.s(1), add.s(1))), echo.map([[1]]))",
]
# What begins with a step that does not end well.
_BEGUN_BY = [
    "chain({0}, add.s(1), group(add.s(1), chain(add.s(2), add.s(3))), total.s(), add.s(1))",
    "chain({0}, chord([add.s(1), chain(echo.s(), echo.s())], chord([echo.s(), chain(echo.s(), echo.s())], echo.s())))",
    "chord([{0}, add.si(1)], chord([echo.s(), chain(echo.s(), echo.s())], chain(echo.s(), echo.s())))",
    "chord([{0}, add.si(1)], group(echo.s(), chain(echo.s(), echo.s())))",
    "chain(chord([{0}, add.si(1)], chain(echo.s(), echo.s())), group(echo.s(), chain(echo.s(), echo.s())))",
]
_FIRSTS = ["fail.si('broken')", "add.si(1).set(expires=-1)", "tells_failure_by_hand.si()", "skips.si()"]


@pytest.fixture
def waiting(environment: dict[str, str]) -> Iterator[Callable[[], set[str]]]:
    """Return a function that returns the ids of all steps that were not sent yet."""
    with MongoClient[Document](environment["MONGODB_URL"]) as client:
        tasks = client[environment["MONGODB_DATABASE"]][fields.TASKS]
        yield lambda: {document["_id"] for document in tasks.find(canvas.WAITING_STEP)}


@pytest.fixture
def key(redis: Redis) -> Iterator[str]:
    """What the first step of a chain waits for."""
    key = uuid.uuid4().hex
    yield key
    redis.delete(key)


def _status(api: Api, task_id: str) -> str:
    status: str = api.task(task_id)["status"]
    return status


def _end(api: Api, task_id: str) -> tuple[str, str]:
    task = api.finished(task_id)
    return task["status"], task["error"]["message"]


def test_the_steps_of_a_chain_are_found_before_they_are_sent(
    api: Api, run: Run, redis: Redis, key: str, waiting: Callable[[], set[str]]
) -> None:
    """All are QUEUED and know their parents, and keep their ids and their metadata when they are sent."""
    before = waiting()
    ids = run(_CHAIN.format(key=key))
    wait_until(lambda: _status(api, ids["first"]) == "STARTED")
    later = [ids["second"], *ids["members"], ids["body"], ids["last"]]
    for task_id in later:
        task = api.task(task_id)
        assert (task["status"], task["attempts"], task["revision"]) == ("QUEUED", 0, 1)
        assert [entry["message"] for entry in task["history"]] == ["waits for an earlier step"]
    # The first step of the inner chain is the sixth.
    assert len(waiting() - before) == len(later) + 1
    refused = api.data(_MOVE, id=ids["last"])["rescheduleTask"]["userErrors"]
    assert [error["code"] for error in refused] == ["INVALID_INPUT"]
    assert "tasks before it" in refused[0]["message"]
    assert api.data(_METADATA, id=ids["second"])["updateTaskMetadata"]["userErrors"] == []

    senders = {ids["second"]: "first", ids["members"][0]: "second", ids["body"]: "second", ids["last"]: "body"}
    for _ in range(2):
        for task_id, sender in senders.items():
            assert api.data(_PARENT, id=task_id)["task"]["parent"] == {"id": ids[sender]}
        redis.lpush(key, "go")
        assert api.finished(ids["last"])["result"] == 3 + 7 + 100
    assert not waiting() - before
    second, body = api.finished(ids["second"]), api.finished(ids["body"])
    assert second["metadata"] == {"tag": key, "note": 1}
    assert [entry["status"] for entry in body["history"]] == ["QUEUED", "QUEUED", "STARTED", "SUCCESS"]
    assert body["args"] == [[3, 7]]


def test_every_recorded_step_runs(run: Run, waiting: Callable[[], set[str]]) -> None:
    """No canvas leaves behind a step that waits, whatever Celery makes of it, also when its last step fails."""
    before = waiting()
    run(f"""
sent = []
for canvas in {_CANVASES!r}:
    sent.append(eval(canvas).apply_async())
    sent.append(chain(eval(canvas), fail.si("broken"), echo.si(), group(echo.si(), echo.si())).apply_async())
report([repr(each.get(timeout=40, propagate=False)) for each in sent])
""")
    wait_until(lambda: not waiting() - before)


def test_every_recorded_step_ends_with_a_failed_one(run: Run, waiting: Callable[[], set[str]]) -> None:
    """A step that fails, expires, or raises Ignore leaves no step behind that waits."""
    before = waiting()
    run(f"""
for canvas in {_BEGUN_BY!r}:
    for first in {_FIRSTS!r}:
        eval(canvas.format(first)).apply_async()
report(None)
""")
    wait_until(lambda: not waiting() - before)


def test_a_cancelled_later_step_stops_its_chain(
    api: Api, run: Run, redis: Redis, key: str, waiting: Callable[[], set[str]]
) -> None:
    """What follows it is REVOKED at once, whatever it is; the steps before it run."""
    before = waiting()
    ids = run(_CHAIN.format(key=key))
    assert api.data(_CANCEL, id=ids["second"])["cancelTask"]["userErrors"] == []
    for task_id in [ids["second"], *ids["members"], ids["body"], ids["last"]]:
        assert _end(api, task_id) == ("REVOKED", "enough")
    assert not waiting() - before
    assert _status(api, ids["first"]) != "REVOKED"
    redis.lpush(key, "go")
    assert api.finished(ids["first"])["status"] == "SUCCESS"
    assert api.task(ids["second"])["attempts"] == 0


def test_a_cancelled_member_of_a_later_chord_fails_its_body(api: Api, run: Run, redis: Redis, key: str) -> None:
    """The other members run when their turn comes; the body and the step after it fail."""
    ids = run(_CHAIN.format(key=key))
    assert api.data(_CANCEL, id=ids["members"][0])["cancelTask"]["userErrors"] == []
    assert _end(api, ids["members"][0]) == ("REVOKED", "enough")
    assert {_status(api, ids[name]) for name in ("second", "body", "last")} == {"QUEUED"}
    redis.lpush(key, "go")
    for name in ("body", "last"):
        status, message = _end(api, ids[name])
        assert (status, ids["members"][0] in message) == ("FAILURE", True)
    assert api.finished(ids["members"][1])["result"] == 7


def test_a_function_that_ends_its_chain_ends_the_later_steps(api: Api, run: Run, redis: Redis, key: str) -> None:
    """It sets ``request.chain`` to None, as Celery programs do, and is a SUCCESS."""
    first, *later = run(f"""
result = chain(ends_chain.si({key!r}), add.si(1), add.s(2))()
report([result.parent.parent.id, result.parent.id, result.id])
""")
    assert {_status(api, task_id) for task_id in later} == {"QUEUED"}
    redis.lpush(key, "go")
    assert api.finished(first)["result"] == "enough"
    for task_id in later:
        assert _end(api, task_id) == ("REVOKED", f"task {first} has ended its chain")
