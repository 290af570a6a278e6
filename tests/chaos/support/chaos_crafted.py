"""Crafted evidence, with which the tests of the checks begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chaos_evidence import Evidence
from chaos_runs import Run
from chaos_watchers import State

from gql_api import values
from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord

ID = "task-1"
BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


def record(function: str = "work", status: Status = Status.SUCCESS, **rest: Any) -> TaskRecord:
    """Return a record, by default of a task that has succeeded at its first attempt, in the run with the token "a"."""
    document = {
        fields.ID: ID,
        fields.NAME: f"chaos_tasks.{function}",
        fields.STATUS: status,
        fields.REVISION: 3,
        fields.ATTEMPTS: 1,
        fields.ARGS: [],
        fields.KWARGS: {},
        fields.METADATA: {},
        fields.RESULT: {"value": None, "token": "a"},
        fields.CREATED_AT: BEGAN,
        fields.FINISHED_AT: BEGAN,
        fields.HISTORY: [],
        **rest,
    }
    for name in (fields.ARGS, fields.KWARGS, fields.METADATA, fields.RESULT):
        document[name] = values.dump(document[name])
    return TaskRecord(document)


def entry(status: Status, seconds: float) -> dict[str, Any]:
    """Return an entry of a history, so many seconds after :data:`BEGAN`."""
    at = BEGAN + timedelta(seconds=seconds)
    return {fields.REVISION: 1, fields.STATUS: status, fields.AT: at}


def run(name: str = "a", attempt: int = 1, began: float = 1.0, **rest: Any) -> Run:
    """Return a run with a token of one letter, by default one that has not ended."""
    options = {"id": ID, "function": "work", "retries": 0, "worker": "prefork", "pid": 1, **rest}
    return Run(attempt=attempt, token=name, began=began, last=began, **options)


def state(revision: int, at: float, connection: int = 1, *, status: Status = Status.STARTED) -> State:
    """Return a state that a watcher has received."""
    return State(at, connection, revision, status, status.is_final)


def evidence(*records: TaskRecord, **rest: Any) -> Evidence:
    """Return evidence with some records."""
    return Evidence(records={each.id: each for each in records}, **rest)
