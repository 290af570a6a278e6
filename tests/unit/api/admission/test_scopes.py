"""The scopes that operations need, however they select their fields."""

from __future__ import annotations

import re
from typing import Any

import pytest
from graphql import GraphQLObjectType, OperationDefinitionNode, build_schema, is_non_null_type, parse
from prometheus_client import REGISTRY
from root_fields import CORE, RootField, root_fields
from support import ROOT

from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal, Scope
from gql_api.api.admission.scopes import NULL_WITHOUT, ROOT_FIELDS, STATE_FIELDS, hidden_from, needs_of, principal_of
from gql_api.api.execution.documents import DEFAULT_READER

_NOBODY = Principal("nobody", frozenset())


def _unmet(
    query: str, principal: Principal = _NOBODY, variables: dict[str, Any] | None = None, name: str | None = None
) -> list[str]:
    document = DEFAULT_READER.read(CORE, query)
    assert document.errors == []
    return [error.message for error in DEFAULT_READER.refusals(document, name, variables, principal)]


def _refused(scope: Scope) -> float:
    return REGISTRY.get_sample_value("gql_api_refused_operations_total", {"scope": scope}) or 0.0


def test_every_root_field_has_its_scope() -> None:
    """A root field that is not in the table would need ADMIN."""
    roots = (CORE.query_type, CORE.mutation_type, CORE.subscription_type)
    coordinates = {f"{root.name}.{name}" for root in roots if root is not None for name in root.fields}
    assert coordinates <= ROOT_FIELDS.keys()


def test_the_documented_scopes_are_those_of_the_code() -> None:
    """The table of docs/security.md has every root field, with its scope."""
    section = (ROOT / "docs/security.md").read_text().partition("| root fields | scope |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines()[2:]]
    documented = {name: scope.strip(" `") for names, scope in rows for name in re.findall("`(.+?)`", names)}
    assert documented == {name.partition(".")[2]: scope or "none" for name, scope in ROOT_FIELDS.items()}


def test_the_named_fields_exist() -> None:
    """The fields of Task that need no TASKS_READ exist, and fields that a missing scope hides can be null."""
    task = CORE.type_map["Task"]
    assert isinstance(task, GraphQLObjectType)
    assert task.fields.keys() >= STATE_FIELDS
    for coordinate in NULL_WITHOUT:
        type_name, _, name = coordinate.partition(".")
        type_ = CORE.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)
        assert not is_non_null_type(type_.fields[name].type)


@pytest.mark.parametrize("field", root_fields(), ids=lambda field: field.name)
def test_a_field_needs_exactly_its_scope(field: RootField) -> None:
    """It is refused without the scope, with an error that names both, and allowed with nothing else."""
    if field.scope is None:
        assert _unmet(field.document) == []
        return
    assert _unmet(field.document) == [f"{field.name}: needs the scope {field.scope}"]
    assert _unmet(field.document, Principal("all", ALL_SCOPES - {field.scope})) != []
    assert _unmet(field.document, Principal("one", frozenset({field.scope}))) == []


@pytest.mark.parametrize(
    "query",
    [
        "{ tasks { nodes { id } } }",
        "{ innocent: tasks { __typename } }",
        "{ ... { tasks { __typename } } }",
        "{ ... on Query { ... on Query { tasks { __typename } } } }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { x: tasks { __typename } }",
        "query { __typename ...A @include(if: true) } fragment A on Query { tasks { __typename } }",
        "{ tasks @skip(if: false) { __typename } }",
    ],
)
def test_no_way_of_selecting_a_field_avoids_its_scope(query: str) -> None:
    """Aliases, fragments and conditions change nothing."""
    assert _unmet(query) == ["tasks: needs the scope TASKS_READ"]


@pytest.mark.parametrize(
    "query",
    [
        "{ __typename }",
        '{ __schema { queryType { name } } __type(name: "Task") { name } }',
        "{ __typename tasks @include(if: false) { __typename } }",
        "{ __typename ... @skip(if: true) { workers { __typename } } }",
    ],
)
def test_what_selects_nothing_needs_nothing(query: str) -> None:
    """Introspection, and fields that are never selected, need no scope."""
    assert _unmet(query) == []


