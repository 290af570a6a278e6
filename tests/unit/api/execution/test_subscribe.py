"""Subscriptions against Strawberry's own way to run them: the results and the refusals are the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult
from pymongo.errors import ServerSelectionTimeoutError
from strawberry import Schema
from strawberry.types.execution import PreExecutionError

from gql_api.aio.background import cancelled
from gql_api.api.errors import ClientError
from gql_api.api.execution.documents import Documents
from gql_api.api.execution.encoding import encode, encode_result
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.masking import MaskUnexpected
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.api.execution.subscribe import publish_results


@strawberry.type
class _Step:
    number: int

    @strawberry.field
    async def checked(self) -> int:
        if self.number == 2:
            raise ValueError("nobody is to know")
        return self.number


@strawberry.type
class _Query:
    nothing: int | None = None


@strawberry.type
class _Subscription:
    @strawberry.subscription
    async def count(self, to: int, fails: str | None = None) -> AsyncGenerator[_Step, None]:
        if fails == "told":
            raise ClientError("That cannot be counted", "BAD_USER_INPUT")
        for number in range(1, to + 1):
            yield _Step(number=number)
        if fails == "outage":
            raise ServerSelectionTimeoutError("no server")
        if fails == "hidden":
            raise KeyError("nobody is to know")

    @strawberry.subscription
    async def odd(self) -> AsyncGenerator[int | None, None]:
        yield 1
        yield "one"  # type: ignore[misc] # what no annotation promises


_SCHEMA = Schema(
    _Query,
    subscription=_Subscription,
    execution_context_class=PlannedExecutor,
    extensions=[MaskUnexpected, Documents],
)
_COUNT = "subscription ($to: Int!, $fails: String) { count(to: $to, fails: $fails) { number } }"


async def _by_strawberry(operation: Operation) -> list[Any]:
    results: list[Any] = []
    stream = await _SCHEMA.stream(operation.query, operation.variables, operation_name=operation.name)
    async with contextlib.aclosing(stream):
        async for result in stream:
            if isinstance(result, PreExecutionError):
                return [json.loads(encode([error.formatted for error in result.errors or ()]))]
            assert isinstance(result, strawberry.types.ExecutionResult)
            results.append(json.loads(encode_result(result)))
    return results


async def _by_us(operation: Operation) -> list[Any]:
    try:
        results: list[ExecutionResult] = []
        await publish_results(_SCHEMA, operation, None, results.append)
    except RefusedOperationError as refusal:
        return [json.loads(refusal.errors)]
    return [json.loads(encode_result(result)) for result in results]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (_COUNT, {"to": 3}),
        (_COUNT, {"to": 0}),
        (_COUNT, {"to": 1, "fails": "told"}),
        (_COUNT, {"to": 2, "fails": "hidden"}),
        (_COUNT, {"to": 2, "fails": "outage"}),
        (_COUNT, {"to": "three"}),
        (_COUNT, None),
        ("subscription { count(to: 3) { number checked } }", None),
        ("subscription { count(to: 3) { nothing } }", None),
        ("subscription { odd }", None),
        ("subscription A { odd }", None),
    ],
)
async def test_results_are_those_of_strawberry(query: str, variables: dict[str, Any] | None) -> None:
    """Data, errors, what is masked and what is refused are the same; only the ids of errors are each one's own."""
    operation = Operation(query, variables)
    by_strawberry, by_us = [
        re.sub(r"[0-9a-f]{32}", "ID", json.dumps(await run(operation))) for run in (_by_strawberry, _by_us)
    ]
    assert by_us == by_strawberry
    assert "nobody" not in by_us


async def test_a_document_that_cannot_be_read_is_refused() -> None:
    """Strawberry raises what is wrong with it; here it is refused as any other."""
    (errors,) = await _by_us(Operation("subscription { count(to: 3) { number "))
    assert ["Syntax Error" in error["message"] for error in errors] == [True]


async def test_a_source_is_closed_with_its_results() -> None:
    """Whoever wants no more results ends the generator of the subscription."""
    closed: list[bool] = []
    results = asyncio.Queue[ExecutionResult]()

    @strawberry.type
    class Endless:
        @strawberry.subscription
        async def ticks(self) -> AsyncGenerator[int, None]:
            try:
                while True:
                    yield 1
                    await asyncio.sleep(0)
            finally:
                closed.append(True)

    schema, operation = Schema(_Query, subscription=Endless), Operation("subscription { ticks }")
    publishing = asyncio.create_task(publish_results(schema, operation, None, results.put_nowait))
    assert (await results.get()).data == {"ticks": 1}
    assert closed == []
    await cancelled([publishing])
    assert closed == [True]
