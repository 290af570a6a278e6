"""The validator of the collection of tasks, as the API, workers and setup-mongodb set it."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, WriteError

from gql_api.api.store.tasks import TaskStore
from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.model import NewTask
from gql_api.record.protection import validator
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.worker.store.validator import protect


def _validator(tasks: Collection[Document]) -> Any:
    [found] = tasks.database.list_collections(filter=validator.FIND)
    return found["options"].get("validator")


async def _by_api(store: TaskStore, _tasks: Collection[Document]) -> None:
    await store.indexes.create()


async def _by_worker(_store: TaskStore, tasks: Collection[Document]) -> None:
    protect(tasks.database)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("start", [_by_api, _by_worker])
async def test_whatever_starts_first_sets_it(
    store: TaskStore, tasks: Collection[Document], start: Any, *, exists: bool
) -> None:
    """A new collection has it, and one of an earlier version, whose records that do not fit may be changed."""
    if exists:
        tasks.insert_one({f.ID: "old"})
    await start(store, tasks)
    await start(store, tasks)
    assert _validator(tasks) == validator.VALIDATOR
    tasks.update_one(*writes.create(NewTask(id="t", name="add")), upsert=True)
    for bad in ({f.PRIORITY: "x"}, {f.REVISION: None}, {f.STATUS: "LOST"}, {f.HISTORY: 1}, {f.DUE_AT: "now"}):
        with pytest.raises(WriteError):
            tasks.update_one({f.ID: "t"}, {"$set": bad})
    with pytest.raises(WriteError):
        tasks.insert_one({f.ID: "u"})
    assert tasks.update_one({f.ID: "old"}, {"$set": {f.NAME: "x"}}).matched_count == exists


@pytest.mark.parametrize("own", [{"x": 1}, {"$jsonSchema": {"title": "gql-api task record, version 99"}}])
def test_another_validator_stays(tasks: Collection[Document], own: Document) -> None:
    """That of a later version is not replaced by an earlier one, nor is one of the user's own."""
    tasks.database.create_collection(f.TASKS, validator=own)
    protect(tasks.database)
    assert _validator(tasks) == own


def test_a_user_who_may_not_set_it_goes_on(
    settings: Settings, tasks: Collection[Document], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is missing; another process that was faster is not worth one."""
    tasks.insert_one({f.ID: "old"})
    with MongoClient[Document](settings.mongodb_url) as client:
        database = client[settings.mongodb_database]
        # The server of the tests has no users: it refuses a command that it does not know.
        monkeypatch.setattr(validator, "command", lambda _: {"collMod": f.TASKS, "unknown": 1})
        protect(database)
        monkeypatch.setattr(validator, "command", lambda _: {"create": f.TASKS})
        protect(database)
    # A thread that an earlier test left may log too.
    [line] = [record for record in caplog.records if record.name == "gql_api.worker.store.validator"]
    assert "setup-mongodb" in line.getMessage()
    assert "\n" not in line.getMessage()


@pytest.mark.parametrize("start", [_by_api, _by_worker])
async def test_a_user_who_may_not_list_collections_goes_on(
    store: TaskStore,
    tasks: Collection[Document],
    start: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The API makes its indexes, and a worker announces its functions, without a validator."""
    # The server of the tests has no users: it refuses a filter that it does not know.
    monkeypatch.setattr(validator, "FIND", {"$unknown": 1})
    await start(store, tasks)
    assert "setup-mongodb" in caplog.text


def test_an_outage_is_not_a_refusal() -> None:
    """The caller tries again."""
    with pytest.raises(OperationFailure):
        validator.hint(OperationFailure("stepped down", 189))
