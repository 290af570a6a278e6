"""Plans against graphql-core itself: whatever the document, the records and their faults, the answers are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from documents import documents, variables
from graphql import DocumentNode, ExecutionResult, OperationDefinitionNode, execute, parse, specified_rules, validate
from graphql.execution import Executor
from graphql.validation import NoUnusedFragmentsRule, NoUnusedVariablesRule
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strategies import JSON_VALUES
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gql_api.api.admission.cache import weight_of
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.plan import Plans
from gql_api.api.schema.build import schema as api_schema
from gql_api.api.schema.payloads import TaskPayload
from gql_api.api.schema.scalars import JSON, SCALARS
from gql_api.api.schema.tasks import Task, TaskConnection
from gql_api.api.schema.types import Node, TaskStatus
from gql_api.query.lists import Order, PageRequest
from gql_api.record import fields as f
from gql_api.record.reads import TaskRecord

_NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
_BASE = StrawberryGraphQLCoreExecutionContext


class _Nobody(BasePermission):
    message = "not for you"

    def has_permission(self, source: Any, info: Any, **_arguments: Any) -> bool:  # noqa: ARG002 - Strawberry's names
        return False


class _Later:
    """Something to be awaited, again and again."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield
        return self._value

    def __repr__(self) -> str:
        return f"Later({self._value!r})"


@strawberry.type
class _Odd:
    """Whatever a field can be, beside those of tasks, over values that no annotation promises."""

    number: int
    maybe_number: int | None
    ratio: float | None
    flag: bool
    text: str | None
    key: strawberry.ID | None
    state: TaskStatus | None
    at: datetime | None
    value: JSON | None
    numbers: list[int]
    table: list[list[int | None] | None] | None
    inner: _Odd | None
    others: list[_Odd]

    @strawberry.field
    def shouted(self, times: int = 1) -> str:
        return f"{self.text}!" * times

    @strawberry.field
    async def later(self) -> str | None:
        await asyncio.sleep(0)
        return self.text

    @strawberry.field
    def plain(self) -> int:
        return self.number

    @strawberry.field(permission_classes=[_Nobody])  # type: ignore[untyped-decorator] # declared to return Any
    def secret(self) -> int | None:
        return self.number

    @strawberry.field
    def from_info(self, info: strawberry.Info) -> str:
        return ".".join(map(str, info.path.as_list()))


@strawberry.type
class _Root:
    task: Task | None
    node: Node | None
    tasks: list[Task | None] | None
    page: TaskConnection
    payload: TaskPayload | None
    odd: _Odd | None


_SCHEMA = strawberry.Schema(_Root, types=[Task], config=StrawberryConfig(scalar_map=SCALARS))._schema  # noqa: SLF001 - as the executor gets it
_FRAGMENTS = ["Root", "Task", "Node", "Task", "Odd", "TaskConnection", "TaskEdge", "TaskProgress", "TaskTransition"]
# These need MongoDB.
_LEFT_OUT = frozenset({"logs", "children", "totalCount", "facet"})

_ODD_VALUES: st.SearchStrategy[Any] = st.none() | st.sampled_from(
    [
        0,
        1,
        True,
        2**40,
        -1.0,
        1.5,
        float("nan"),
        "",
        "7",
        "SUCCESS",
        f.Status.FAILURE,
        [],
        [1, None],
        [[1], None, [None, "x"]],
        (1, 2),
        {},
        _NOW,
        ValueError("given back"),
        _Later(1),
        _Later(None),
        _Later(ValueError("too late")),
        [_Later(2), 3],
        [ValueError("within")],
        object,
    ]
)


@st.composite
def _records(draw: st.DrawFn) -> TaskRecord:
    document = _document(draw(st.sampled_from(["a", "b", "c"])), draw(st.sampled_from(list(f.Status))))
    document[f.RESULT] = draw(JSON_VALUES)
    document[f.PARENT_ID] = draw(st.sampled_from([None, "parent"]))
    optional = st.sampled_from([f.ERROR, f.PROGRESS, f.STARTED_AT, f.WORKER, f.OWNER, f.EXPIRES_AT])
    for name in draw(st.lists(optional, max_size=3)):
        document[name] = None
    spoilt = st.sampled_from([f.NAME, f.CREATED_AT, f.WORKER, f.REVISION, f.OWNER, f.HISTORY, f.ERROR, f.PROGRESS])
    for name in draw(st.lists(spoilt, max_size=2)):
        document[name] = draw(_ODD_VALUES)
    if draw(st.booleans()):
        document[f.PROGRESS] = {f.CURRENT: draw(_ODD_VALUES), f.TOTAL: 2.0, f.MESSAGE: None, f.DATA: draw(JSON_VALUES)}
    return TaskRecord(document, frozenset(draw(st.lists(st.sampled_from([f.RESULT, f.ERROR, f.ARGS]), max_size=1))))


