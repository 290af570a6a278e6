"""The variables of an operation, with the functions that coerce their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLSchema,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    TypeNode,
    get_variable_values,
    is_input_type,
    type_from_ast,
)
from graphql.execution.values import VariableValues

from gql_api.api.execution.inputs.coercion import MISSING, Coerce, coercion_of

Variables: TypeAlias = Mapping[str, Any]


class _Variable(NamedTuple):
    name: str
    coerce: Coerce
    may_be_missing: bool


class OperationVariables:
    """The variables of an operation.

    It keeps the operation alive, and with it the id in the keys of caches.
    """

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema, self.operation = schema, operation
        definitions = operation.variable_definitions or ()
        self._conditions = [
            each.variable.name.value for each in definitions if _named(each.type) == GraphQLBoolean.name
        ]
        self._variables = []
        for each in definitions:
            type_ = type_from_ast(schema, each.type)
            if is_input_type(type_) and (coerce := coercion_of(type_)) is not None:
                may_be_missing = each.default_value is None and not isinstance(each.type, NonNullTypeNode)
                self._variables.append(_Variable(each.variable.name.value, coerce, may_be_missing))
        self._are_all_known = len(self._variables) == len(definitions)

    def conditions(self, raw: Variables) -> tuple[object, ...] | None:
        """Return the values on which the plan of the operation depends; None if graphql-core may refuse one."""
        values = tuple([raw.get(name, MISSING) for name in self._conditions])
        return values if all(type(value) is bool or value is MISSING for value in values) else None

    def coerced(self, raw: Variables) -> dict[str, Any] | None:
        """Return the values of the variables; None if graphql-core refuses one."""
        coerced = self._coerced(raw) if self._are_all_known else None
        if coerced is not None:
            return coerced
        values = get_variable_values(self._schema, self.operation.variable_definitions or (), dict(raw), max_errors=0)
        return values.coerced if isinstance(values, VariableValues) else None

    def _coerced(self, raw: Variables) -> dict[str, Any] | None:
        values = {}
        for name, coerce, may_be_missing in self._variables:
            if name in raw:
                values[name] = value = coerce(raw[name])
                if value is MISSING:
                    return None
            elif not may_be_missing:
                return None
        return values


def _named(type_: TypeNode) -> str:
    """Return the name of a type; an empty text for a list."""
    inner = type_.type if isinstance(type_, NonNullTypeNode) else type_
    return inner.name.value if isinstance(inner, NamedTypeNode) else ""
