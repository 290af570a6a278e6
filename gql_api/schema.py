"""The schema: ``strawberry export-schema gql_api.schema:schema`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import GraphQLError, OperationDefinitionNode
from strawberry import Schema
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from gql_api.errors import MaskUnexpected
from gql_api.mutations import Mutation
from gql_api.queries import Query
from gql_api.scalars import SCALARS
from gql_api.subscriptions import Subscription

_DOCUMENTS = 1000


class _Schema(Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing here: MaskUnexpected logs what the client is not told, and the rest is the client's own."""


class NamedOperation(SchemaExtension):
    """Refuses a document of several operations when the request does not say which: Strawberry would run the first.

    The rule is the GraphQL specification's GetOperation
    (https://spec.graphql.org/October2021/#sec-Executing-Requests).
    """

    def on_validate(self) -> Iterator[None]:
        """Add the error to those of the validation, which has run before."""
        context = self.execution_context
        document = context.graphql_document
        operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)] if document else []
        # Its public ``operation_name`` has the first one's name already.
        named = context._provided_operation_name is not None  # noqa: SLF001
        if len(operations) > 1 and not named and not context.pre_execution_errors:
            problem = "The document has several operations: name the one to run in operationName"
            context.pre_execution_errors = [GraphQLError(problem, nodes=operations)]
        yield


schema = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS),
    extensions=[
        MaskUnexpected,
        lambda: ParserCache(maxsize=_DOCUMENTS),
        lambda: ValidationCache(maxsize=_DOCUMENTS),
        NamedOperation,
    ],
)