def _document(task_id: str, status: f.Status = f.Status.FAILURE) -> dict[str, Any]:
    queued = {f.REVISION: 1, f.STATUS: "QUEUED", f.AT: _NOW}
    error = {f.TYPE: "ValueError", f.MESSAGE: "no", f.MODULE: None, f.ARGS: ["no"], f.TRACEBACK: None}
    return {
        f.ID: task_id,
        f.NAME: "jobs.tasks.demo",
        f.STATUS: str(status),
        f.REVISION: 3,
        f.ARGS: [1],
        f.KWARGS: {"a": None},
        f.METADATA: {"tier": "gold"},
        f.RESULT: None,
        f.ERROR: error,
        f.PROGRESS: {f.CURRENT: 1.0, f.TOTAL: 4, f.MESSAGE: "half", f.DATA: None},
        f.ATTEMPTS: 1,
        f.QUEUE: "celery",
        f.PRIORITY: 0,
        f.WORKER: "w@h",
        f.CREATED_AT: _NOW,
        f.UPDATED_AT: _NOW,
        f.STARTED_AT: _NOW,
        f.HISTORY: [queued, {**queued, f.REVISION: 3, f.STATUS: str(status), f.WORKER: "w@h", f.MESSAGE: "no"}],
        f.ROOT_ID: task_id,
    }


def _odds(depth: int) -> st.SearchStrategy[_Odd]:
    names = ["number", "maybe_number", "ratio", "flag", "text", "key", "state", "at", "value", "numbers", "table"]
    usual = {"number": 1, "flag": True, "text": "x", "numbers": [1, 2], "table": [[1, None], None]}
    odd = st.dictionaries(st.sampled_from(names), _ODD_VALUES, min_size=1, max_size=4)
    no_objects: list[Any] = [None, [], [None], [_Later(None)]]
    others = st.sampled_from(no_objects)
    inner: st.SearchStrategy[_Odd | None] = st.none()
    if depth:
        inner |= _odds(depth - 1)
        others |= st.lists(_odds(depth - 1), max_size=2)
    return st.builds(
        lambda odd, inner, others: _Odd(**{**dict.fromkeys(names), **usual, **odd}, inner=inner, others=others),
        odd,
        inner,
        others,
    )


def _page(records: list[TaskRecord]) -> TaskConnection:
    return TaskConnection.of(records, PageRequest(Order(), 10), {})


@st.composite
def _roots(draw: st.DrawFn) -> _Root:
    records = draw(st.lists(_records(), min_size=1, max_size=3))
    task = Task(records[0])
    nodes: list[Any] = [task, None, "no task"]
    lists: list[Any] = [None, [task], [task, None], (task,), [task, 5]]
    return _Root(
        task=task,
        node=draw(st.sampled_from(nodes)),
        tasks=draw(st.sampled_from(lists)),
        page=_page(records),
        payload=TaskPayload(task=task),
        odd=draw(_odds(2)),
    )


async def _executed(kind: type[_BASE], document: DocumentNode, root: _Root, values: dict[str, Any]) -> list[str]:
    """Execute it, and write down all of the answer: the order of keys and the types of values count."""

    async def load(task_id: str) -> TaskRecord:
        await asyncio.sleep(0)
        return TaskRecord(_document(task_id))

    context = SimpleNamespace(tasks=SimpleNamespace(load=load))
    answer: Any = execute(_SCHEMA, document, root, context, values, executor_class=kind)
    if not isinstance(answer, ExecutionResult):
        answer = await answer
    errors = [f"{error.formatted!r} because of {error.original_error!r}" for error in answer.errors or ()]
    return [repr(_written(answer.data)), *errors]


def _written(value: Any) -> Any:
    """The same with its times as text: plans leave that to the encoder."""
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(_SCHEMA, _FRAGMENTS, _LEFT_OUT), st.lists(st.tuples(_roots(), variables()), min_size=1, max_size=3))
def test_plans_answer_what_graphql_core_answers(text: str, requests: list[tuple[_Root, dict[str, Any]]]) -> None:
    """Data, the order of its keys, errors and their order are the same for every request that shares a document."""
    document = parse(text)
    rules = [rule for rule in specified_rules if rule not in {NoUnusedFragmentsRule, NoUnusedVariablesRule}]
    assert validate(_SCHEMA, document, rules) == []
    with asyncio.Runner() as runner:
        for root, values in requests:
            planned = runner.run(_executed(PlannedExecutor, document, root, values))
            assert planned == runner.run(_executed(_BASE, document, root, values))


