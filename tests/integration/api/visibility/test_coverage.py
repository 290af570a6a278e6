"""The walk is exhaustive: what is added to the schema or to the routes has to be added to the walk too."""

from __future__ import annotations

import pytest
from graphql import GraphQLSchema, parse, validate
from starlette.routing import BaseRoute
from walk import coordinates, documents, used_by

from gql_api.api.http import rest
from gql_api.api.schema.build import schema
from gql_api.app import create_app
from gql_api.settings import Settings

# The types and root fields that no document of the walk uses, with the reason.
_EXEMPT = {
    "it shows the caller": ("Viewer", "Query.viewer"),
    "tokens are no tasks; test_issued_tokens.py has whose tokens a caller sees": (
        "ApiToken", "ApiTokenConnection", "ApiTokenEdge", "CreateAccessTokenInput", "CreateAccessTokenPayload",
        "CreateApiTokenInput", "CreateApiTokenPayload", "RevokeApiTokenPayload", "Query.apiTokens",
        "Mutation.createAccessToken", "Mutation.createApiToken", "Mutation.revokeApiToken",
    ),
    "entries are no tasks; test_audit_log.py has whose entries a caller sees": (
        "AuditEntry", "AuditLogConnection", "AuditLogEdge", "AuditLogFilter", "Query.auditLog",
    ),
}  # fmt: skip
# The routes that return nothing of tasks, or that only hand on to the schema.
_OTHER_ROUTES = {"/assets/{file}", "/", "/graphql", "/healthz", "/readyz", "/metrics"}
# Those that test_rest.py walks.
_REST_ROUTES = {"/create-task", "/task/{id}", "/tasks"}


@pytest.fixture(scope="module")
def graphql_schema() -> GraphQLSchema:
    """The schema in graphql-core's form."""
    return schema._schema  # noqa: SLF001 - Strawberry has no other way to it


def test_the_walk_uses_the_whole_schema(graphql_schema: GraphQLSchema) -> None:
    """Each field, argument and input field of queries and mutations is in a document of the walk, or has a reason."""
    texts = documents()
    assert [error for text in texts for error in validate(graphql_schema, parse(text))] == []
    unused = coordinates(graphql_schema) - used_by(texts, graphql_schema)
    exempt = {name for names in _EXEMPT.values() for name in names}
    assert {each for each in unused if exempt.isdisjoint({each.partition("(")[0], each.partition(".")[0]})} == set()


def test_the_walk_uses_all_routes() -> None:
    """Each route of the application is in the walk, or returns nothing of tasks."""
    assert {route.path for route in rest.ROUTES} == _REST_ROUTES
    routes: list[BaseRoute] = create_app(Settings()).routes
    assert {getattr(route, "path", None) for route in routes} - _REST_ROUTES <= _OTHER_ROUTES
