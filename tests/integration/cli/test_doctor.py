"""The command that lists, repairs, exports and deletes records that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, ObjectId, json_util
from click.testing import CliRunner, Result
from pymongo.collection import Collection

from gql_api.cli.main import main
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.fitness import rules
from gql_api.record.model import NewTask
from gql_api.record.protection import repairs
from gql_api.record.reads import Document
from gql_api.settings import Settings

Doctor = Callable[..., Result]


@pytest.fixture
def doctor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run the command in this process."""
    monkeypatch.setenv("MONGODB_URL", settings.mongodb_url)
    monkeypatch.setenv("MONGODB_DATABASE", settings.mongodb_database)
    return lambda *options: CliRunner().invoke(main, ["doctor", *options])


def _create(tasks: Collection[Document], task_id: str, change: dict[str, Any] | None = None) -> None:
    tasks.update_one(*writes.create(NewTask(id=task_id, name="add", args=["$a", 1])), upsert=True)
    if change is not None:
        tasks.update_one({f.ID: task_id}, change)


_REPAIRABLE: list[dict[str, Any]] = [
    {"$unset": {f.ATTEMPTS: 1}},
    {"$unset": {f.REVISION: 1}},
    {"$set": {f.PRIORITY: "7"}},
    {"$set": {f.HISTORY: [5]}},
    {"$set": {f"{f.HISTORY}.0.{f.ACTOR}": 5, f.CANCEL_ACTOR: 5}},
    {"$unset": {f.ROOT_ID: 1}},
    {"$set": {f.CREATED_AT: "x", f.WORKER: 5, f.STARTED_AT: "x"}},
    {"$set": {f.ERROR: {"a": 1}, f.PROGRESS: 5}},
    {"$set": {f.REVISION: Decimal128("4"), f.ATTEMPTS: 2.5}},
]


def test_what_can_be_derived_is_repaired(doctor: Doctor, tasks: Collection[Document]) -> None:
    """Each record fits then, its task goes on, and the values of others stay as they are."""
    for number, change in enumerate(_REPAIRABLE):
        _create(tasks, f"t{number}", change)
    _create(tasks, "good")
    listed = doctor()
    assert listed.exit_code == 1
    assert "'t0'  attempts is missing" in listed.output
    assert "good" not in listed.output
    repaired = doctor("--repair")
    assert repaired.exit_code == 0, repaired.output
    assert [rules.WHOLE.misfits(document) for document in tasks.find()] == [[]] * (len(_REPAIRABLE) + 1)
    assert {document[f.STATUS] for document in tasks.find()} == {"QUEUED"}
    first, third = tasks.find_one({f.ID: "t0"}), tasks.find_one({f.ID: "t2"})
    assert tasks.count_documents({f.CANCEL_ACTOR: {"$exists": True}}) == 0
    assert first is not None
    assert (first[f.ATTEMPTS], first[f.ARGS]) == (0, ["$a", 1])
    assert third is not None
    assert third[f.PRIORITY] == 7
    assert doctor().exit_code == 0


def test_a_repair_gives_no_task_to_another_owner(doctor: Doctor, tasks: Collection[Document]) -> None:
    """A task whose tenant does not fit is nobody's: without the tenant, its owner would be another subject."""
    for task_id, tenant in (("t", 5), ("good", "acme")):
        _create(tasks, task_id, {"$set": {f.OWNER: "alice", f.TENANT: tenant}})
    assert doctor("--repair").exit_code == 0
    found = {document[f.ID]: (document.get(f.OWNER), document.get(f.TENANT)) for document in tasks.find()}
    assert found == {"t": (None, None), "good": ("alice", "acme")}


def test_a_task_that_cannot_be_run_ends(doctor: Doctor, tasks: Collection[Document]) -> None:
    """Without its function or its arguments, a waiting task becomes FAILURE, and its error says why."""
    _create(tasks, "t", {"$unset": {f.NAME: 1}})
    _create(tasks, "ended", {"$set": {f.ARGS: 5, f.STATUS: "SUCCESS"}})
    assert doctor("--repair").exit_code == 0
    found = {document[f.ID]: document for document in tasks.find()}
    assert (found["t"][f.STATUS], f.DUE_AT in found["t"]) == ("FAILURE", False)
    assert "name" in found["t"][f.ERROR][f.MESSAGE]
    assert found["ended"][f.STATUS] == "SUCCESS"


def test_what_was_set_aside_comes_back(doctor: Doctor, tasks: Collection[Document]) -> None:
    """Recovery finds the task again by the time that it had."""
    _create(tasks, "t", {"$set": {f.PRIORITY: "x"}})
    before = tasks.find_one({f.ID: "t"})
    tasks.update_one(*repairs.set_aside("t", "priority"))
    assert doctor("--repair").exit_code == 0
    after = tasks.find_one({f.ID: "t"})
    assert before is not None
    assert after is not None
    assert (after[f.DUE_AT], after[f.PRIORITY], f.SET_ASIDE in after) == (before[f.DUE_AT], 0, False)


def test_what_cannot_be_derived_is_exported_and_deleted(
    doctor: Doctor, tasks: Collection[Document], tmp_path: Path
) -> None:
    """The file has the records as they were; nothing is deleted without it, or over an older one."""
    strange: list[Document] = [
        {f.ID: ObjectId(), "x": datetime(2026, 1, 1, tzinfo=UTC)},
        {f.ID: "a", f.STATUS: "LOST", "x": Decimal128("1.50")},
    ]
    tasks.insert_many(strange)
    _create(tasks, "later", {"$set": {f.SHAPE: 99}, "$unset": {f.ATTEMPTS: 1}})
    _create(tasks, "good")
    file = tmp_path / "records.jsonl"
    assert doctor("--delete").exit_code == 2
    kept = doctor("--repair")
    assert kept.exit_code == 1
    assert "later version" in kept.output
    assert tasks.count_documents({}) == 4
    assert doctor("--export", str(file), "--delete").exit_code == 0
    assert [document[f.ID] for document in tasks.find()] == ["good"]
    exported = [json_util.loads(line) for line in file.read_text().splitlines()]
    assert {str(each[f.ID]) for each in exported} == {str(strange[0][f.ID]), "a", "later"}
    assert strange[1] in exported
    assert doctor("--export", str(file)).exit_code == 2


def test_a_server_that_does_not_answer_is_no_finding(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code differs from the one of records that are left."""
    monkeypatch.setenv("MONGODB_URL", "mongodb://127.0.0.1:1/")
    monkeypatch.setenv("STORE_TIMEOUT_SECONDS", "0.2")
    result = doctor()
    assert result.exit_code == 2
    assert "Error" in result.output
