"""Run compiled plans inside graphql-core's executor, which executes everything else itself."""

from __future__ import annotations

from typing import Any, Protocol

from graphql import (
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    GraphQLError,
    GraphQLObjectType,
    GraphQLOutputType,
    OperationType,
)
from graphql.execution import Executor
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, collect_fields
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gql_api.api.admission.cache import CACHE_BYTES
from gql_api.api.admission.scopes import hidden_from, principal_of
from gql_api.api.errors import LimitExceededError
from gql_api.api.execution.completion import Answer, ItemCount
from gql_api.api.execution.documents import reader_of
from gql_api.api.execution.fallbacks import count_fallback
from gql_api.api.execution.plan import Plans


class Fanout(Protocol):
    """The subscribers of a shared execution: ``complete`` answers later events without the executor."""

    complete: Answer | None


# The place of the context among the arguments of Executor.build.
_CONTEXT = 3
_PLANS = Plans(CACHE_BYTES)


class StoppedError(LimitExceededError):
    """The error that ends an execution: no field above it is null instead."""


class PlannedExecutor(StrawberryGraphQLCoreExecutionContext):
    """An executor that gives the same answers as its base class, in less time.

    When a plan raises, the base class executes the same selection again, so that errors have its messages, paths and
    consequences: resolvers that need only their object must be free of effects. The exception is counted and, if it is
    unexpected, logged (:mod:`gql_api.api.execution.fallbacks`). A selection that was never compiled, for example
    because a field has arguments or is asynchronous, raises nothing.

    The executor is for schemas without Strawberry's exception handlers and without middleware, which would not see the
    planned fields.

    Raises:
        TypeError: there is middleware, from a schema directive or an extension's ``resolve``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.middleware_manager is not None and self.middleware_manager.middlewares:
            raise TypeError("plans do not support middleware")
        self._limits = reader_of(self.context_value).limits
        self._values = 0
        self._hidden = hidden_from(principal_of(self.context_value).scopes)
        self._plan = _PLANS.plan(
            self.schema, self.operation, self.fragment_definitions, self.variable_values.coerced, self._hidden
        )

    @classmethod
    def build(cls, *args: Any, **options: Any) -> list[GraphQLError] | Executor[Any]:
        """Build an executor for a request; errors about its variables have no suggestions if its context hides them."""
        context = args[_CONTEXT] if len(args) > _CONTEXT else options.get("context_value")
        options["hide_suggestions"] = reader_of(context).hides_schema
        return super().build(*args, **options)

    def execute_operation(
        self, serially: bool | None = None
    ) -> AwaitableOrValue[ExecutionResult | ExperimentalIncrementalExecutionResults]:
        """Execute the operation: a subscription for one event, all others for their request."""
        self._values = 0
        if self.operation.operation is OperationType.SUBSCRIPTION:
            try:
                response = self._answer_event()
            except Exception as error:  # noqa: BLE001 - graphql-core answers instead, see the class
                response = None
                count_fallback(error)
            if response is not None:
                return response
        return super().execute_operation(serially)

    def collect_and_execute_subfields(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        path: Path,
        result: Any,
        position_context: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """Complete an object, by its plan if all its selected fields are compilable."""
        before = ItemCount.items
        data: dict[str, Any] | None = None
        fields = 1
        try:
            selection = self._plan.selection(return_type, field_details_list, super().collect_subfields)
            if selection is not None:
                fields = len(selection.collected.grouped_field_set)
                if selection.completion is not None:
                    data = selection.completion.complete(result)
        except Exception as error:  # noqa: BLE001 - graphql-core answers instead, see the class
            count_fallback(error)
        self._spend(fields + ItemCount.items - before)
        if data is not None:
            return data
        return super().collect_and_execute_subfields(return_type, field_details_list, path, result, position_context)

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """Complete a field, by its plan if it is compilable."""
        step = self._plan.steps.get(id(field_details_list))
        if step is not None:
            try:
                return step(source)
            except Exception as error:  # noqa: BLE001 - graphql-core answers instead, see the class
                count_fallback(error)
        if self._hidden and f"{parent_type.name}.{field_details_list[0].node.name.value}" in self._hidden:
            return None
        return super().execute_field(parent_type, source, field_details_list, path, position_context)

    def collect_subfields(
        self, return_type: GraphQLObjectType, field_details_list: FieldDetailsList
    ) -> CollectedFields:
        """Find the selected fields of an object, once for all executions."""
        try:
            selection = self._plan.selection(return_type, field_details_list, super().collect_subfields)
        except Exception:  # noqa: BLE001 - collect_and_execute_subfields, the only caller, has met and counted it
            selection = None
        return super().collect_subfields(return_type, field_details_list) if selection is None else selection.collected

    def handle_field_error(
        self,
        raw_error: Exception,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        path: Path,
    ) -> None:
        """Keep the error of a field; after too many, stop: graphql-core cancels the fields beside it."""
        if isinstance(raw_error, StoppedError):
            raise raw_error
        count = len(self.collected_errors.errors)
        if count >= self._limits.answer_max_errors:
            raise StoppedError("errors", count + 1, self._limits.answer_max_errors)
        super().handle_field_error(raw_error, return_type, field_details_list, path)

    def _spend(self, values: int) -> None:
        """Count values of the answer.

        Raises:
            StoppedError: the answer has too many.
        """
        self._values += values
        if self._values > self._limits.answer_max_values:
            raise StoppedError("values of the answer", self._values, self._limits.answer_max_values)

    def _answer_event(self) -> ExecutionResult | ExperimentalIncrementalExecutionResults | None:
        answer = self._plan.answer(self._collect_root, super().collect_subfields)
        if answer is None:
            return None
        response = self.build_response(answer(self.root_value))
        fanout: Fanout | None = getattr(self.context_value, "fanout", None)
        if fanout is not None:
            fanout.complete = answer  # later events need not pass through the executor
        return response

    def _collect_root(self, type_: GraphQLObjectType) -> CollectedFields:
        return collect_fields(
            self.schema, self.fragments, self.variable_values, type_, self.operation, self.hide_suggestions
        )
