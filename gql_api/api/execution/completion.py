"""Complete compilable values as graphql-core does, without its walk through types and fields.

https://spec.graphql.org/October2021/#sec-Value-Completion is the rule. A value that is an error there, is awaitable or
has an unexpected type raises :class:`NotCompilableError`, or whatever reading the value raises: graphql-core then
completes the value. Times stay objects, because :mod:`gql_api.api.execution.encoding` writes them faster than they can
be converted to text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple, NoReturn, TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLLeafType,
    GraphQLString,
)
from graphql.pyutils import Undefined, is_awaitable

from gql_api.api.errors import ApiError
from gql_api.api.execution.encoding import write_time
from gql_api.api.execution.rows.generated import completion_of
from gql_api.api.execution.rows.steps import Read, Step

Answer: TypeAlias = Callable[[Any], dict[str, Any]]

_NOTHING: frozenset[type] = frozenset()
_KEPT: dict[object, frozenset[type]] = {
    GraphQLBoolean: frozenset({bool}),
    GraphQLID: frozenset({str}),
    GraphQLString: frozenset({str}),
}
# A value of one of these types can be neither awaitable nor an error, so that no further check is needed.
_ORDINARY = frozenset({bool, datetime, dict, float, int, list, str})


class NotCompilableError(ApiError):
    """A value that only graphql-core can complete."""


class ItemCount:
    """The number of list items that were completed. Completion is synchronous: a caller compares before and after."""

    items = 0


class SharedValues(list[Any]):
    """A list that several answers have. It is completed once for each selection."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__(values)
        self._completed: dict[Read, tuple[list[Any], int]] = {}

    def complete(self, complete: Read) -> list[Any]:
        """Complete the list, or return what that made of it before, and count its items."""
        found = self._completed.get(complete)
        if found is None:
            before = ItemCount.items
            answer: list[Any] = complete(self)
            self._completed[complete] = answer, ItemCount.items - before
            return answer
        ItemCount.items += found[1]
        return found[0]


class Completion(NamedTuple):
    """The way to complete the values of one output type.

    A value whose exact type is in ``kept`` goes into the answer unchanged: None for a nullable type, and a string for a
    string type. ``complete`` is for all other values; ``names`` has what it returns for some, by their ids.
    """

    kept: frozenset[type]
    complete: Read
    names: Mapping[int, str] = {}

    @property
    def required(self) -> Completion:
        """The completion of the non-null type."""
        return self._replace(kept=self.kept - {type(None)})  # complete refuses None by itself


def of_leaf(leaf: GraphQLLeafType) -> Completion:
    """Create the completion of a scalar or an enum."""
    kept = _KEPT.get(leaf, _NOTHING) | {type(None)}
    if leaf.coerce_output_value is write_time:
        kept |= {datetime}
    if isinstance(leaf, GraphQLEnumType):
        # Strawberry lets resolvers return members, and each member is a single object.
        names = {id(member): leaf.coerce_output_value(member) for member in getattr(leaf, "wrapped_cls", ())}
        return Completion(kept, _complete_enum(leaf, names), names)
    return Completion(kept, _complete_float() if leaf is GraphQLFloat else _complete_scalar(leaf))


def of_list(item: Completion) -> Completion:
    """Create the completion of a list of values."""
    kept, complete_item, _ = item

    def complete_all(values: list[Any]) -> list[Any]:
        ItemCount.items += len(values)
        return [value if type(value) in kept else complete_item(value) for value in values]

    def complete(values: Any) -> list[Any]:
        if type(values) is list:
            return complete_all(values)
        if type(values) is SharedValues:
            return values.complete(complete_all)
        _refuse(values)

    return Completion(frozenset({type(None)}), complete)


def of_object(kind: type, steps: list[Step]) -> Completion:
    """Create the completion of objects of exactly this class, by all steps in their order."""
    return Completion(frozenset({type(None)}), completion_of(kind, steps, _refuse))


def of_event(key: str, completion: Completion) -> Answer:
    """Create the function that answers events, the values of a subscription's only field."""
    kept, complete_event, _ = completion

    def answer(event: Any) -> dict[str, Any]:
        return {key: event if type(event) in kept else complete_event(event)}

    return answer


def _refuse(value: Any) -> NoReturn:
    raise NotCompilableError(type(value))


def _complete_scalar(scalar: GraphQLLeafType) -> Read:
    coerce = scalar.coerce_output_value

    def complete(value: Any) -> Any:
        if type(value) not in _ORDINARY and _is_special(value):
            _refuse(value)
        result = coerce(value)
        if result is None or result is Undefined:
            _refuse(value)
        return result

    return complete


def _complete_enum(enum: GraphQLEnumType, names: Mapping[int, str]) -> Read:
    complete_other = _complete_scalar(enum)
    return lambda value: names.get(id(value)) or complete_other(value)


def _complete_float() -> Read:
    complete_other = _complete_scalar(GraphQLFloat)
    return lambda value: value if type(value) is float and isfinite(value) else complete_other(value)


def _is_special(value: Any) -> bool:
    return value is None or value is Undefined or isinstance(value, Exception) or is_awaitable(value)
