"""Chains and chords of which a task is cancelled, expires or is to be deleted before the rest has run."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from programs import Run
from redis import Redis
from support import Api, wait_until

_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id, reason: %s) { task { status } userErrors { code } } }"
_DELETE = "mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId userErrors { code message } } }"
_DELETE_ALL = """mutation ($filter: TaskFilter!) {
  deleteTasks(filter: $filter, dryRun: false) { matched changed userErrors { code } } }"""
_REASON = "no longer needed"


def _cancel(api: Api, task_id: str) -> None:
    payload = api.data(_CANCEL % json.dumps(_REASON), id=task_id)["cancelTask"]
    assert payload["userErrors"] == []


def _delete(api: Api, task_id: str) -> Any:
    return api.data(_DELETE, id=task_id)["deleteTask"]


def _end(api: Api, task_id: str) -> tuple[str, str, str]:
    """Wait until a task, which may have no record yet, has ended without a result."""
    wait_until(lambda: api.task(task_id), why=f"{task_id} to be recorded")
    task = api.finished(task_id)
    return task["status"], task["error"]["type"], task["error"]["message"]


@pytest.mark.parametrize("how", ["cancelled", "expired", "cancelled while it runs"])
def test_the_rest_of_a_chain_ends_with_its_first_step(api: Api, run: Run, redis: Redis, how: str) -> None:
    """Later steps are recorded and REVOKED for the same reason, and a program that waits for the last one goes on."""
    key = str(uuid.uuid4())
    first = {
        "cancelled": "add.si(1).set(countdown=600)",
        "expired": "add.si(1).set(countdown=600, expires=0.3)",
        "cancelled while it runs": f"cancellable.si({key!r})",
    }[how]
    first_id, *later = run(f"report(ids(chain({first}, add.si(2), chain(add.si(3), add.si(4)))()))")
    reason = "expired" if how == "expired" else _REASON
    if how == "cancelled while it runs":
        wait_until(lambda: api.task(first_id)["status"] == "STARTED")
    if how != "expired":
        _cancel(api, first_id)
    for task_id in [first_id, *later]:
        assert _end(api, task_id) == ("REVOKED", "TaskRevokedError", reason)
    wait = f"""
try:
    app.AsyncResult({later[-1]!r}).get(timeout=30, interval=0.02)
except TaskRevokedError as error:
    report(str(error))
"""
    assert run(wait) == reason
    assert redis.get(key) is None or how == "cancelled while it runs"


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_the_body_of_a_chord_fails_with_a_member_that_never_runs(api: Api, run: Run, how: str) -> None:
    """A member that is cancelled or expires counts as one that failed; the steps after the body end with it."""
    expires = ", expires=0.3" if how == "expired" else ""
    member_id, body_id, last_id = run(f"""
waiting = add.si(1).set(countdown=600{expires})
result = chain(chord([add.si(1), waiting], total.s()), add.s(1))()
report([result.parent.parent.results[1].id, result.parent.id, result.id])
""")
    if how == "cancelled":
        _cancel(api, member_id)
    for task_id in (body_id, last_id):
        status, error, message = _end(api, task_id)
        assert (status, error) == ("FAILURE", "ChordError")
        assert member_id in message


def test_members_of_an_unfinished_chord_are_kept(api: Api, run: Run) -> None:
    """A member that has ended is not deleted, alone or with others, before the chord is done."""
    tag = str(uuid.uuid4())
    member_id, waiting_id, body_id = run(f"""
member = add.si(1).set(headers={{"metadata": {{"tag": {tag!r}}}}})
result = chord([member, add.si(2).set(countdown=600)], total.s())()
report([*(each.id for each in result.parent.results), result.id])
""")
    api.finished(member_id)
    refused = _delete(api, member_id)
    assert (refused["deletedTaskId"], [error["code"] for error in refused["userErrors"]]) == (None, ["INVALID_INPUT"])
    assert "cancel" in refused["userErrors"][0]["message"]
    mine = {"metadata": [{"path": "tag", "eq": tag}]}

    def delete_all() -> Any:
        payload = api.data(_DELETE_ALL, filter=mine)["deleteTasks"]
        return payload if payload["matched"] else None

    # A filter finds what a majority has; that a task has ended is there a moment after it can be read by its id.
    assert wait_until(delete_all) == {"matched": 1, "changed": 0, "userErrors": []}
    _cancel(api, waiting_id)
    assert _end(api, body_id)[0] == "FAILURE"
    wait_until(lambda: _delete(api, member_id)["deletedTaskId"] == member_id)
