"""Operations of one root field against graphql-core itself: the answers are the same, prepared or not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import strawberry
from graphql import ExecutionResult, execute
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from root_fields import CORE
from strategies import JSON_VALUES
from strawberry.extensions import FieldExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gql_api.api.errors import BAD_INPUT, ClientError
from gql_api.api.execution import direct
from gql_api.api.execution.documents import DEFAULT_READER
from gql_api.api.execution.operation import Operation
from gql_api.api.execution.root_field import _BACK, _direct
from gql_api.api.schema.scalars import JSON, SCALARS, of_leaves
from gql_api.api.schema.types import TaskStatus


@strawberry.type
class _Odd:
    """An object over values that no annotation promises."""

    number: int
    text: str | None
    state: TaskStatus | None
    numbers: list[int]
    inner: _Odd | None = None

    @strawberry.field
    def seen(self, times: int = 1) -> str:
        return f"{self.text}" * times


@strawberry.input
class _Wanted:
    text: str | None = "default"
    numbers: list[int | None] | None = strawberry.UNSET


# What the resolvers return or raise next.
_values: list[Any] = [None]


def _next() -> Any:
    if isinstance(_values[0], BaseException):
        raise _values[0]
    return _values[0]


async def _odd(
    info: strawberry.Info,
    key: strawberry.ID | None = strawberry.UNSET,
    n: int = 7,
    flag: bool | None = None,
    state: TaskStatus | None = strawberry.UNSET,
    value: JSON | None = strawberry.UNSET,
    wanted: _Wanted | None = strawberry.UNSET,
    texts: list[str] | None = strawberry.UNSET,
) -> _Odd | None:
    """Return what was given, and what the resolver sees of the operation, or the next value."""
    await asyncio.sleep(0)
    if _values[0] is not None:
        return cast("_Odd", _next())
    given = [key, n, flag, state, value, wanted, texts, info.variable_values, info.path.as_list(), info.context]
    return _Odd(number=1, text=repr(given), state=None, numbers=[1, 2, 3])


@strawberry.type
class _Query:
    odd: _Odd | None = strawberry.field(resolver=_odd)

    @strawberry.field
    async def sure(self, key: strawberry.ID) -> _Odd:  # noqa: ARG002 - an argument that is required
        await asyncio.sleep(0)
        return cast("_Odd", _next())

    @strawberry.field
    def sync(self, n: int | None = None) -> _Odd | None:
        return cast("_Odd", _next()) if n is None else _Odd(number=n, text=None, state=None, numbers=[])

    @strawberry.field
    def number(self) -> int:
        return 1


@of_leaves
@strawberry.input
class _Leaves:
    some_text: str | None = "default"
    count: int = 3
    value: JSON | None = strawberry.UNSET


class _Noting(FieldExtension):
    """An extension that shows what it sees of a call in its answer."""

    async def resolve_async(self, next_: Any, source: Any, info: strawberry.Info, **arguments: Any) -> Any:
        answer = await next_(source, info, **arguments)
        seen = [source, info.field_name, info.context, sorted(arguments.items())]
        return _Odd(number=2, text=f"{answer.text} {seen}", state=None, numbers=[]) if answer else None


async def _noted(
    info: strawberry.Info,
    leaves: _Leaves,
    others: _Leaves | None = strawberry.UNSET,
    wanted: _Wanted | None = None,
) -> _Odd | None:
    """Return what was given, or the next value."""
    await asyncio.sleep(0)
    if _values[0] is not None:
        return cast("_Odd", _next())
    given = [leaves, others, wanted, info.variable_values]
    return _Odd(number=1, text=repr(given), state=None, numbers=[])


@strawberry.type
class _Mutation:
    odd: _Odd | None = strawberry.field(resolver=_odd)
    noted: _Odd | None = strawberry.mutation(resolver=_noted, extensions=[_Noting()])


_SCHEMA = strawberry.Schema(_Query, _Mutation, config=StrawberryConfig(scalar_map=SCALARS))._schema  # noqa: SLF001 - as the executor gets it

_DOCUMENTS = [
    "{ odd { number text } }",
    "{ odd(key: 5, n: 2, flag: true, state: SUCCESS) { text } }",
    '{ other: odd(value: {a: [1, {b: "x"}]}, wanted: {numbers: [1, null]}, texts: "one") { __typename text } }',
    '{ odd(value: "text", flag: null) { text state numbers inner { number } } }',
    "query ($key: ID) { odd(key: $key) { text } }",
    'query ($key: ID = "seven") { odd(key: $key) { text } }',
    "query ($n: Int = 3) { odd(n: $n) { text } }",
    "query ($n: Int!) { odd(n: $n) { text } }",
    "query ($flag: Boolean, $state: TaskStatus) { odd(flag: $flag, state: $state) { text } }",
    "query ($value: JSON, $wanted: Wanted) { odd(value: $value, wanted: $wanted) { text } }",
    "query ($n: Int) { odd(wanted: {numbers: [1, $n]}, value: [$n]) { text } }",
    "query ($texts: [String!]) { odd(texts: $texts) { text } }",
    "query ($key: ID!) { sure(key: $key) { number text inner { text } } }",
    'query ($key: ID = "x") { sure(key: $key) { number numbers } }',
    "query ($n: Int) { sync(n: $n) { number seen } }",
    "query ($n: Int) { sync { number seen(times: $n) } }",
    "query ($on: Boolean!) { odd { number @skip(if: $on) text @include(if: $on) } }",
    "query ($on: Boolean = true) { odd @include(if: $on) { ...f } } fragment f on Odd { n: number @skip(if: $on) }",
    "query ($on: Boolean!) { odd @include(if: $on) { text } sync @skip(if: $on) { number } }",
    "{ odd { text } odd { number } }",
    "{ odd { text } sync { number } }",
    "{ number }",
    "{ __typename }",
    '{ __type(name: "Int") { name } }',
    "mutation ($n: Int = 1) { odd(n: $n) { number text } }",
    "mutation ($leaves: Leaves!, $others: Leaves) { noted(leaves: $leaves, others: $others) { text } }",
    "mutation ($leaves: Leaves = {count: 1}) { noted(leaves: $leaves) { number text } }",
    'mutation ($n: Int) { noted(leaves: {someText: "a", count: $n}) { text } }',
    "mutation ($leaves: Leaves!, $wanted: Wanted) { noted(leaves: $leaves, wanted: $wanted) { text } }",
]
_NAMES = ["key", "n", "flag", "state", "value", "wanted", "texts", "on", "leaves", "others"]
_VALUES = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**31, 2.0, 0.5, "", "1", "text", "SUCCESS", [], ["a"], {"text": None}, {"text": 1}]
)
_LEAVES = st.fixed_dictionaries({}, optional={"someText": _VALUES, "count": st.integers(-1, 3), "value": JSON_VALUES})
_ODDS = st.builds(
    _Odd,
    number=st.sampled_from([1, 1.0, 2**40, None, "2"]),
    text=st.sampled_from([None, "a", 5]),
    state=st.sampled_from([None, TaskStatus.SUCCESS, "unknown"]),
    numbers=st.sampled_from([[1], [None], None, (1, 2), "12"]),
    inner=st.none() | st.builds(_Odd, number=st.just(1), text=st.none(), state=st.none(), numbers=st.just([])),
)
_RESULTS = (
    st.none()
    | _ODDS
    | st.sampled_from([5, {}, ValueError("raised"), ClientError("refused", BAD_INPUT), TimeoutError(), _Query()])
)


@hypothesis_settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(_DOCUMENTS),
    st.dictionaries(st.sampled_from(_NAMES), _VALUES | JSON_VALUES | _LEAVES)
    | st.fixed_dictionaries({"leaves": _LEAVES}, optional={"others": _LEAVES | st.none(), "wanted": st.none()}),
    _RESULTS,
)
def test_prepared_operations_have_the_answers_of_graphql_core(text: str, variables: dict[str, Any], value: Any) -> None:
    """Data, errors and their order are the same, whatever the variables are and whatever the resolver returns."""
    _values[0] = value
    document = DEFAULT_READER.read(_SCHEMA, text)
    assert document.errors == []

    async def compare() -> None:
        executing = execute(
            _SCHEMA, document.node, variable_values=variables, executor_class=StrawberryGraphQLCoreExecutionContext
        )
        expected = executing if isinstance(executing, ExecutionResult) else await executing
        for _ in range(2):  # the first execution prepares the operation
            execution = direct._Execution(_SCHEMA, document, Operation(text, variables), None, None)  # noqa: SLF001 - before errors are masked
            assert _shown(await direct._executed(execution)) == _shown(expected)  # noqa: SLF001 - as above

    asyncio.run(compare())


def _shown(result: ExecutionResult) -> object:
    errors = [(each.formatted, type(each.original_error)) for each in result.errors or ()]
    return repr(result.data), errors


def test_a_task_is_created_without_the_conversions_of_strawberry() -> None:
    """The audit log is an extension of each mutation, and the input of a task has only leaves."""
    assert CORE.mutation_type is not None
    field = CORE.mutation_type.fields["createTask"]
    assert _direct(field, field.extensions[_BACK], ["input"]) is not None
