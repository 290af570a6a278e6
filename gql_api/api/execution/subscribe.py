"""Run subscriptions with the parts from which graphql-core composes its own ``subscribe``.

Strawberry wraps its extensions around each operation and each result, which takes longer than the rest of a
subscription's start. Two of our extensions matter here, and this module does their work: documents are parsed once, and
errors are masked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from graphql import ExecutionResult, GraphQLError, create_source_event_stream
from graphql.execution import Executor
from graphql.pyutils import is_awaitable
from strawberry import Schema

from gql_api.api.admission.scopes import principal_of
from gql_api.api.execution.documents import reader_of
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.masking import masked
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.telemetry.watchdog import label_task


async def publish_results(
    schema: Schema, operation: Operation, context: object, publish: Callable[[ExecutionResult], object]
) -> None:
    """Publish the result of each event of a subscription. An error of the source is the last result.

    Raises:
        RefusedOperationError: the operation was not executed, or its source could not be created.
    """
    executor = _executor(schema, operation, context)
    # Strawberry's resolvers of subscriptions are generators.
    source: AsyncGenerator[Any, None] | ExecutionResult = await _awaited(create_source_event_stream(executor))
    if isinstance(source, ExecutionResult):
        raise _refusal(source.errors or ())
    try:
        async for event in source:
            publish(await _result(executor, event))
            del event  # thousands of subscriptions wait for their next event, perhaps for long
    except Exception as error:  # noqa: BLE001 - the client receives it as it receives an error of a resolver
        publish(ExecutionResult(None, masked([_as_graphql_error(error)])))
    finally:
        await source.aclose()


def _executor(schema: Schema, operation: Operation, context: object) -> Executor[Any]:
    core = schema._schema  # noqa: SLF001 - as Strawberry's own integrations do
    label_task(operation.name)
    reader = reader_of(context)
    try:
        document = reader.read(core, operation.query)
        if document.errors:
            raise _refusal(document.errors)
        refusals = reader.refusals(document, operation.name, operation.variables, principal_of(context))
        if refusals:
            raise _refusal(refusals)
        reader.check_cost(document, operation.name, operation.variables)
    except GraphQLError as error:
        raise _refusal([error]) from error
    executor = PlannedExecutor.build(
        core,
        document.node,
        context_value=context,
        raw_variable_values=operation.variables,
        operation_name=operation.name,
    )
    if isinstance(executor, list):
        raise _refusal(executor)
    return executor


async def _result(executor: Executor[Any], event: object) -> ExecutionResult:
    result: ExecutionResult = await _awaited(executor.build_per_event_executor(event).execute_operation(False))
    if result.errors:
        result.errors = masked(result.errors)
    return result


async def _awaited(value: Any) -> Any:
    return await value if is_awaitable(value) else value


def _refusal(errors: Sequence[GraphQLError]) -> RefusedOperationError:
    return RefusedOperationError(encode([error.formatted for error in masked(errors)]))


def _as_graphql_error(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
