from __future__ import annotations

from graphql import parse

from gql_api.api.execution.executor import PlannedExecutor
from gql_api.schema import schema


def test_an_executor_has_no_dictionary() -> None:
    """All attributes, graphql-core's too, have slots: each of thousands of subscriptions keeps an executor."""
    executor = PlannedExecutor.build(schema._schema, parse("{ __typename }"))  # noqa: SLF001 - as the API does
    assert isinstance(executor, PlannedExecutor)
    assert vars(executor) == {}