@pytest.mark.parametrize(
    "selection",
    [
        # A field that is selected several times is one field of all its selections.
        "task { progress { total } progress { ...Current } id }",
        # The same fragment stands beside other fields in each place.
        "a: task { ...Moving progress { total } } b: task { ...Moving progress { message } } c: task { ...Moving }",
        "page { nodes { ...Moving } edges { node { ...Moving progress { percent } } } }",
    ],
)
def test_a_plan_is_of_all_that_is_merged_at_a_place(selection: str) -> None:
    """Nodes of a document mean something else beside other nodes."""
    document = parse(
        f"{{ {selection} }} fragment Moving on Task {{ progress {{ current }} }}"
        "fragment Current on TaskProgress { current }"
    )
    record = TaskRecord(_document("a"))
    root = _Root(task=Task(record), node=None, tasks=None, page=_page([record]), payload=None, odd=None)
    planned = asyncio.run(_executed(PlannedExecutor, document, root, {}))
    assert planned == asyncio.run(_executed(_BASE, document, root, {}))
    assert len(planned) == 1


@pytest.mark.parametrize(
    "other", [_Later(None), ValueError("no object"), 5, object()], ids=["later", "error", "5", "other"]
)
def test_an_object_of_another_kind_is_left_to_graphql_core(other: Any) -> None:
    """A plan does not take for an object what has to be awaited, is an error or is something else."""
    document = parse("{ odd { inner { __typename } others { __typename } } task { __typename } }")
    odd = _Odd(
        **dict.fromkeys(("maybe_number", "ratio", "text", "key", "state", "at", "value", "table")),
        number=1,
        flag=True,
        numbers=[],
        inner=other,
        others=[other],
    )
    root = _Root(task=other, node=None, tasks=None, page=_page([]), payload=None, odd=odd)
    planned = asyncio.run(_executed(PlannedExecutor, document, root, {}))
    assert planned == asyncio.run(_executed(_BASE, document, root, {}))


@pytest.mark.parametrize(
    "spoilt", [{}, {f.CREATED_AT: None}, {f.PROGRESS: {f.CURRENT: "?"}}, {f.WORKER: _Later("w")}], ids=str
)
def test_events_of_subscriptions_are_answered_as_by_graphql_core(spoilt: dict[str, Any]) -> None:
    """An event has the same answer, with the errors of a record that is no good."""
    selected = "... on Node { id } status createdAt progress { current } worker @skip(if: $less)"
    document = parse(
        f"subscription Watch($id: ID!, $less: Boolean!) {{ t: taskUpdated(id: $id) {{ __typename {selected} }} }}"
    )
    record = TaskRecord({**_document("a"), **spoilt})
    for less in (False, True):
        answers = []
        for kind in (_BASE, PlannedExecutor):
            executor = _built(kind, document, {"id": "a", "less": less})
            answer = executor.build_per_event_executor(Task(record)).execute_operation(False)
            answers.append(answer if isinstance(answer, ExecutionResult) else asyncio.run(_awaited(answer)))
        assert len({f"{_written(answer.data)!r} {answer.errors!r}" for answer in answers}) == 1


def test_what_is_plain_never_comes_to_graphql_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with its page and an event are completed by their plans alone, and the fields of a mixed object too."""
    completed: list[str] = []
    complete_value = _BASE.complete_value

    def complete(self: Any, type_: Any, details: Any, info: Any, *rest: Any) -> Any:
        completed.append(info.field_name)
        return complete_value(self, type_, details, info, *rest)

    monkeypatch.setattr(_BASE, "complete_value", complete)
    task = "id status createdAt metadata progress { percent } history { at } error { message }"
    document = parse(f"{{ page {{ edges {{ cursor node {{ {task} parent {{ id }} }} }} nodes {{ {task} }} }} }}")
    record = TaskRecord(_document("a"))
    root = _Root(task=None, node=None, tasks=None, page=_page([record]), payload=None, odd=None)
    assert len(asyncio.run(_executed(PlannedExecutor, document, root, {}))) == 1
    assert set(completed) == {"page", "edges", "node", "parent"}
    completed.clear()
    executor = _built(PlannedExecutor, parse(f'subscription {{ taskUpdated(id: "a") {{ {task} }} }}'), {})
    executor.build_per_event_executor(Task(record)).execute_operation(False)
    assert completed == []


def test_only_so_many_plans_are_kept() -> None:
    """What clients write never fills the memory, and the plan that was used last is kept."""
    operations = [parse(f"{{ task {{ id a{number}: id }} }}").definitions[0] for number in range(3)]
    plans = Plans(2 * weight_of(operations[0]))  # type: ignore[arg-type] # each document has one operation

    def plan(number: int) -> Any:
        operation = operations[number]
        assert isinstance(operation, OperationDefinitionNode)
        return plans.plan(_SCHEMA, operation, {}, {})

    first, second = plan(0), plan(1)
    assert plan(0) is first
    plan(2)
    assert plan(0) is first
    assert plan(1) is not second
    assert len(plans) == 2


def _built(kind: type[_BASE], document: DocumentNode, values: dict[str, Any]) -> Executor[Any]:
    executor = kind.build(api_schema._schema, document, raw_variable_values=values)  # noqa: SLF001 - as above
    assert isinstance(executor, Executor)
    return executor


async def _awaited(answer: Any) -> Any:
    return await answer
