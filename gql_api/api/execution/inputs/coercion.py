"""Functions that coerce values of one type each, as graphql-core does, which looks at the type for each value again.

They know the values that it accepts, not its errors: graphql-core coerces again whatever they do not take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.pyutils import Undefined
from graphql.utilities.coerce_input_value import coerce_default_value

from gql_api.record.model import MAX_INT

MISSING: Final = object()
"""What stands for a value that is not there, and for one that graphql-core has to coerce."""

# Returns the coerced value, or MISSING.
Coerce: TypeAlias = Callable[[Any], Any]


def coercion_of(type_: GraphQLInputType) -> Coerce | None:
    """Return the function that coerces values of a type; None for types that graphql-core coerces alone.

    Those are types that contain themselves, and objects of which one field is given.
    """
    return _coercion(type_, ())


def _coercion(type_: GraphQLInputType, outer: tuple[GraphQLInputObjectType, ...]) -> Coerce | None:
    if is_non_null_type(type_):
        coerce = _coercion(type_.of_type, outer)
        return None if coerce is None else _required(coerce)
    if is_list_type(type_):
        coerce = _coercion(type_.of_type, outer)
        return None if coerce is None else _list_of(coerce)
    if is_input_object_type(type_):
        return None if type_.is_one_of or type_ in outer else _object(type_, (*outer, type_))
    return _BUILT_IN.get(type_.name) or _leaf(type_) if is_leaf_type(type_) else None


def _required(coerce: Coerce) -> Coerce:
    return lambda value: MISSING if value is None else coerce(value)


def _list_of(coerce: Coerce) -> Coerce:
    def coerce_list(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not list:
            return MISSING
        coerced = [coerce(item) for item in value]
        return MISSING if MISSING in coerced else coerced

    return coerce_list


def _object(type_: GraphQLInputObjectType, outer: tuple[GraphQLInputObjectType, ...]) -> Coerce | None:
    found = {name: _coercion(field.type, outer) for name, field in type_.fields.items()}
    fields = {name: (type_.fields[name].out_name or name, coerce) for name, coerce in found.items() if coerce}
    required = {name for name, field in type_.fields.items() if is_required_input_field(field)}
    defaults = {name: field for name, field in type_.fields.items() if coerce_default_value(field) is not Undefined}
    make = type_.out_type

    def coerce_object(value: Any) -> Any:
        if type(value) is not dict or not required <= value.keys():
            return None if value is None else MISSING
        coerced = {}
        for name, item in value.items():
            out_name, coerce = fields.get(name, _UNKNOWN)
            coerced[out_name] = result = coerce(item)
            if result is MISSING:
                return MISSING
        for name, field in defaults.items():
            if name not in value:
                coerced[field.out_name or name] = coerce_default_value(field)
        return make(coerced)

    return coerce_object if len(fields) == len(found) else None


def _leaf(type_: GraphQLLeafType) -> Coerce:
    own = type_.coerce_input_value

    def coerce_leaf(value: Any) -> Any:
        if value is None:
            return None
        try:
            coerced = own(value)
        except Exception:  # noqa: BLE001 - as in graphql-core, which makes an error of it
            return MISSING
        return MISSING if coerced is Undefined else coerced

    return coerce_leaf


def _never(_: object) -> Any:
    return MISSING


def _boolean(value: Any) -> Any:
    return value if type(value) is bool or value is None else MISSING


def _text(value: Any) -> Any:
    return value if type(value) is str or value is None else MISSING


def _int(value: Any) -> Any:
    return value if value is None or (type(value) is int and -MAX_INT - 1 <= value <= MAX_INT) else MISSING


def _float(value: Any) -> Any:
    return value if value is None or (type(value) is float and math.isfinite(value)) else MISSING


_UNKNOWN = ("", _never)
# The values that graphql-core leaves as they are.
_BUILT_IN: dict[str, Coerce] = {
    GraphQLBoolean.name: _boolean,
    GraphQLFloat.name: _float,
    GraphQLID.name: _text,
    GraphQLInt.name: _int,
    GraphQLString.name: _text,
}
