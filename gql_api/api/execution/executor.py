"""graphql-core's executor, with plans for what is plain and graphql-core itself for all else."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from graphql import ExecutionResult, ExperimentalIncrementalExecutionResults, GraphQLObjectType, OperationType
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, collect_fields
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gql_api.api.execution.completion import Answer
from gql_api.api.execution.plan import Plans


class Fanout(Protocol):
    """The subscribers of a shared execution: ``complete`` answers later events without the executor."""

    complete: Answer | None


# As many as documents are kept.
_PLANS = Plans(1000)


class PlannedExecutor(StrawberryGraphQLCoreExecutionContext):
    """Answers exactly what its base answers, sooner.

    A selection of which anything goes wrong is executed again by the base, so that errors have its words, paths and
    consequences: resolvers that take nothing but their object must be free of effects. It is for schemas without
    Strawberry's exception handlers, and without middleware, which would not see what is planned.

    Raises:
        TypeError: there is middleware, of a schema directive or an extension's ``resolve``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.middleware_manager is not None and self.middleware_manager.middlewares:
            raise TypeError("plans have no room for middleware")
        self._plan = _PLANS.plan(self.schema, self.operation, self.fragment_definitions, self.variable_values.coerced)

    def execute_operation(
        self, serially: bool | None = None
    ) -> AwaitableOrValue[ExecutionResult | ExperimentalIncrementalExecutionResults]:
        """Execute the operation: a subscription for one event, others for their request."""
        answer = self._event_answer() if self.operation.operation is OperationType.SUBSCRIPTION else None
        if answer is not None:
            with contextlib.suppress(Exception):
                response = self.build_response(answer(self.root_value))
                fanout: Fanout | None = getattr(self.context_value, "fanout", None)
                if fanout is not None:
                    fanout.complete = answer  # later events need not come here
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
        """Complete an object, at once if all that is selected of it is plain."""
        with contextlib.suppress(Exception):
            selection = self._plan.selection(return_type, field_details_list, super().collect_subfields)
            if selection is not None and selection.completion is not None:
                data: dict[str, Any] = selection.completion.complete(result)
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
        """Complete a field, at once if it is plain."""
        step = self._plan.steps.get(id(field_details_list))
        if step is not None:
            with contextlib.suppress(Exception):
                return step(source)
        return super().execute_field(parent_type, source, field_details_list, path, position_context)

    def collect_subfields(
        self, return_type: GraphQLObjectType, field_details_list: FieldDetailsList
    ) -> CollectedFields:
        """Find the fields that are selected of an object, once for all executions."""
        selection = self._plan.selection(return_type, field_details_list, super().collect_subfields)
        return super().collect_subfields(return_type, field_details_list) if selection is None else selection.collected

    def _event_answer(self) -> Answer | None:
        with contextlib.suppress(Exception):
            return self._plan.answer(self._collect_root, super().collect_subfields)
        return None

    def _collect_root(self, type_: GraphQLObjectType) -> CollectedFields:
        return collect_fields(
            self.schema, self.fragments, self.variable_values, type_, self.operation, self.hide_suggestions
        )
