"""Execute queries and mutations by graphql-core itself: Strawberry's hooks around it take longer than most operations.

The answers are those of Strawberry's ``Schema.execute`` with the extensions of this wing, which subscriptions use. A
test compares both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import graphql
from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode
from strawberry.exceptions import MissingQueryError
from strawberry.execution.is_awaitable import optimized_is_awaitable
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.api.admission.scopes import principal_of
from gql_api.api.execution.documents import Document, ambiguity, cost_extensions, reader_of
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.masking import masked
from gql_api.api.execution.operation import Operation
from gql_api.telemetry.watchdog import label_task


async def execute(
    schema: GraphQLSchema,
    operation: Operation,
    context: object,
    allowed: Collection[OperationType],
    extensions: Mapping[str, Any] | None = None,
) -> ExecutionResult:
    """Execute an operation, and return its result, in which unexpected errors are masked.

    Args:
        schema: the schema.
        operation: the operation.
        context: the context of its resolvers.
        allowed: the types of operations that the request may run.
        extensions: those of the request; ``{"cost": true}`` asks for the cost.

    Raises:
        MissingQueryError: the operation has no document.
        CannotGetOperationTypeError: the document has no such operation.
        InvalidOperationTypeError: the request may not run operations of this type.
    """
    if not operation.query:
        raise MissingQueryError
    label_task(operation.name)
    reader = reader_of(context)
    try:
        document = reader.read(schema, operation.query)
        _check_type(document, operation.name, allowed)
        errors = document.errors or ambiguity(document.node, operation.name)
        if not errors:
            caller = principal_of(context)
            errors = [*reader.refusals(document, operation.name, operation.variables, caller)]
        if errors:
            return ExecutionResult(data=None, errors=masked(errors))
        cost = reader.check_cost(document, operation.name, operation.variables)
        result = await _executed(schema, document.node, operation, context, extensions)
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        raise
    except Exception as error:  # noqa: BLE001 - as in Strawberry; masked logs what is unexpected
        return ExecutionResult(data=None, errors=masked([_coerced(error)]))
    found = masked(result.errors) if result.errors else None
    return ExecutionResult(data=result.data, errors=found, extensions=cost_extensions(context, extensions, cost))


def _check_type(document: Document, name: str | None, allowed: Collection[OperationType]) -> None:
    node = document.operation(name) if name is not None else _first(document.node)
    if node is None:
        raise CannotGetOperationTypeError(name)
    type_ = OperationType(node.operation.value)
    if type_ not in allowed:
        raise InvalidOperationTypeError(type_)


def _first(node: DocumentNode) -> OperationDefinitionNode | None:
    return next((each for each in node.definitions if isinstance(each, OperationDefinitionNode)), None)


async def _executed(
    schema: GraphQLSchema,
    node: DocumentNode,
    operation: Operation,
    context: object,
    extensions: Mapping[str, Any] | None,
) -> graphql.ExecutionResult:
    result = graphql.execute(
        schema,
        node,
        context_value=context,
        variable_values=operation.variables,
        operation_name=operation.name,
        executor_class=PlannedExecutor,
        is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type] # Strawberry declares less than it checks
        operation_extensions=extensions,
    )
    return result if isinstance(result, graphql.ExecutionResult) else await result


def _coerced(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
