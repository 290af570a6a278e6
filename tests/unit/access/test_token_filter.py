from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import GraphQLInputObjectType
from graphql.utilities import coerce_input_value
from hypothesis import given, settings
from strategies import FILTERS
from strawberry.types.arguments import convert_argument

from gql_api.access.principal import Principal
from gql_api.access.token_filter import both, check_token_filter, filter_as_json, read_token_filter
from gql_api.api.schema.build import schema
from gql_api.api.schema.filters import TaskFilter as TaskFilterInput
from gql_api.query.compile import compile_filter
from gql_api.query.filter import TaskFilter
from gql_api.record.fields import Status
from gql_api.values import InvalidValueError


def _of_graphql(value: dict[str, Any]) -> TaskFilter:
    """Return the filter that a GraphQL argument with this value is."""
    type_ = schema._schema.type_map["TaskFilter"]  # noqa: SLF001 - Strawberry has no other way to it
    assert isinstance(type_, GraphQLInputObjectType)
    converted: Any = convert_argument(
        coerce_input_value(value, type_), TaskFilterInput, schema.schema_converter.scalar_registry, schema.config
    )
    filter_: TaskFilter = converted.task_filter()
    return filter_


def _lasting(filter_: TaskFilter) -> TaskFilter:
    """Return the filter without the conditions that a token must not have."""
    any_of, none_of = filter_.any_of, filter_.none_of
    return replace(
        filter_,
        statuses=None,
        error_types=None,
        is_replayed=None,
        finished_at=None,
        updated_at=None,
        all_of=[_lasting(each) for each in filter_.all_of],
        any_of=None if any_of is None else [_lasting(each) for each in any_of],
        none_of=None if none_of is None else _lasting(none_of),
    )


@settings(max_examples=300, deadline=None)
@given(FILTERS.map(_lasting))
def test_what_is_written_is_read_again_and_is_what_graphql_reads(filter_: TaskFilter) -> None:
    """The JSON form of a filter is read back unchanged, and the GraphQL input reads the same from it."""
    written = json.loads(json.dumps(filter_as_json(filter_)))
    read = read_token_filter(written)
    assert read == _of_graphql(written)
    assert filter_as_json(read) == written
    assert compile_filter(read).query == compile_filter(filter_).query


def _refusals() -> Iterator[tuple[object, str]]:
    yield [], "must be an object"
    yield None, "must be an object"
    yield {"statuses": ["QUEUED"]}, "statuses: is not allowed"
    yield {"errorTypes": ["ValueError"]}, "errorTypes: is not allowed"
    yield {"isReplayed": False}, "isReplayed: is not allowed"
    yield {"AND": [{"OR": [{"NOT": {"finishedAt": {}}}]}]}, "AND.0.OR.0.NOT.finishedAt: is not allowed"
    yield {"updatedAt": {}}, "updatedAt: is not allowed"
    yield {"owners": ["alice"]}, "owners: is not allowed"
    yield {"owner\n": ["alice"]}, r"'owner\\n': is not allowed"
    yield {"names": "add"}, "names: must be a list"
    yield {"ids": [1]}, "ids.0: must be a text"
    yield {"parentId": 1}, "parentId: must be a text"
    yield {"createdAt": {"gt": "2030-01-01T00:00:00Z"}}, "createdAt.gt: is not a bound"
    yield {"createdAt": {"gte": "2030-01-01"}}, "createdAt.gte: must be a time with an offset"
    yield {"createdAt": {"lt": "2030-01-01T00:00:00"}}, "createdAt.lt: must be a time with an offset"
    yield {"metadata": {"path": "a", "eq": 1}}, "metadata: must be a list"
    yield {"metadata": [{"eq": 1}]}, "metadata.0.path: must be a text"
    yield {"metadata": [{"path": "a", "$where": "1"}]}, "metadata.0.\\$where: is not an operator"
    yield {"metadata": [{"path": "a", "in": 1}]}, "metadata.0.in: must be a list or null"
    yield {"metadata": [{"path": "a", "startsWith": 1}]}, "metadata.0.startsWith: must be a text"
    yield {"metadata": [{"path": "a", "exists": 1}]}, "metadata.0.exists: must be true, false or null"
    yield {"metadata": [{"path": "a", "eq": {"$gt": 1}}]}, "metadata.0.eq: takes a single value, not an object"
    yield {"metadata": [{"path": "a\\b", "eq": 1}]}, "metadata.0.path: a backslash must precede"
    yield {"ids": ["x"] * 1001}, "at most 1000 values allowed"
    yield {"NOT": []}, "NOT: must be an object"
    yield {"OR": [None]}, "OR.0: must be an object"


@pytest.mark.parametrize(("value", "message"), [*_refusals()], ids=lambda each: str(each)[:60])
def test_a_refused_filter_names_the_place(value: object, message: str) -> None:
    """What a token's filter must not have, or what is no filter, is refused with its path."""
    with pytest.raises(InvalidValueError, match=message):
        read_token_filter(value)


def test_a_field_that_is_null_counts_as_left_out() -> None:
    """Null is no condition, as in GraphQL, but a value of an operator."""
    value = {"ids": None, "statuses": None, "AND": None, "NOT": None, "metadata": [{"path": "a", "eq": None}]}
    assert read_token_filter(value) == _of_graphql(value)


def test_a_filter_of_graphql_with_a_status_is_refused() -> None:
    """A filter that a client sent as GraphQL is checked like one that was read from JSON."""
    with pytest.raises(InvalidValueError, match=r"NOT.statuses: is not allowed in the filter of a token"):
        check_token_filter(TaskFilter(none_of=TaskFilter(statuses=[Status.QUEUED])))
    with pytest.raises(InvalidValueError, match=r"errorTypes: is not allowed"):
        check_token_filter(TaskFilter(all_of=[TaskFilter(error_types=["ValueError"])]))
    with pytest.raises(InvalidValueError, match=r"owners: is not allowed"):
        check_token_filter(TaskFilter(owners=["alice"]))


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"names": ["add"]}
    for _ in range(levels):
        value = {"NOT": value}
    return value


def test_every_filter_that_is_accepted_makes_a_visibility() -> None:
    """The limits of filters hold for the filter and its owner's together: a token that was issued always works."""
    principal = Principal("alice", frozenset(), "acme", read_token_filter(_deep(7)))
    assert principal.visibility.query
    for levels in (8, 9, 5000):
        with pytest.raises(InvalidValueError, match="nested more than 8 levels deep"):
            read_token_filter(_deep(levels))


def test_filters_are_combined_without_becoming_deeper() -> None:
    """However often a token is narrowed, its filter has one level more than the filters in it."""
    one, two = TaskFilter(names=["a"]), TaskFilter(queues=["b"])
    assert both(None, None) is None
    assert both(one, None) == both(None, one) == one
    combined = both(both(both(one, two), one), two)
    assert combined == TaskFilter(all_of=[one, two, one, two])
    read = read_token_filter(filter_as_json(combined))
    assert both(read, one) == TaskFilter(all_of=[*read.all_of, one])
    assert both(TaskFilter(names=["c"], all_of=[two]), one) == TaskFilter(
        all_of=[TaskFilter(names=["c"], all_of=[two]), one]
    )
