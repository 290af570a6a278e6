"""Execute queries and mutations without Strawberry's hooks, and most of them without graphql-core's executor too.

The hooks around an execution take longer than most operations, and so does the executor around a single resolver: an
operation of one root field is prepared once (:mod:`gql_api.api.execution.root_field`). The answers are those of
Strawberry's ``Schema.execute`` with the extensions of this wing, which subscriptions use. A test compares both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, cast

import graphql
from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode
from graphql.pyutils import AwaitableOrValue
from strawberry.exceptions import MissingQueryError
from strawberry.execution.is_awaitable import optimized_is_awaitable
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.api.admission.cache import CACHE_BYTES, WeighedCache, weight_of
from gql_api.api.admission.scopes import hidden_from, principal_of
from gql_api.api.execution.documents import Document, ambiguity, cost_extensions, reader_of
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.inputs.coercion import MISSING
from gql_api.api.execution.inputs.variables import OperationVariables
from gql_api.api.execution.masking import masked
from gql_api.api.execution.operation import Operation
from gql_api.api.execution.root_field import RootField
from gql_api.telemetry.watchdog import label_task

# With the operations, which keep their ids from being used again.
_VARIABLES: WeighedCache[tuple[int, int], OperationVariables] = WeighedCache(CACHE_BYTES)
# False stands for what graphql-core has to execute.
_ROOT_FIELDS: WeighedCache[tuple[object, ...], tuple[OperationVariables, RootField | Literal[False]]] = WeighedCache(
    CACHE_BYTES
)


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
    except (CannotGetOperationTypeError, InvalidOperationTypeError):
        raise
    except Exception as error:  # noqa: BLE001 - as in Strawberry; masked logs what is unexpected
        return ExecutionResult(data=None, errors=masked([_coerced(error)]))
    if errors:
        return ExecutionResult(data=None, errors=masked(errors))
    return await run(schema, document, operation, context, extensions)


async def run(
    schema: GraphQLSchema,
    document: Document,
    operation: Operation,
    context: object,
    extensions: Mapping[str, Any] | None = None,
) -> ExecutionResult:
    """Execute an operation of a valid document that has it, if its caller may; see :func:`execute`."""
    reader = reader_of(context)
    try:
        errors = reader.refusals(document, operation.name, operation.variables, principal_of(context))
        if errors:
            return ExecutionResult(data=None, errors=masked(errors))
        cost = reader.check_cost(document, operation.name, operation.variables)
        result = await _executed(_Execution(schema, document, operation, context, extensions))
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


class _Execution(NamedTuple):
    schema: GraphQLSchema
    document: Document
    operation: Operation
    context: object
    extensions: Mapping[str, Any] | None

    def executor(self) -> list[GraphQLError] | PlannedExecutor:
        """Build graphql-core's executor, or return why it refuses the variables."""
        return PlannedExecutor.build(  # type: ignore[return-value] # it has the class that it is called on
            self.schema,
            self.document.node,
            None,
            self.context,
            self.operation.variables,
            self.operation.name,
            is_awaitable=optimized_is_awaitable,
            operation_extensions=self.extensions,
        )


async def _executed(execution: _Execution) -> graphql.ExecutionResult:
    node = execution.document.operation(execution.operation.name)
    assert node is not None  # noqa: S101 - the document has the operation
    raw = execution.operation.variables or {}
    variables = _variables_of(execution.schema, node)
    conditions = variables.conditions(raw)
    key = (id(execution.schema), id(node), hidden_from(principal_of(execution.context).scopes), conditions)
    _, root_field = _ROOT_FIELDS.get(key) or (None, None)
    if root_field:
        result = await _prepared(execution, root_field, variables.coerced(raw))
        if result is not None:
            return result
    executor = execution.executor()
    if isinstance(executor, list):
        return graphql.ExecutionResult(None, errors=executor)
    if root_field is None and conditions is not None:
        _ROOT_FIELDS.put(key, (variables, _prepare(executor)), weight_of(node))
    # The schema has no directive by which an answer would come in parts.
    executing = cast("AwaitableOrValue[graphql.ExecutionResult]", executor.execute_operation())
    return executing if isinstance(executing, graphql.ExecutionResult) else await executing


async def _prepared(
    execution: _Execution, root_field: RootField, variables: dict[str, Any] | None
) -> graphql.ExecutionResult | None:
    """Execute a root field that is prepared; None if graphql-core has to, and nothing has happened yet."""
    arguments = None if variables is None else root_field.arguments(variables)
    if variables is None or arguments is None:
        return None
    value = await root_field.resolve(arguments, variables, execution.context, execution.extensions)
    data = root_field.complete(value, reader_of(execution.context).limits.answer_max_values)
    if data is not MISSING:
        return graphql.ExecutionResult({root_field.key: data}, None)
    executor = execution.executor()
    assert isinstance(executor, PlannedExecutor)  # noqa: S101 - the variables are valid
    return await executor.completed(root_field.root, root_field.key, root_field.details, value)


def _variables_of(schema: GraphQLSchema, node: OperationDefinitionNode) -> OperationVariables:
    key = id(schema), id(node)
    variables = _VARIABLES.get(key)
    if variables is None:
        variables = OperationVariables(schema, node)
        _VARIABLES.put(key, variables, weight_of(node))
    return variables


def _prepare(executor: PlannedExecutor) -> RootField | Literal[False]:
    try:
        root, fields = executor.root_fields()
        ((key, details),) = fields.items()
        return RootField(executor, root, key, details)
    except Exception:  # noqa: BLE001 - graphql-core executes the operation, and meets what is wrong
        return False


def _coerced(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
