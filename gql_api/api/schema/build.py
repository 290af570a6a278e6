"""The schema, put together from its root types."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from graphql import GraphQLError
from strawberry import Schema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.api.execution import direct
from gql_api.api.execution.documents import Documents
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.masking import MaskUnexpected, masked
from gql_api.api.execution.operation import Operation
from gql_api.api.schema.mutations import Mutation
from gql_api.api.schema.queries import Query
from gql_api.api.schema.scalars import SCALARS
from gql_api.api.schema.subscriptions import Subscription
from gql_api.api.store.budget import one_answer

_ALL = frozenset(OperationType)


class _Names(NameConverter):
    """Strawberry's name converter with a cache: Strawberry converts the names of arguments in every call of a field."""

    @cache  # noqa: B019 - there is one instance, which lives as long as the process
    def apply_naming_config(self, name: str) -> str:
        """Return the GraphQL name of a Python name."""
        return super().apply_naming_config(name)


class _Budget(SchemaExtension):
    """A Strawberry extension that gives each answer a budget; each event of a subscription is an answer."""

    def on_execute(self) -> Iterator[None]:
        """Execute the operation."""
        is_subscription = self.execution_context.operation_type is OperationType.SUBSCRIPTION
        with contextlib.nullcontext() if is_subscription else one_answer():
            yield


class _Schema(Schema):
    # Strawberry's arguments, of which the root value is always None.
    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,  # noqa: ARG002
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Execute a query or a mutation without Strawberry's hooks, which the extensions are for."""
        operation = Operation(query or "", variable_values, operation_name)
        allowed = _ALL if allowed_operation_types is None else set(allowed_operation_types)
        with one_answer():
            return await direct.execute(self._schema, operation, context_value, allowed, operation_extensions)

    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - Strawberry's interface
    ) -> None:
        """Mask the errors: MaskUnexpected does not see what is raised outside of all fields. Log nothing else."""
        errors[:] = masked(errors)


schema = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(name_converter=_Names(), scalar_map=SCALARS),
    execution_context_class=PlannedExecutor,
    extensions=[MaskUnexpected, Documents, _Budget],
)
