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

# What no document of the walk uses, with the reason.
_EXEMPT: dict[str, str] = {}
# The routes that return nothing of tasks, or that only hand on to the schema.
_OTHER_ROUTES = {"/", "/graphql", "/healthz", "/readyz", "/metrics"}
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
    assert coordinates(graphql_schema) - used_by(texts, graphql_schema) - _EXEMPT.keys() == set()


def test_the_walk_uses_all_routes() -> None:
    """Each route of the application is in the walk, or returns nothing of tasks."""
    assert {route.path for route in rest.ROUTES} == _REST_ROUTES
    routes: list[BaseRoute] = create_app(Settings()).routes
    assert {getattr(route, "path", None) for route in routes} - _REST_ROUTES <= _OTHER_ROUTES
