"""Hypothesis strategies for GraphQL documents: any valid query of a schema, often with overlapping selections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)
from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

# The variables of the operation. A condition may be left to its default, or be null despite it.
VARIABLES = "($sure: Boolean!, $maybe: Boolean = true)"
_MAX_DEPTH = 5
_DIRECTIVES = st.sampled_from(
    ["@skip(if: true)", "@skip(if: false)", "@include(if: $sure)", "@skip(if: $sure)", "@include(if: $maybe)"]
)


def variables() -> st.SearchStrategy[dict[str, bool | None]]:
    """Return a strategy for the variables of the documents."""
    return st.fixed_dictionaries({"sure": st.booleans()}, optional={"maybe": st.none() | st.booleans()})


@st.composite
def documents(draw: DrawFn, schema: GraphQLSchema, on: list[str], left_out: frozenset[str]) -> str:
    """Draw a query with a fragment on each of some types; ``left_out`` are fields that are never selected."""
    maker = _Maker(draw, schema, on, left_out)
    root = schema.query_type
    assert root is not None
    operation = f"query {VARIABLES} {maker.selection_set(root, _MAX_DEPTH, 0)}"
    return "\n".join([operation, *maker.fragments()])


class _Maker:
    def __init__(self, draw: DrawFn, schema: GraphQLSchema, on: list[str], left_out: frozenset[str]) -> None:
        self._draw = draw
        self._schema = schema
        self._on = on
        self._left_out = left_out
        self._spread: set[int] = set()

    def fragments(self) -> Iterator[str]:
        """Yield the fragments that are spread; each spreads only those after it."""
        for place, name in enumerate(self._on):
            if place in self._spread:
                type_ = self._schema.type_map[name]
                yield f"fragment F{place} on {name} {self.selection_set(type_, _MAX_DEPTH - 3, place + 1)}"

    def selection_set(self, type_: GraphQLNamedType, depth: int, first: int) -> str:
        """Return a selection set that spreads fragments from the first on."""
        count = self._draw(st.integers(1, 3))
        return "{ " + " ".join(self._selection(type_, depth, first) for _ in range(count)) + " }"

    def _selection(self, type_: GraphQLNamedType, depth: int, first: int) -> str:
        kind = self._draw(st.sampled_from(["field"] * 4 + ["leaves"] * 2 + ["typename", "inline", "spread"]))
        directives = " ".join(self._draw(st.lists(_DIRECTIVES, max_size=1)))
        conditions = [type_.name, *self._relatives(type_)]
        if kind == "inline" and depth:
            name = self._draw(st.sampled_from(conditions))
            condition = self._draw(st.sampled_from(["", f"on {name}"]))
            inner = self._schema.type_map[name] if condition else type_
            return f"... {condition} {directives} {self.selection_set(inner, depth - 1, first)}"
        places = [place for place in range(first, len(self._on)) if self._on[place] in conditions]
        if kind == "spread" and places:
            place = self._draw(st.sampled_from(places))
            self._spread.add(place)
            return f"...F{place} {directives}"
        if kind == "leaves":
            leaves = [name for name, field in self._fields(type_, 0) if not field.args] or ["__typename"]
            return " ".join(["__typename", *self._draw(st.lists(st.sampled_from(leaves), max_size=6))])
        fields = self._fields(type_, depth) if kind == "field" else []
        if not fields:
            return f"{self._draw(st.sampled_from(['', 'kind: ']))}__typename {directives}"
        name, field = self._draw(st.sampled_from(fields))
        return self._field(name, field, directives, depth, first)

    def _field(self, name: str, field: GraphQLField, directives: str, depth: int, first: int) -> str:
        number = self._draw(st.integers(0, 2))
        # The same alias always stands for the same field with the same arguments, so that selections can be merged.
        alias = f"{name}{number}: " if number else ""
        arguments = f"(times: {number})" if "times" in field.args and number else ""
        type_ = get_named_type(field.type)
        is_object = isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        inner = self.selection_set(type_, depth - 1, first) if is_object else ""
        return f"{alias}{name}{arguments} {directives} {inner}"

    def _fields(self, type_: GraphQLNamedType, depth: int) -> list[tuple[str, GraphQLField]]:
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        return [
            (name, field)
            for name, field in type_.fields.items()
            if name not in self._left_out
            and (depth or not isinstance(get_named_type(field.type), GraphQLObjectType | GraphQLInterfaceType))
        ]

    def _relatives(self, type_: GraphQLNamedType) -> list[str]:
        if isinstance(type_, GraphQLInterfaceType):
            return [possible.name for possible in self._schema.get_possible_types(type_)]
        return [interface.name for interface in type_.interfaces] if isinstance(type_, GraphQLObjectType) else []
