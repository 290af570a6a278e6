from __future__ import annotations

from typing import Any

import bson
import pytest
from dataset import Dataset, fill
from made import CHUNK, Chunk, order_of
from pymongo import MongoClient

from gql_api.record import claims, control, fields, reads, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask, Progress
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Write
from gql_api.settings import Settings

_NEW = NewTask(id="t", name="add", args=[1], kwargs={"a": 1}, metadata={"m": 1})
_LATER = NewTask(id="t", name="add", delay=3600.0)
_ERROR = ErrorInfo("ValueError", "no", "builtins", ["no"], "Traceback ...")
_CREATE = writes.create(_NEW)
_CLAIM, _CLAIM_AGAIN = (claims.claim("t", Claim("m" * 32, "w", "run", 1, 60.0, attempts)) for attempts in (0, 1))
_RETRY, _DUE = writes.retry("t", _ERROR, message=_NEW), claims.enqueue("t")
_PROGRESS = writes.progress("t", Progress(1.0, 2.0, "rows"))
# The states that a task went through, and the writes that take it there.
_LIVES: dict[str, list[Write]] = {
    "QUEUED": [_CREATE],
    "SCHEDULED": [writes.create(_LATER)],
    "QUEUED STARTED": [_CREATE, _CLAIM],
    "QUEUED STARTED RETRY": [_CREATE, _CLAIM, _RETRY],
    "QUEUED STARTED SUCCESS": [_CREATE, _CLAIM, writes.succeed("t", {"ok": True, "rows": 1})],
    "QUEUED STARTED FAILURE": [_CREATE, _CLAIM, writes.fail("t", _ERROR)],
    "QUEUED REVOKED": [_CREATE, control.cancel_waiting("t", "no")],
    "QUEUED STARTED RETRY QUEUED STARTED SUCCESS": [
        _CREATE, _CLAIM, _RETRY, _DUE, _CLAIM_AGAIN, _PROGRESS, writes.succeed("t", {"ok": True, "rows": 1}),
    ],
}  # fmt: skip
_COUNT = 5 * CHUNK


@pytest.fixture(scope="module")
def made() -> list[Document]:
    """Tasks as MongoDB gives them back."""
    documents = Chunk(0, _COUNT, _COUNT, seed=6).documents()
    return [bson.decode(bson.encode(document), reads.CODEC) for document in documents]


@pytest.mark.parametrize("life", sorted(_LIVES))
def test_a_made_task_is_what_a_real_one_would_be(life: str, made: list[Document], settings: Settings) -> None:
    """The writes of the project leave the same fields, of the same types, as the made document of such a task has."""
    with MongoClient[Document](settings.mongodb_url) as client:
        tasks = client[settings.mongodb_database].get_collection(fields.TASKS, reads.CODEC)
        for number, (filter_, update) in enumerate(_LIVES[life]):
            tasks.update_one(filter_, update, upsert=number == 0)
        (real,) = tasks.find()
    assert _life(real) == life
    alike = [document for document in made if _life(document) == life and _optional(document) == _optional(real)]
    assert alike
    assert {str(_types(document)) for document in alike} == {str(_types(real))}


def test_the_records_read_as_tasks(made: list[Document]) -> None:
    """Every state is there in its proportion, revisions and times fit the history, and each order is one task's."""
    records = [TaskRecord(document) for document in made]
    shares = {status: sum(record.status is status for record in records) / _COUNT for status in Status}
    assert 0.90 < shares[Status.SUCCESS] < 0.94
    assert 0.04 < shares[Status.FAILURE] < 0.06
    assert all(0 < share < 0.02 for status, share in shares.items() if not status.is_final)
    for number, record in enumerate(records):
        times = [record.created_at, *(entry.at for entry in record.history)]
        assert times == sorted(times)
        assert record.updated_at == times[-1]
        assert record.revision >= record.history[-1].revision
        assert (record.finished_at is not None) == record.is_final == (record.due_at is None)
        assert record.metadata["order"] == order_of(number)
        assert record.metadata["source.channel"]
    created = [record.created_at for record in records]
    assert created == sorted(created)
    assert len(set(created)) < _COUNT


def test_a_database_is_filled(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Several processes insert every task once, and the indexes follow; the same seed makes the same tasks."""
    wanted = Dataset(settings.mongodb_url, settings.mongodb_database, CHUNK + 1)
    fill(wanted, processes=2)
    assert "2,001 documents" in capsys.readouterr().out
    with MongoClient[Document](settings.mongodb_url) as client:
        tasks = client[settings.mongodb_database][fields.TASKS]
        assert len(tasks.index_information()) == 1 + len(fields.UNIQUE_INDEXES) + len(fields.INDEXES)
        stored = {document["_id"]: document for document in tasks.find()}
    again = [
        bson.decode(bson.encode(document))
        for first, count in ((0, CHUNK), (CHUNK, 1))
        for document in Chunk(first, count, wanted.tasks, wanted.seed).documents()
    ]
    assert stored == {document["_id"]: document for document in again}


def _life(document: Document) -> str:
    return " ".join(entry[fields.STATUS] for entry in document[fields.HISTORY])


def _optional(document: Document) -> tuple[bool, ...]:
    """What only some tasks of a life have: a cancelled task is no expired one."""
    names = (fields.PROGRESS, fields.EXPIRES_AT)
    return (*(name in document for name in names), document[fields.PARENT_ID] is None)


def _types(value: Any, name: str = "") -> Any:
    """The names and types of a document, but for those of callers' values."""
    if isinstance(value, dict) and name not in {fields.KWARGS, fields.METADATA}:
        return {key: _types(item, key) for key, item in sorted(value.items())}
    if isinstance(value, list) and name == fields.HISTORY:
        return [_types(item) for item in value]
    return type(value).__name__