@pytest.mark.parametrize(
    ("variables", "is_refused"),
    [({"a": True}, True), ({"a": False}, False), ({}, False), ({"a": None}, True), ({"a": 0}, True), (None, False)],
)
def test_a_condition_with_a_variable_counts(variables: dict[str, Any] | None, *, is_refused: bool) -> None:
    """A page that shows a part to administrators only can be one operation; what is no boolean selects the field."""
    fragment = "fragment A on Query { workers { __typename } }"
    query = f"query ($a: Boolean! = false) {{ __typename ...A @include(if: $a) }} {fragment}"
    assert bool(_unmet(query, variables=variables)) is is_refused


def test_an_unconditional_use_counts_beside_a_conditional_one() -> None:
    """A fragment that is used twice is needed if either use is."""
    query = """query ($a: Boolean!) { ...A @include(if: $a) ...A } fragment A on Query { workers { __typename } }"""
    assert _unmet(query, variables={"a": False}) == ["workers: needs the scope OPERATE"]


def test_each_missing_scope_has_an_error() -> None:
    """The errors name the first field of each scope, in the order of the document."""
    query = "{ workers { hostname } queues { name } auditLog { nodes { id } } task(id: 1) { id } }"
    assert _unmet(query, Principal("reader", frozenset({Scope.TASKS_READ}))) == [
        "workers: needs the scope OPERATE",
        "auditLog: needs the scope ADMIN",
    ]


def test_each_operation_of_a_document_has_its_own_needs() -> None:
    """The needs are those of the operation that runs; a name that no operation has needs what all of them need."""
    query = "query A { workers { hostname } } query B { tasks { __typename } } query C { __typename }"
    assert _unmet(query, name="A") == ["workers: needs the scope OPERATE"]
    assert _unmet(query, name="B") == ["tasks: needs the scope TASKS_READ"]
    assert _unmet(query, name="C") == []
    assert len(_unmet(query, name="D")) == 2
    assert len(_unmet(query)) == 2


def test_a_cached_document_is_checked_for_each_caller() -> None:
    """What one caller may do says nothing about the next."""
    query = "query Cached { workers { hostname } }"
    assert _unmet(query, ANONYMOUS) == []
    assert _unmet(query) == ["workers: needs the scope OPERATE"]
    assert _unmet(query, ANONYMOUS) == []


@pytest.mark.parametrize(
    ("selection", "refused"),
    [
        ("id status isFinal revision createdAt owner", None),
        ("id result", "Task.result"),
        ("id parent { id }", "Task.parent"),
        ("... on Task { x: kwargs }", "Task.kwargs"),
        ("logs { nodes { message } }", "Task.logs"),
        ("children { nodes { id } }", "Task.children"),
        ("replayOf { id }", "Task.replayOf"),
    ],
)
def test_a_change_is_no_way_to_read(selection: str, refused: str | None) -> None:
    """Without TASKS_READ the payload of a mutation has the state of the task only."""
    query = f'mutation {{ replayTask(id: "x") {{ task {{ {selection} }} }} }}'
    creator = Principal("creator", frozenset({Scope.TASKS_CREATE}))
    assert _unmet(query, creator) == ([] if refused is None else [f"{refused}: needs the scope TASKS_READ"])
    assert _unmet(query, Principal("both", frozenset({Scope.TASKS_CREATE, Scope.TASKS_READ}))) == []


def test_a_field_without_a_scope_needs_admin() -> None:
    """A root field that somebody forgot to enter into the table fails closed."""
    schema = build_schema("type Query { forgotten: Int }")
    document = parse("{ forgotten }")
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    (error,) = needs_of(schema, document, operation).unmet(ALL_SCOPES - {Scope.ADMIN}, {})
    assert error.extensions == {"code": "FORBIDDEN", "field": "forgotten", "scope": "ADMIN"}


def test_refusals_are_counted_by_scope() -> None:
    """The counter has the missing scope."""
    before = _refused(Scope.OPERATE)
    _unmet("{ workers { hostname } }")
    assert _refused(Scope.OPERATE) == before + 1


def test_a_context_without_application_has_no_authentication() -> None:
    """The caller is the context's principal, and anonymous only where there is none."""
    assert principal_of(None) is ANONYMOUS
    assert hidden_from(ANONYMOUS.scopes) == frozenset()
    assert hidden_from(frozenset({Scope.TASKS_READ})) == {"Task.definition", "TaskError.traceback"}
