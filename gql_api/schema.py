"""The GraphQL schema, where ``strawberry export-schema gql_api.schema:schema`` finds it."""

from gql_api.api.schema.build import schema

__all__ = ["schema"]
