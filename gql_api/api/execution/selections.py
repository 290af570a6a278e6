"""The names of the fields that an operation selects below the field of a resolver, so that it reads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from graphql import OperationDefinitionNode
from strawberry.types import Info
from strawberry.types.nodes import SelectedField, Selection

from gql_api.api.admission.cache import CACHE_BYTES, WeighedCache, weight_of

# With the operation, which keeps its id from being used again.
_CACHE: WeighedCache[tuple[object, ...], tuple[OperationDefinitionNode, frozenset[str]]] = WeighedCache(CACHE_BYTES)


def selected_names(info: Info[Any, Any], *paths: tuple[str, ...]) -> frozenset[str]:
    """Return the names of the selected fields at any of some paths below the resolver's field.

    A path has the names of fields. The type conditions of fragments are not evaluated: a field that no object of the
    answer has may be in the result too.
    """
    operation = info.operation
    # The keys of an answer identify what is selected there, for given values of the conditions.
    keys = tuple(key for key in info.path.as_list() if isinstance(key, str))
    conditions = [item for item in info.variable_values.items() if type(item[1]) is bool]
    cache_key = (id(operation), keys, paths, *conditions)
    cached = _CACHE.get(cache_key)
    if cached is None:
        fields = list(_fields(info.selected_fields))
        names = frozenset(name for path in paths for name in _names(fields, path))
        cached = operation, names
        _CACHE.put(cache_key, cached, weight_of(operation))
    return cached[1]


def _names(fields: Iterable[SelectedField], path: tuple[str, ...]) -> Iterator[str]:
    below = [selection for field in fields for selection in _fields(field.selections)]
    if path:
        yield from _names((field for field in below if field.name == path[0]), path[1:])
    else:
        yield from (field.name for field in below)


def _fields(selections: Iterable[Selection]) -> Iterator[SelectedField]:
    """Yield the fields that are not left out by a condition, those of fragments too."""
    for selection in selections:
        directives = selection.directives
        if directives.get("skip", {}).get("if") is True or directives.get("include", {}).get("if") is False:
            continue
        if isinstance(selection, SelectedField):
            yield selection
        else:
            yield from _fields(selection.selections)
