from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    is_introspection_type,
    is_specified_scalar_type,
)

from gql_api.api.schema.build import schema

# Words that add nothing to the name of an element.
_FILLERS = frozenset(
    {
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
    }
    | {"to", "was", "when", "which", "with", "whether", "why", "how", "task", "tasks", "value", "object", "field"}
)
_LEAST_NEW_WORDS = 2


def _elements() -> Iterator[tuple[str, str | None]]:
    for type_ in schema._schema.type_map.values():  # noqa: SLF001 - Strawberry's own integrations read it
        if not is_introspection_type(type_) and not is_specified_scalar_type(type_):
            yield type_.name, type_.description
            yield from _members(type_)


def _members(type_: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    if isinstance(type_, GraphQLEnumType):
        yield from ((f"{type_.name}.{name}", value.description) for name, value in type_.values.items())
    if isinstance(type_, GraphQLInputObjectType):
        yield from ((f"{type_.name}.{name}", field.description) for name, field in type_.fields.items())
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in type_.fields.items():
            yield f"{type_.name}.{name}", field.description
            for argument, definition in field.args.items():
                yield f"{type_.name}.{name}({argument}:)", definition.description


def _words(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", text)}


@pytest.mark.parametrize(("name", "description"), list(_elements()))
def test_every_element_of_the_schema_is_described(name: str, description: str | None) -> None:
    """Each type, field, argument, input field and enum value says in a sentence more than its name does."""
    assert description, f"{name} has no description"
    assert re.search(r"[.:]$", description), f"{name}: {description!r} does not end like a sentence"
    name_words = _words(re.split(r"[.(]", name.rstrip(":)"))[-1])
    plurals = {f"{word}s" for word in name_words} | {word.removesuffix("s") for word in name_words}
    new = _words(description) - name_words - plurals - _FILLERS
    assert len(new) >= _LEAST_NEW_WORDS, f"{name}: {description!r} repeats the name"
