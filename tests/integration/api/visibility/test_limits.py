"""Limits and errors of answers depend on visible tasks only."""

from __future__ import annotations

import json
from typing import Any

from front import Front
from owners import ALICE, BOB
from pymongo.collection import Collection

from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.record.reads import Document

_UNKNOWN = "unknown"
_ALL = "{ tasks { nodes { id kwargs parent { id kwargs } children { nodes { id kwargs } } } } }"
_ONE = "query ($id: ID!) { task(id: $id) { id status kwargs } }"
_CANCEL = "mutation ($id: ID!) { cancelTask(id: $id) { task { id } userErrors { code message } } }"


def _task(id_: str, owner: str, size: int = 1, parent_id: str | None = None) -> NewTask:
    return NewTask(id_, "add", kwargs={"x": "x" * size}, owner=owner, tenant="acme", parent_id=parent_id)


async def test_the_tasks_of_others_spend_nothing_of_the_budget(narrow: Front) -> None:
    """An answer beside large tasks of others, also among parents and children, has its whole budget of bytes."""
    large = 2 * 1024 * 1024
    await narrow.services.store.create_many(
        [
            _task("foreign", "bob", large),
            _task("own", "alice", parent_id="foreign"),
            _task("child", "bob", large, parent_id="own"),
        ]
    )
    node: dict[str, Any] = {"id": "own", "kwargs": {"x": "x"}, "parent": None, "children": {"nodes": []}}
    assert (await narrow.acting_as(ALICE).data(_ALL))["tasks"]["nodes"] == [node]
    assert (await narrow.acting_as(ALICE).data(_ONE, id="foreign"))["task"] is None
    errors = (await narrow.acting_as(BOB).ask(_ALL)).errors or []
    assert {(error.extensions or {}).get("code") for error in errors} == {"ANSWER_TOO_LARGE"}


async def test_a_record_of_others_that_does_not_fit_does_not_exist(front: Front, tasks: Collection[Document]) -> None:
    """Its id has the answers of an unknown one, in reads and in mutations, and lists do not mention it."""
    await front.services.store.create_many([_task("foreign", "bob"), _task("own", "alice")])
    tasks.update_one({"_id": "foreign"}, {"$set": {fields.REVISION: "x"}}, bypass_document_validation=True)
    for document in (_ONE, _CANCEL):
        answers = []
        for task_id in ("foreign", _UNKNOWN):
            result = await front.acting_as(ALICE).ask(document, id=task_id)
            answers.append(json.dumps([result.data, str(result.errors)]).replace(task_id, "ID"))
        assert answers[0] == answers[1]
    listed = await front.acting_as(ALICE).data("{ tasks { nodes { id } totalCount } }")
    assert listed["tasks"] == {"nodes": [{"id": "own"}], "totalCount": 1}
    assert (await front.acting_as(BOB).ask(_ONE, id="foreign")).errors
