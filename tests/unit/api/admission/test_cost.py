"""The cost of operations, by the rules that docs/limits.md gives to clients."""

from __future__ import annotations

import re
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_introspection_query,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_introspection_type,
    is_list_type,
)
from support import ROOT

from gql_api.api.admission.cost import DEFAULT_PAGE_SIZE, LISTS, MAX_PAGE_SIZE, PAGES, SCANS
from gql_api.api.execution.documents import DEFAULT_READER
from gql_api.api.schema import pagination
from gql_api.api.schema.build import schema

_CORE = schema._schema  # noqa: SLF001 - the schema that operations run on
_DOCUMENTS = re.compile(r"```graphql\n(.*?)```", re.DOTALL)


def _cost(query: str, **variables: Any) -> int:
    document = DEFAULT_READER.read(_CORE, query)
    assert not document.errors
    return document.cost(None, variables)


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ __typename }", 1),
        ('{ task(id: "t") { id status } }', 1 + 4 + 4 + 2),
        ("{ tasks { nodes { id } } }", 1 + 500 + 4 + 1 + 20 * 5),
        ("{ tasks(first: 3) { nodes { id } edges { node { id } } } }", 5 + 504 + 1 + 3 * 5 + 1 + 3 * 10),
        ("{ tasks(last: 3) { pageInfo { endCursor } totalCount } }", 5 + 504 + 6 + 501),
        ("{ task(id: 1) { children(first: 2) { totalCount facet(by: NAME) { count } } } }", 9 + 5 + 4 + 1 + 605),
        ("{ tasks { facet(by: STATUS) { count } } }", 505 + 505 + 20 * 5),
        ("{ tasks { ...A } } fragment A on TaskConnection { nodes { ...B } } fragment B on Task { id }", 606),
        ('{ nodes(ids: ["a", "b"]) { id ... on Task { name } } }', 5 + 2 * 6),
        ('{ task(id: "t") { logs { nodes { message } } history { status } } }', 9 + 6 + 100 * 5 + 1 + 5 * 5),
        ('{ task(id: "t") { metadata same: metadata metadata(asText: true) } }', 9 + 1 + 1 + 5),
        ("{ tasks(first: 1000000) { nodes { id } } }", 5 + 504 + 1 + 500 * 5),
    ],
)
def test_a_client_can_compute_the_cost(query: str, cost: int) -> None:
    """The cost is the sum that the page describes."""
    assert DEFAULT_READER.read(_CORE, query).cost(None, None) == cost


def test_variables_decide_page_sizes() -> None:
    """The cost follows the values of variables, their defaults, and the API's defaults for null."""
    query = "query ($n: Int = 7) { tasks(first: $n) { nodes { id children(first: $n) { nodes { id } } } } }"

    def expected(size: int) -> int:
        return 5 + 504 + 1 + size * (5 + 5 + 4 + 1 + size * 5)

    assert _cost(query, n=3) == expected(3)
    assert _cost(query) == expected(7)
    assert _cost(query, n=None) == expected(20)
    assert _cost(query, n=-5) == expected(0)
    assert _cost(query, n="wrong") == expected(20)
    assert _cost(query, n=50.0) == expected(50), "the type Int accepts it"
    assert _cost(query, n=1e300) == expected(500)


def test_lists_of_inputs_count_their_items() -> None:
    """The results of createTasks are as many as its inputs, and the tasks of nodes as many as the ids."""
    query = "mutation ($inputs: [CreateTaskInput!]!) { createTasks(inputs: $inputs) { results { task { id } } } }"
    assert _cost(query, inputs=[{"name": "a"}] * 10) == 5 + 4 + 1 + 10 * (4 + 1 + 4 + 1)
    assert _cost("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["a", "b"]) == 5 + 2 * 5


def test_the_example_of_the_page_is_right() -> None:
    """The page's own sum is the cost of the page's own query."""
    page = (ROOT / "docs/limits.md").read_text()
    (query,) = _DOCUMENTS.findall(page)
    assert f'"extensions": {{"cost": {{"value": {_cost(query)}, "max": 20000}}}}' in page


def test_the_documents_of_the_pages_leave_a_wide_margin() -> None:
    """No document in docs/ needs more than a tenth of the cost that a request may have."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    documents = [query for page in pages if page.stem != "limits" for query in _DOCUMENTS.findall(page.read_text())]
    assert len(documents) > 10
    for query in documents:
        document = DEFAULT_READER.read(_CORE, query)
        for operation in document.operations:
            assert document.cost(operation, {"first": 50}) <= DEFAULT_READER.limits.request_max_cost / 10, query


def test_the_usual_introspection_is_allowed_and_cannot_be_multiplied() -> None:
    """A tool may read the schema, once in a request."""
    assert _cost(get_introspection_query()) <= DEFAULT_READER.limits.request_max_cost / 2


def test_every_list_of_objects_has_a_size() -> None:
    """A new list needs a decision on how many items it counts as."""
    lists = set()
    for type_ in _CORE.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(type_):
            for name, field in type_.fields.items():
                sized = {"first", "ids"} & field.args.keys()
                is_list = is_list_type(get_nullable_type(field.type))
                if is_list and is_composite_type(get_named_type(field.type)) and not sized:
                    lists.add(f"{type_.name}.{name}")
    assert lists == LISTS.keys() | PAGES
    coordinates = {f"{type_.name}.{name}" for type_ in _CORE.type_map.values() for name in getattr(type_, "fields", ())}
    assert coordinates >= SCANS


def test_the_page_sizes_are_those_of_the_resolvers() -> None:
    """The cost and the resolvers agree about defaults and bounds."""
    assert (DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE) == (pagination.DEFAULT_PAGE_SIZE, pagination.MAX_PAGE_SIZE)
