"""The schema: ``strawberry export-schema gql_api.api.schema.build:schema`` prints it."""

from __future__ import annotations

from functools import cache

from graphql import GraphQLError
from strawberry import Schema
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.types import ExecutionContext

from gql_api.api.execution.documents import Documents
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.masking import MaskUnexpected
from gql_api.api.schema.mutations import Mutation
from gql_api.api.schema.queries import Query
from gql_api.api.schema.scalars import SCALARS
from gql_api.api.schema.subscriptions import Subscription


class _Names(NameConverter):
    """Strawberry's names, each made once: it makes the name of an argument anew in every call of its field."""

    @cache  # noqa: B019 - there is one, and it lives as long as the process
    def apply_naming_config(self, name: str) -> str:
        """Turn a name of Python's into one of GraphQL's."""
        return super().apply_naming_config(name)


class _Schema(Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing here: MaskUnexpected logs what the client is not told, and the rest is the client's own."""


schema = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(name_converter=_Names(), scalar_map=SCALARS),
    execution_context_class=PlannedExecutor,
    extensions=[MaskUnexpected, Documents],
)
