"""What compiled plans hand back to graphql-core: the answers stay the same, and each reason is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, GraphQLError, execute, parse
from prometheus_client import REGISTRY
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gql_api.api.execution import fallbacks
from gql_api.api.execution.completion import NotCompilableError
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.fallbacks import FallbackReason, count_fallback
from gql_api.api.execution.plan import OperationPlan

_LOGGED = "A compiled plan failed"


class _UnknownError(Exception):
    """An error that no reading of a value is known to raise."""


@strawberry.type
class _Item:
    number: int
    error: strawberry.Private[Exception | None] = None

    @strawberry.field
    def read(self) -> int | None:
        if self.error is not None:
            raise self.error
        return self.number

    @strawberry.field
    def times(self, factor: int = 2) -> int:
        return factor * self.number

    @strawberry.field
    async def later(self) -> int:
        await asyncio.sleep(0)
        return self.number


class _Other(_Item):
    """An item of a class that no plan was compiled for."""


@strawberry.type
class _Query:
    item: _Item


_SCHEMA = strawberry.Schema(_Query)._schema  # noqa: SLF001 - as the executor gets it
_PLANNED = "{ item { number read } }"


def _counts() -> dict[str, float]:
    name = "gql_api_execution_fallbacks_total"
    return {reason: REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0 for reason in FallbackReason}


def _answer(query: str, item: object, kind: type[StrawberryGraphQLCoreExecutionContext] = PlannedExecutor) -> str:
    async def run() -> ExecutionResult:
        root: Any = _Query(item=item)  # type: ignore[arg-type] # some tests give what no annotation promises
        answer: Any = execute(_SCHEMA, parse(query), root, executor_class=kind)
        result: ExecutionResult = answer if isinstance(answer, ExecutionResult) else await answer
        return result

    result = asyncio.run(run())
    return f"{result.data} {result.errors}"


@pytest.fixture(autouse=True)
def logged_types(monkeypatch: pytest.MonkeyPatch) -> set[type[Exception]]:
    """The exception types that were logged, none at first."""
    monkeypatch.setattr(fallbacks, "_logged_types", set())
    return fallbacks._logged_types  # noqa: SLF001 - what is tested


@pytest.mark.parametrize("query", [_PLANNED, "{ item { number times(factor: 3) later } }"], ids=["planned", "mixed"])
def test_nothing_falls_back_by_design(query: str) -> None:
    """Fields with arguments and asynchronous fields are never compiled, so that they count as no fallback."""
    before = _counts()
    assert _answer(query, _Item(number=1)).endswith("None")
    assert _counts() == before


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (_Item(number="many"), FallbackReason.ERROR),  # type: ignore[arg-type] # what no annotation promises
        (_Item(number=1, error=ValueError("no")), FallbackReason.ERROR),
        (_Item(number=1, error=_UnknownError("no")), FallbackReason.UNEXPECTED),
        (_Item(number=None), FallbackReason.NOT_COMPILABLE),  # type: ignore[arg-type] # as above
        (_Other(number=1), FallbackReason.NOT_COMPILABLE),
    ],
    ids=["coercion", "resolver", "unexpected", "null", "class"],
)
def test_a_fallback_is_counted_by_its_reason(item: object, reason: FallbackReason) -> None:
    """The answer is graphql-core's own, and only the counter of the reason has risen."""
    before = _counts()
    assert _answer(_PLANNED, item) == _answer(_PLANNED, item, StrawberryGraphQLCoreExecutionContext)
    risen = {name for name, count in _counts().items() if count > before[name]}
    assert risen == {reason}


def test_a_condition_without_a_value_is_an_expected_error() -> None:
    """A null where a directive needs a boolean is the client's error, and not logged."""
    query = "query ($less: Boolean = true) { item { number @skip(if: $less) } }"
    before = _counts()
    result: Any = execute(
        _SCHEMA,
        parse(query),
        _Query(item=_Item(number=1)),
        variable_values={"less": None},
        executor_class=PlannedExecutor,
    )
    assert result.errors
    assert _counts() == {**before, FallbackReason.ERROR: before[FallbackReason.ERROR] + 1}


def test_a_plan_that_cannot_be_made_falls_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours in the planning costs time, and no answer."""

    def fail(*_args: object) -> None:
        raise _UnknownError("a fault in the planning")

    monkeypatch.setattr(OperationPlan, "_step", fail)
    before = _counts()
    item = _Item(number=7)
    assert _answer(_PLANNED, item) == _answer(_PLANNED, item, StrawberryGraphQLCoreExecutionContext)
    assert _counts()[FallbackReason.UNEXPECTED] == before[FallbackReason.UNEXPECTED] + 1
    assert "a fault in the planning" in caplog.text


def test_each_unexpected_type_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first has its traceback in the log; all of them are counted."""
    before = _counts()
    for _ in range(3):
        _answer(_PLANNED, _Item(number=1, error=_UnknownError("the reason")))
    records = [record for record in caplog.records if _LOGGED in record.message]
    assert [record.exc_info is not None for record in records] == [True]
    assert _counts()[FallbackReason.UNEXPECTED] > before[FallbackReason.UNEXPECTED]
    count_fallback(KeyError("another"))
    assert caplog.text.count(_LOGGED) == 2


@pytest.mark.parametrize("error", [NotCompilableError(int), GraphQLError("no"), TypeError("no"), ValueError("no")])
def test_expected_errors_are_not_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """What is an error of the answer is for the client alone."""
    count_fallback(error)
    assert caplog.text == ""


def test_the_log_of_types_is_bounded(logged_types: set[type[Exception]], caplog: pytest.LogCaptureFixture) -> None:
    """Classes that are made at run time fill neither the log nor the memory."""
    for number in range(150):
        made: type[Exception] = type(f"Made{number}Error", (Exception,), {})
        count_fallback(made("no"))
    assert len(logged_types) == caplog.text.count(_LOGGED) == 100
