"""The root fields of the schema, with an operation that selects each of them as briefly as possible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_enum_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from gql_api.access.principal import Scope
from gql_api.api.admission.scopes import ROOT_FIELDS
from gql_api.api.schema.build import schema

CORE = schema._schema  # noqa: SLF001 - as Strawberry's own integrations do
_LITERALS = {"Int": "1", "Float": "1.0", "Boolean": "true", "DateTime": '"2030-01-01T00:00:00Z"', "JSON": "{}"}


class RootField(NamedTuple):
    """A root field: the kind of its operation, its name, its scope, and an operation that selects it."""

    kind: str
    name: str
    scope: Scope | None
    document: str


def root_fields(*kinds: str) -> list[RootField]:
    """Return the root fields of some kinds of operations, of all by default."""
    return [field for field in _all() if not kinds or field.kind in kinds]


def _all() -> Iterator[RootField]:
    for kind, root in (
        ("query", CORE.query_type),
        ("mutation", CORE.mutation_type),
        ("subscription", CORE.subscription_type),
    ):
        assert root is not None
        for name, field in root.fields.items():
            required = [
                f"{argument}: {_literal(each.type)}"
                for argument, each in field.args.items()
                if is_required_argument(each)
            ]
            arguments = f"({', '.join(required)})" if required else ""
            selection = " { __typename }" if is_composite_type(get_named_type(field.type)) else ""
            scope = ROOT_FIELDS[f"{root.name}.{name}"]
            yield RootField(kind, name, scope, f"{kind} {{ {name}{arguments}{selection} }}")


def _literal(type_: GraphQLInputType) -> str:
    inner = get_nullable_type(type_)
    if is_list_type(inner):
        return f"[{_literal(inner.of_type)}]"
    named = get_named_type(inner)
    if isinstance(named, GraphQLInputObjectType):
        required = [
            f"{name}: {_literal(field.type)}" for name, field in named.fields.items() if is_required_input_field(field)
        ]
        return f"{{{', '.join(required)}}}"
    if is_enum_type(named):
        return str(next(iter(named.values)))
    return _LITERALS.get(named.name, '"x"')
