"""The only root field of an operation, prepared once, so that graphql-core's executor need not run for each request.

The executor takes longer to find a field and its arguments than most resolvers take for their work. What it finds out
is here found out once for an operation: its field, how the arguments reach the resolver, and the plan of the answer.
Everything that is not so simple is left to graphql-core, errors included.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, cast

from graphql import (
    GraphQLField,
    GraphQLObjectType,
    VariableNode,
    get_argument_values,
    get_nullable_type,
    is_leaf_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path, Undefined
from strawberry.execution.is_awaitable import optimized_is_awaitable
from strawberry.extensions import FieldExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types import Info
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryOptional
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from gql_api.api.execution.completion import ItemCount
from gql_api.api.execution.executor import PlannedExecutor
from gql_api.api.execution.inputs.coercion import MISSING
from gql_api.api.execution.inputs.leaves import FromLeaves
from gql_api.api.execution.inputs.variables import Variables
from gql_api.api.execution.rows.steps import Read

# Calls a resolver with graphql-core's information, and with the arguments by their names in the schema.
Resolve: TypeAlias = Callable[[Any, dict[str, Any]], Any]

_BACK = GraphQLCoreConverter.DEFINITION_BACKREF
# The values of literals that all calls can share.
_CONSTANTS = (str, int, float, bool, type(None), Enum)


class _Argument(NamedTuple):
    name: str
    variable: str
    may_be_missing: bool
    may_be_null: bool


class RootField:
    """The only root field of an operation, for given values of its conditions and the fields that are hidden."""

    def __init__(self, executor: PlannedExecutor, root: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        """Prepare the field.

        Raises:
            LookupError: graphql-core has to execute it.
        """
        node = details[0].node
        field = executor.schema.get_field(root, node.name.value)
        definition = None if field is None else field.extensions.get(_BACK)
        if field is None or not isinstance(definition, StrawberryField):
            raise LookupError
        self.root, self.key, self.details = root, key, details
        self._complete, self._fields = _completion(executor, field, details)
        self._is_nullable = not is_non_null_type(field.type)
        self._constants, self._arguments = _arguments(executor, field, details)
        given = {*self._constants, *(each.name for each in self._arguments)}
        self._resolve = _direct(field, definition, given) or _converting(field)
        path = Path(None, key, root.name)
        # Neither the first request nor its executor is kept.
        info: Any = executor.build_resolve_info(field, [each.node for each in details], root, path)
        self._info = info._replace(context=None, variable_values={}, async_helpers=None)

    def arguments(self, variables: Variables) -> dict[str, Any] | None:
        """Return the arguments of the field; None if graphql-core has to coerce them."""
        values = dict(self._constants)
        for name, variable, may_be_missing, may_be_null in self._arguments:
            value = variables.get(variable, MISSING)
            if value is MISSING:
                if not may_be_missing:
                    return None
            elif value is None and not may_be_null:
                return None
            else:
                values[name] = value
        return values

    async def resolve(
        self, arguments: dict[str, Any], variables: Variables, context: object, extensions: object
    ) -> object:
        """Return the value of the field, or the exception that the resolver has raised."""
        info = self._info._replace(variable_values=variables, context=context, operation_extensions=extensions)
        try:
            value = self._resolve(info, arguments)
            return await value if optimized_is_awaitable(value) else value
        except Exception as error:  # noqa: BLE001 - graphql-core makes an error of it
            return error

    def complete(self, value: object, max_values: int) -> object:
        """Complete the value; ``MISSING`` if graphql-core has to."""
        if value is None:
            return None if self._is_nullable else MISSING
        before = ItemCount.items
        try:
            data = self._complete(value)
        except Exception:  # noqa: BLE001 - graphql-core meets it again, and counts it
            return MISSING
        return MISSING if self._fields + ItemCount.items - before > max_values else data


def _completion(executor: PlannedExecutor, field: GraphQLField, details: FieldDetailsList) -> tuple[Read, int]:
    """Return the function that completes an object, and how many fields it has."""
    type_ = get_nullable_type(field.type)
    selection = executor.selection(type_, details) if is_object_type(type_) else None
    if selection is None or selection.completion is None:
        raise LookupError
    return selection.completion.complete, len(selection.collected.grouped_field_set)


def _arguments(
    executor: PlannedExecutor, field: GraphQLField, details: FieldDetailsList
) -> tuple[dict[str, Any], list[_Argument]]:
    """Return the arguments that are the same in all calls, and those that are variables."""
    node = details[0].node
    constants = get_argument_values(field, node, executor.variable_values)
    variables = []
    for each in node.arguments or ():
        if not isinstance(each.value, VariableNode):
            continue
        name = each.name.value
        argument = field.args[name]
        has_default = argument.default is not None or argument.default_value is not Undefined
        is_required = is_non_null_type(argument.type)
        constants.pop(name, None)
        variables.append(_Argument(name, each.value.name.value, not is_required and not has_default, not is_required))
    if not all(isinstance(value, _CONSTANTS) for value in constants.values()):
        raise LookupError
    return constants, variables


def _converting(field: GraphQLField) -> Resolve:
    """Return the function by which Strawberry converts the arguments and calls a resolver."""
    resolve = field.resolve
    if resolve is None:
        raise LookupError
    return lambda info, values: resolve(None, info, **values)


def _direct(field: GraphQLField, definition: StrawberryField, given: Iterable[str]) -> Resolve | None:
    """Return a function that calls a resolver, behind its extension; None if Strawberry has to prepare the call."""
    resolver = definition.base_resolver
    if resolver is None or resolver.parent_parameter or resolver.root_parameter:
        return None
    passed = _passed(field, definition, given)
    source = [None] if resolver.self_parameter else []
    info_name = resolver.info_parameter.name if resolver.info_parameter else None
    function: Callable[..., Any] = cast("Any", resolver).wrapped_func

    def call(_source: Any, info: Info, **named: Any) -> Any:
        if info_name is not None:
            named[info_name] = info
        return function(*source, **named)

    called = _extended(call, definition)
    if passed is None or called is None:
        return None
    names, conversions = passed

    def resolve(info: Any, values: dict[str, Any]) -> Any:
        named = {names[name]: value for name, value in values.items()}
        for name, convert in conversions.items():
            if values.get(name) is not None:
                named[names[name]] = convert(values[name])
        return called(None, Info(_raw_info=info, _field=definition), **named)

    return resolve


def _passed(
    field: GraphQLField, definition: StrawberryField, given: Iterable[str]
) -> tuple[dict[str, str], dict[str, Callable[[Any], Any]]] | None:
    """Return the names by which a resolver takes arguments, and the conversions of those that are inputs of leaves.

    None if there are others that are no leaves.
    """
    arguments = {each.graphql_name or to_camel_case(each.python_name): each for each in definition.arguments}
    names, conversions = {}, {}
    for name in given:
        if name not in arguments or arguments[name].is_maybe:
            return None
        names[name] = arguments[name].python_name
        if is_leaf_type(get_nullable_type(field.args[name].type)):
            continue
        convert = _conversion(arguments[name])
        if convert is None:
            return None
        conversions[name] = convert
    return names, conversions


def _conversion(argument: StrawberryArgument) -> Callable[[Any], Any] | None:
    """Return the function that builds an input of leaves; None for arguments of other types."""
    type_ = argument.type
    inner: Any = type_.of_type if isinstance(type_, StrawberryOptional) else type_
    from_input = getattr(getattr(inner, "__strawberry_definition__", None), "from_input", None)
    return functools.partial(from_input, inner) if isinstance(from_input, FromLeaves) else None


def _extended(call: Callable[..., Any], definition: StrawberryField) -> Callable[..., Any] | None:
    """Return the call of a resolver behind the extension of its field; None if Strawberry has to combine them."""
    if not definition.extensions:
        return call
    extension, *others = definition.extensions
    maps_arguments = type(extension).map_arguments is not FieldExtension.map_arguments
    if others or maps_arguments or not extension.supports_async or not definition.is_async:
        return None
    return functools.partial(extension.resolve_async, call)
