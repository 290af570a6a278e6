"""Generated rows against the steps that they are generated from, over every field of a task and odd values of each."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import DBRef, Int64
from bson.datetime_ms import DatetimeMS
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, parse
from graphql.execution import Executor

from gql_api.api.execution import completion
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.rows.generated import completion_of
from gql_api.api.execution.rows.steps import Step
from gql_api.api.schema.build import schema
from gql_api.api.schema.tasks import Task
from gql_api.record import fields as f
from gql_api.record.reads import TaskRecord

_AT = datetime(2026, 1, 2, 3, 4, 5, 678000)  # noqa: DTZ001 - as the codec of records reads it
_TYPE = schema._schema.type_map["Task"]  # noqa: SLF001 - Strawberry's own integrations read it
assert isinstance(_TYPE, GraphQLObjectType)
_LEAVES = [name for name, field in _TYPE.fields.items() if is_leaf_type(get_named_type(field.type))]
_OBJECTS = "error { type message } progress { percent message data } history { status at actor }"
_SELECTION = f"{' '.join(_LEAVES)} {_OBJECTS} __typename alias: createdAt"
_ODD: list[Any] = [
    None, "", "SUCCESS", 0, 1, 2**40, Int64(7), -1.0, 1.5, float("nan"), True, [], {}, [None], {"a": 1},
    _AT, _AT.replace(tzinfo=UTC), DatetimeMS(1), DBRef("a", 1), ValueError("given back"), f.Status.FAILURE,
]  # fmt: skip
_ABSENT: Any = object()
_NAMES = [
    f.ID, f.STATUS, f.REVISION, f.NAME, f.ARGS, f.KWARGS, f.METADATA, f.RESULT, f.ERROR, f.PROGRESS, f.HISTORY,
    f.ATTEMPTS, f.QUEUE, f.PRIORITY, f.WORKER, f.OWNER, f.IDEMPOTENCY_KEY, f.CREATED_AT, f.SCHEDULED_FOR, f.EXPIRES_AT,
    f.CANCEL_REQUESTED_AT, f.STARTED_AT, f.FINISHED_AT, f.UPDATED_AT,
]  # fmt: skip


def _document() -> dict[str, Any]:
    entry = {f.REVISION: 1, f.STATUS: "QUEUED", f.AT: _AT}
    texts = dict.fromkeys((f.ID, f.NAME, f.QUEUE, f.WORKER, f.OWNER, f.IDEMPOTENCY_KEY), "text")
    times = dict.fromkeys((f.CREATED_AT, f.SCHEDULED_FOR, f.EXPIRES_AT, f.STARTED_AT, f.UPDATED_AT), _AT)
    values = {f.ARGS: [1], f.KWARGS: {"a": None}, f.METADATA: {"%24": 1}, f.RESULT: {"r": 1}, f.HISTORY: [entry]}
    objects = {f.ERROR: {f.TYPE: "E", f.MESSAGE: "m"}, f.PROGRESS: {f.CURRENT: 1.0, f.TOTAL: 4}}
    numbers = {f.REVISION: 1, f.ATTEMPTS: 1, f.PRIORITY: 0}
    return {**texts, **times, **values, **objects, **numbers, f.STATUS: "STARTED"}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps by which the API completes all fields of a task that need nothing but the task."""
    planned: dict[type, list[Step]] = {}

    def note(kind: type, steps: list[Step], refuse: Any) -> Any:
        planned[kind] = steps
        return completion_of(kind, steps, refuse)

    monkeypatch.setattr(completion, "completion_of", note)
    document = parse(f'subscription {{ taskUpdated(id: "a") {{ {_SELECTION} }} }}')
    executor = PlannedExecutor.build(schema._schema, document)  # noqa: SLF001 - as above
    assert isinstance(executor, Executor)
    executor.build_per_event_executor(Task(TaskRecord(_document()))).execute_operation(False)
    return planned[Task]


def _refuse(value: Any) -> Any:
    raise TypeError(type(value))


def _outcome(complete: Callable[[Task], Any], document: dict[str, Any], omitted: str) -> str:
    try:
        return repr(complete(Task(TaskRecord(copy.copy(document), frozenset({omitted})))))
    except Exception as error:  # noqa: BLE001 - both have to raise the same
        return repr(error)


def test_generated_rows_are_those_of_their_steps(steps: list[Step]) -> None:
    """Whatever a field holds, and whether it is absent or not known, each way of completing a task ends alike."""
    assert {step.key for step in steps} == {*_LEAVES, "error", "progress", "history", "__typename", "alias"}
    generated = completion_of(Task, steps, _refuse)

    def step_by_step(task: Task) -> dict[str, Any]:
        return {step.key: step(task) for step in steps}

    whole = _document()
    for name, value in itertools.product(_NAMES, [*_ODD, _ABSENT, whole]):
        document = {**whole, name: whole.get(name) if value is whole else value}
        if value is _ABSENT:
            del document[name]
        for omitted in ("", name):
            rows = [_outcome(complete, document, omitted) for complete in (generated, step_by_step)]
            assert rows[0] == rows[1], (name, value, omitted)


def test_rows_are_read_where_their_values_are(steps: list[Step]) -> None:
    """A task with its ordinary values is completed without a call for any field that is shown as it is stored."""
    called: list[str] = []

    def noting(step: Step) -> Step:
        def read(source: Any) -> Any:
            called.append(step.key)
            return step.read(source)

        return step._replace(read=read)

    complete = completion_of(Task, [noting(step) for step in steps], _refuse)
    row = complete(Task(TaskRecord({**_document(), f.RESULT: None, f.ERROR: None, f.PROGRESS: None})))
    assert row["finishedAt"] is None
    assert not {*called} & {"id", "name", "status", "queue", "createdAt", "finishedAt", "alias", "result", "progress"}


def test_a_row_of_something_else_is_refused(steps: list[Step]) -> None:
    """Only objects of exactly the class have their values where the code looks for them."""
    with pytest.raises(TypeError):
        completion_of(Task, steps, _refuse)(object())


def test_what_a_client_writes_is_no_code() -> None:
    """The keys of an answer are variables of the code, whatever they are."""
    key = '": 1}\n  raise SystemExit #'
    step = Step(key, lambda _: "value", frozenset({str}), _refuse)
    assert completion_of(object, [step], _refuse)(object()) == {key: "value"}
