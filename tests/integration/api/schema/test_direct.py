"""Queries and mutations that are executed without Strawberry's hooks have Strawberry's answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from front import Front
from starlette.requests import Request
from starlette.responses import Response
from strawberry import Schema
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.access.principal import ANONYMOUS, Principal, Scope
from gql_api.api.context import PRINCIPAL, Context, context_of
from gql_api.api.schema.build import schema
from gql_api.record.model import NewTask

_ERROR_ID = re.compile(r"[0-9a-f]{32}")
_TWO = "query one { viewer: __typename } query two { task(id: 1) { id } }"
_REQUESTS: dict[str, dict[str, Any]] = {
    "one task": {"query": '{ task(id: "one") { id name status metadata history { status } } }'},
    "a task that is missing": {"query": '{ task(id: "none") { id } }'},
    "variables": {"query": "query ($id: ID!) { task(id: $id) { id } }", "variable_values": {"id": "one"}},
    "a variable that is missing": {"query": "query ($id: ID!) { task(id: $id) { id } }"},
    "a variable of a wrong type": {"query": "query ($n: Int) { tasks(first: $n) { nodes { id } } }"}
    | {"variable_values": {"n": "many"}},
    "an argument that a resolver refuses": {"query": "{ tasks(first: 0) { nodes { id } } }"},
    "one error beside data": {"query": '{ task(id: "one") { id } tasks(first: 9999) { nodes { id } } }'},
    "fragments and aliases": {
        "query": '{ a: task(id: "one") { ...f } b: task(id: "two") { ...f } } fragment f on Task { id isFinal }'
    },
    "introspection": {"query": '{ __schema { queryType { name } } __type(name: "Task") { kind } }'},
    "a page with its counts": {"query": "{ tasks(first: 1) { totalCount facet(by: NAME) { value count } } }"},
    "a syntax error": {"query": "{ task(id: "},
    "a field that is unknown": {"query": "{ tsak { id } }"},
    "an operation by its name": {"query": _TWO, "operation_name": "one"},
    "several operations without a name": {"query": _TWO},
    "a name that no operation has": {"query": _TWO, "operation_name": "three"},
    "no operation": {"query": "fragment f on Task { id }"},
    "no document": {"query": None},
    "an empty document": {"query": ""},
    "a mutation that is refused": {
        "query": 'mutation { deleteTask(id: "none") { userErrors { code message field } } }'
    },
    "a mutation that is not allowed": {"query": 'mutation { deleteTask(id: "one") { deletedTaskId } }'}
    | {"allowed_operation_types": {OperationType.QUERY}},
    "a subscription": {"query": 'subscription { taskUpdated(id: "one") { id } }'}
    | {"allowed_operation_types": {OperationType.QUERY, OperationType.MUTATION}},
    "too high a cost": {"query": "{ tasks(first: 500) { nodes { children(first: 500) { nodes { id } } } } }"},
    "the cost": {"query": "{ tasks(first: 2) { nodes { id } } }", "operation_extensions": {"cost": True}},
    "other extensions": {"query": "{ __typename }", "operation_extensions": {"cost": 1, "trace": {}}},
}


@pytest.mark.parametrize("request_", _REQUESTS.values(), ids=_REQUESTS)
async def test_the_answer_is_strawberrys(front: Front, request_: dict[str, Any]) -> None:
    """Data, errors with their order, places and paths, extensions and exceptions are the same, for every caller."""
    for task_id in ("one", "two"):
        await front.services.store.create(NewTask(id=task_id, name="add", metadata={"a": [1]}))
    for caller in (ANONYMOUS, Principal("alice", frozenset({Scope.TASKS_CREATE}))):
        direct = await _outcome(schema.execute(**request_, context_value=_context(front, caller)))
        hooked = await _outcome(Schema.execute(schema, **request_, context_value=_context(front, caller)))
        assert direct == hooked


async def test_an_unexpected_error_is_masked(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a resolver that fails has an id and nothing else, as through Strawberry."""

    async def fail(*_arguments: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(front.services.store, "queues", fail)
    document = '{ queues { name } task(id: "none") { id } }'
    direct = await _outcome(schema.execute(document, context_value=_context(front)))
    assert direct == await _outcome(Schema.execute(schema, document, context_value=_context(front)))
    assert "Internal error" in str(direct)
    assert "secret" not in str(direct)


def _context(front: Front, caller: Principal = ANONYMOUS) -> Context:
    return context_of(Request({"type": "http", "app": front.app, PRINCIPAL: caller}), Response())


async def _outcome(execution: Any) -> object:
    try:
        result: ExecutionResult = await execution
    except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError) as error:
        return type(error), str(error)
    errors = [_ERROR_ID.sub("?", str(error.formatted)) for error in result.errors or ()]
    return result.data, errors, result.extensions or {}
